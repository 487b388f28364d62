"""`fakesweep scan`: record a scan, then run it to its end or leave it to the cluster."""

from typing import Any

import click

from fakesweep import completion
from fakesweep.exits import Exit
from fakesweep.option_types import Written
from fakesweep.options import judging_options, selection_options


def _check_destination(text: str) -> None:
    from fakesweep.producer.outputs.destinations import resolve_destination

    resolve_destination(text)


def _check_name(text: str) -> None:
    from fakesweep.schema.ledger.scans.names import check_name

    check_name(text)


@click.command()
@click.argument(
    "sources", metavar="SOURCE...", nargs=-1, required=True, shell_complete=completion.files
)
@judging_options
@selection_options
@click.option(
    "--audit",
    "is_audit",
    is_flag=True,
    help="Skip images that are unchanged since they were judged.",
)
@click.option(
    "--output",
    metavar="FOLDER|S3-PREFIX",
    shell_complete=completion.files,
    type=Written("destination", _check_destination),
    help="Write the results there as JSON Lines while the scan runs.",
)
@click.option(
    "--token",
    metavar="TEXT",
    help="Idempotency token: a repeat with the same token finds the same scan.",
)
@click.option(
    "--name",
    metavar="TEXT",
    type=Written("name", _check_name),
    help="Name of the scan.",
)
@click.option(
    "--detach", is_flag=True, help="Exit once the scan is recorded, without waiting for its end."
)
@click.option("--json", "in_json", is_flag=True, help="Print one JSON object instead of a page.")
@click.option(
    "--fail-on-failures",
    is_flag=True,
    help=f"Exit with status {Exit.IMAGES_FAILED} if images failed.",
)
def scan(**asked: Any) -> Exit:
    """Scan images for AI-generated and deepfake ones.

    SOURCE is a folder (with its subfolders), a file, s3://bucket/prefix, a list of URIs (.txt; .csv
    or .tsv with a column uri; .jsonl with uri or source-ref; each also as .gz), the manifest.json
    of an S3 Inventory, or - for URIs on standard input.

    Without FAKESWEEP_DATABASE_URL and FAKESWEEP_BROKER_URL, the scan uses the local stack and runs
    a worker until it ends.
    """
    from fakesweep.actions.scan import scan as run

    return run(**asked)
