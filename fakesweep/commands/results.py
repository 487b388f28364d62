"""`fakesweep results`: each image's verdict or failure."""

from pathlib import Path
from typing import Any

import click

from fakesweep.option_types import PARQUET
from fakesweep.options import scan_argument
from fakesweep.output import Format
from fakesweep.schema.words import VerdictWord


@click.command()
@scan_argument
@click.option(
    "--verdict",
    type=click.Choice([word.value for word in VerdictWord]),
    help="Only images with this verdict.",
)
@click.option("--failed", is_flag=True, help="Only images that failed, and why.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Only the first N rows.")
@click.option(
    "--format",
    "form",
    type=click.Choice([Format.TABLE.value, Format.JSONL.value, Format.CSV.value, PARQUET]),
    default=Format.TABLE.value,
    show_default=True,
    help="jsonl, csv and parquet have every column.",
)
@click.option(
    "--output",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write to this file, which appears once it is complete.",
)
def results(**asked: Any) -> None:
    """Show the verdict or failure of each image of a scan.

    SCAN is a number, a name (the newest scan with it), or `last`.

    One row for each image and model, in listing order; pending images have none. Kind `unknown`
    means that the model does not tell AI-generated pictures from deepfakes.
    """
    from fakesweep.actions.results import results as run

    run(**asked)
