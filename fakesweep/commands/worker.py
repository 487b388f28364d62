"""`fakesweep worker`: run one worker process until it is told to stop."""

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
    "--device", metavar="auto|cpu|cuda:N", callback=_device, help="Device the models run on."
)
@click.option(
    "--preset", type=click.Choice(get_args(PresetWord)), help="Sizes for a GPU; see settings."
)
@click.option(
    "--precision",
    type=click.Choice(get_args(PrecisionWord)),
    help="Numbers the models compute with.",
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
    help="Model to load before taking work; others are loaded when a scan asks for them.",
)
@click.option(
    "--batches-in-flight", type=click.IntRange(1, 64), help="Batches worked on at the same time."
)
@click.option("--until-stdin-ends", is_flag=True, hidden=True)
@click.option("--only-scan", type=int, hidden=True)
def worker(**asked: Any) -> int:
    """Run a worker: it classifies batches.

    Options take the place of the settings of the same name. SIGTERM and Ctrl-C stop it after the
    batches in work; what is not done within FAKESWEEP_GRACE_SECONDS is handed back, and all of it
    at a second signal.
    """
    gc.disable()  # until all that stays is imported (workers/models/quick_import.py)
    from fakesweep.actions.worker import worker as run

    return run(**asked)
