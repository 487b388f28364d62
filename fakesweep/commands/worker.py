"""`fakesweep worker`: one worker process, until a signal stops it."""

import gc
import re
from typing import Any, get_args

import click

from fakesweep import completion
from fakesweep.schema.words import DecodeWord, PrecisionWord, PresetWord

DEVICE = re.compile(r"^(auto|cpu|cuda(:\d+)?)$")


def _device(_ctx: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    if value is not None and not DEVICE.match(value):
        raise click.BadParameter(f"{value!r} is not one of auto, cpu, cuda, cuda:N")
    return value


@click.command()
@click.option(
    "--device", metavar="auto|cpu|cuda:N", callback=_device, help="Device that runs the models."
)
@click.option(
    "--preset",
    type=click.Choice(get_args(PresetWord)),
    help="Batch sizes for one GPU, by the model's input size (docs/settings.md).",
)
@click.option(
    "--precision",
    type=click.Choice(get_args(PrecisionWord)),
    help="Number type the models compute in.",
)
@click.option(
    "--decode",
    "decoding",
    type=click.Choice(get_args(DecodeWord)),
    help="fast decodes JPEGs at a lower resolution.",
)
@click.option(
    "--model",
    "models",
    metavar="KEY|FOLDER",
    multiple=True,
    shell_complete=completion.models,
    help="Model to load at the start; others load when a scan needs them.",
)
@click.option(
    "--batches-in-flight", type=click.IntRange(1, 64), help="Batches in work at the same time."
)
@click.option("--until-stdin-ends", is_flag=True, hidden=True)
@click.option("--only-scan", type=int, hidden=True)
def worker(**asked: Any) -> int:
    """Run a worker: it judges the images of batches.

    Options override the settings of the same name. SIGTERM and Ctrl-C stop it after the batches in
    work; batches unfinished after FAKESWEEP_GRACE_SECONDS, or at a second signal, go back to the
    queue.
    """
    gc.disable()  # until all imports are done (workers/models/quick_import.py)
    from fakesweep.actions.worker import worker as run

    return run(**asked)
