"""`fakesweep worker`: run one worker process until it is told to stop."""

import re
from pathlib import Path
from typing import Any, get_args

import click

from fakesweep import completing
from fakesweep.extras import require_worker_extra
from fakesweep.processes import end_with_stdin
from fakesweep.stack.keeping import kept_stack
from schema.catalogue import read_catalogue
from schema.settings import PRESETS, Settings, read_settings

DEVICE = re.compile(r"^(auto|cpu|cuda(:\d+)?)$")


def _device(_ctx: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    if value is not None and not DEVICE.match(value):
        raise click.BadParameter(f"{value!r} is not one of auto, cpu, cuda, cuda:N")
    return value


def _words_of(setting: str) -> tuple[str, ...]:
    """Return the words that a setting may have."""
    return get_args(Settings.model_fields[setting].annotation)


@click.command()
@click.option(
    "--device", metavar="auto|cpu|cuda:N", callback=_device, help="Device the models run on."
)
@click.option("--preset", type=click.Choice(list(PRESETS)), help="Sizes for a GPU; see settings.")
@click.option(
    "--precision",
    type=click.Choice(_words_of("precision")),
    help="Numbers the models compute with.",
)
@click.option(
    "--decode",
    "decoding",
    type=click.Choice(_words_of("decode")),
    help="fast decodes JPEGs at a lower resolution.",
)
@click.option(
    "--model",
    "models",
    metavar="KEY|FOLDER",
    multiple=True,
    shell_complete=completing.models,
    help="Model to load before taking work; others are loaded when a scan asks for them.",
)
@click.option(
    "--batches-in-flight", type=click.IntRange(1, 64), help="Batches worked on at the same time."
)
@click.option("--until-stdin-ends", is_flag=True, hidden=True)
@click.option("--only-scan", type=int, hidden=True)
def worker(
    *,
    device: str | None,
    preset: str | None,
    precision: str | None,
    decoding: str | None,
    models: tuple[str, ...],
    batches_in_flight: int | None,
    until_stdin_ends: bool,
    only_scan: int | None,
) -> int:
    """Run a worker: it classifies batches.

    Options take the place of the settings of the same name. SIGTERM and Ctrl-C stop it after the
    batches in work; what is not done within FAKESWEEP_GRACE_SECONDS is handed back, and all of it
    at a second signal.
    """
    settings = read_settings()
    if until_stdin_ends:
        end_with_stdin(settings.grace_seconds)
    catalogue = read_catalogue(settings.catalogue)
    require_worker_extra()
    wanted: dict[str, Any] = {
        "device": device,
        "preset": preset,
        "precision": precision,
        "decode": decoding,
        "models": tuple(catalogue.model(model).key for model in models) or None,
        "batches_in_flight": batches_in_flight,
    }
    if not settings.names_cluster:
        # Whoever starts a stack of their own may read what their account may read.
        wanted["file_roots"] = settings.file_roots or (Path("/"),)
    with kept_stack(settings, "worker") as found:
        from workers.app import run_worker  # noqa: PLC0415 - only where torch is known to be there

        return run_worker(
            found.model_copy(
                update={name: value for name, value in wanted.items() if value is not None}
            ),
            only_scan,
        )
