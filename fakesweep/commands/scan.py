"""`fakesweep scan`: ask for a scan and bring it to its end, or hand it to the cluster."""

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
    "--audit", "is_audit", is_flag=True, help="Pass over what stands as it was last judged."
)
@click.option(
    "--output",
    metavar="FOLDER|S3-PREFIX",
    shell_complete=completion.files,
    type=Written("destination", _check_destination),
    help="Write the results there, as JSON Lines, while the scan runs.",
)
@click.option(
    "--token",
    metavar="TEXT",
    help="Asked again with the same token, the command finds the scan there is.",
)
@click.option(
    "--name",
    metavar="TEXT",
    type=Written("name", _check_name),
    help="A name to know the scan by.",
)
@click.option("--detach", is_flag=True, help="Record the scan and leave; do not wait for its end.")
@click.option("--json", "in_json", is_flag=True, help="Print one JSON object instead of a page.")
@click.option(
    "--fail-on-failures", is_flag=True, help=f"Exit with {Exit.IMAGES_FAILED} when images failed."
)
def scan(**asked: Any) -> Exit:
    """Sweep images for AI-generated and deepfake ones.

    SOURCE is a folder (with all below it), a file, s3://bucket/prefix, a list (.txt, .csv or .tsv
    with a uri column, .jsonl with uri or source-ref; or these as .gz), the manifest.json
    of an S3 Inventory, or - for URIs on standard input.

    Without FAKESWEEP_DATABASE_URL and FAKESWEEP_BROKER_URL the local stack does the work, with a
    worker for as long as the scan runs.
    """
    from fakesweep.actions.scan import scan as run

    return run(**asked)
