"""`fakesweep scan`: ask for a scan and bring it to its end, or hand it to the cluster."""

import sys

import click

from fakesweep.ending import conclude, hint_at_resume, leave_to_others
from fakesweep.exits import Exit
from fakesweep.extras import require_worker_extra
from fakesweep.quiet import log_troubles
from fakesweep.reading import connected
from fakesweep.signals import told_to_stop
from fakesweep.stack import start_stack
from producer.feeder import list_scan
from producer.scans import Producer, ScanRequest, add_scan, open_producer
from schema.catalogue import DEFAULT_MODEL, DEFAULT_POLICY, read_catalogue
from schema.ledger import sources_left
from schema.settings import Settings, read_settings
from schema.words import SCAN_LANES, Lane


@click.command()
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True)
@click.option(
    "--model",
    "models",
    metavar="KEY|FOLDER",
    multiple=True,
    help="Model to judge by: a key, a Hub id or a folder. Repeat it to ask several.",
)
@click.option(
    "--lane",
    type=click.Choice([lane.value for lane in SCAN_LANES]),
    default=Lane.BULK.value,
    show_default=True,
    help="live goes before bulk.",
)
@click.option(
    "--policy",
    metavar="NAME",
    default=DEFAULT_POLICY,
    show_default=True,
    help="Cut points that turn scores into verdicts.",
)
@click.option("--name", metavar="TEXT", help="A name to know the scan by.")
@click.option("--detach", is_flag=True, help="Record the scan and leave; do not wait for its end.")
@click.option("--json", "in_json", is_flag=True, help="Print one JSON object instead of a page.")
@click.option(
    "--fail-on-failures", is_flag=True, help=f"Exit with {Exit.IMAGES_FAILED} when images failed."
)
def scan(
    *,
    sources: tuple[str, ...],
    models: tuple[str, ...],
    lane: str,
    policy: str,
    name: str | None,
    detach: bool,
    in_json: bool,
    fail_on_failures: bool,
) -> Exit:
    """Sweep images for AI-generated and deepfake ones.

    SOURCE is a folder (with all below it), a file, s3://bucket/prefix, a manifest (.txt, .csv
    with a uri column, .jsonl with uri or source-ref), or - for URIs on standard input.

    Without FAKESWEEP_DATABASE_URL and FAKESWEEP_BROKER_URL the local stack does the work, with a
    worker for as long as the scan runs.
    """
    settings = read_settings()
    log_troubles(settings)
    request = ScanRequest(sources, _chosen(models, settings), Lane(lane), policy, name)
    with_worker = not settings.names_cluster
    catalogue = read_catalogue(settings.catalogue)
    if with_worker:
        if not detach:
            require_worker_extra()
        settings = start_stack(settings)
    if "-" in sources and sys.stdin.isatty():
        click.echo("reading image URIs from standard input, one a line; Ctrl-D ends it", err=True)
    with open_producer(settings, catalogue) as producer:
        scan_id = add_scan(producer, request)
        if detach:
            return _hand_over(producer, scan_id, in_json=in_json, on_cluster=not with_worker)
        return conclude(
            producer,
            scan_id,
            with_worker=with_worker,
            in_json=in_json,
            fail_on_failures=fail_on_failures,
        )


def _chosen(models: tuple[str, ...], settings: Settings) -> tuple[str, ...]:
    if models or settings.models:
        return models or settings.models
    click.echo(
        f"fakesweep: no --model given, so {DEFAULT_MODEL} judges: it is for trying the system "
        f"out, not for judging pictures (outside CIFAKE it is at chance); "
        f"`fakesweep models list` shows the detectors",
        err=True,
    )
    return (DEFAULT_MODEL,)


def _hand_over(producer: Producer, scan_id: int, *, in_json: bool, on_cluster: bool) -> Exit:
    """List here what only this machine can list, and say how to watch the rest."""
    with producer.engine.connect() as connection:
        only_here = any(left.hostname for left in sources_left(connection, scan_id))
    if only_here:
        with told_to_stop() as told:
            list_scan(producer, scan_id, told)
            if told.is_set():
                return hint_at_resume(scan_id)
    with connected(producer.settings.database_url or "", "command") as connection:
        return leave_to_others(connection, scan_id, in_json=in_json, on_cluster=on_cluster)
