"""`fakesweep results`: what came of each image of a scan."""

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
@click.option("--limit", type=click.IntRange(1), metavar="N", help="The first N rows alone.")
@click.option(
    "--format",
    "form",
    type=click.Choice([Format.TABLE.value, Format.JSONL.value, Format.CSV.value, PARQUET]),
    default=Format.TABLE.value,
    show_default=True,
    help="jsonl, csv and parquet carry every column.",
)
@click.option(
    "--output",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write to a file, which has its name once it is whole, and not to standard output.",
)
def results(**asked: Any) -> None:
    r"""Show what came of each image of a scan.

    SCAN is its number, its name (of several the newest), or `last`.

    One row for each image and model, in the order the images were listed; images that are still
    pending have none.

    \b
    fakesweep results last --verdict fake
    fakesweep results 12 --format parquet --output scan-12.parquet
    """
    from fakesweep.actions.results import results as run

    run(**asked)
