"""`fakesweep scan`: record a scan, then run it to its end or leave it to the cluster."""

import sys
from typing import Any

import click

from fakesweep.exits import Exit
from fakesweep.extras import require_worker_extra
from fakesweep.foreground.finish import conclude, hint_at_resume, leave_to_others
from fakesweep.foreground.signals import told_to_stop
from fakesweep.ledger_access import connected
from fakesweep.logging_setup import log_troubles
from fakesweep.model_choice import check_models, chosen_models
from fakesweep.options import selection_from
from fakesweep.producer.listing.scan import list_scan
from fakesweep.producer.resources import Producer, open_producer
from fakesweep.producer.scans import ScanRequest, ask_for_scan
from fakesweep.schema.judging.catalogue import read_catalogue
from fakesweep.schema.ledger.scans.scans import sources_left
from fakesweep.schema.settings import read_settings
from fakesweep.schema.words import Lane
from fakesweep.stack.keeping import kept_stack
from fakesweep.streams import check_input
from fakesweep.text import is_terminal


def scan(
    *,
    sources: tuple[str, ...],
    models: tuple[str, ...],
    lane: str,
    policy: str,
    is_audit: bool,
    output: str | None,
    token: str | None,
    name: str | None,
    detach: bool,
    in_json: bool,
    fail_on_failures: bool,
    **selection: Any,
) -> Exit:
    """Scan images for AI-generated and deepfake ones."""
    if "-" in sources:
        check_input()
    settings = read_settings()
    log_troubles(settings)
    request = ScanRequest(
        sources,
        chosen_models(models, settings),
        Lane(lane),
        policy,
        name,
        is_audit=is_audit,
        selection=selection_from(**selection),
        output=output,
        token=token,
    )
    with_worker = not settings.names_cluster
    catalogue = read_catalogue(settings.catalogue)
    if with_worker and not detach:
        require_worker_extra()
        check_models(request.models, catalogue)
    if "-" in sources and is_terminal(sys.stdin):
        click.echo("reading image URIs from standard input, one a line; Ctrl-D ends it", err=True)
    with (
        kept_stack(settings, "scan") as settings,
        open_producer(settings, catalogue) as producer,
    ):
        asked = ask_for_scan(producer, request)
        scan_id = asked.scan_id
        if not asked.is_new:
            click.echo(f"fakesweep: scan {scan_id} was asked for with this token", err=True)
        if detach:
            return _hand_over(producer, scan_id, in_json=in_json, on_cluster=not with_worker)
        return conclude(
            producer,
            scan_id,
            with_worker=with_worker,
            in_json=in_json,
            fail_on_failures=fail_on_failures,
        )


def _hand_over(producer: Producer, scan_id: int, *, in_json: bool, on_cluster: bool) -> Exit:
    """List the sources that only this machine can reach, then leave the scan to the cluster."""
    with producer.engine.connect() as connection:
        only_here = any(left.hostname for left in sources_left(connection, scan_id))
    if only_here:
        with told_to_stop() as told:
            list_scan(producer, scan_id, told)
            if told.is_set():
                return hint_at_resume(scan_id)
    with connected(producer.settings.database_url or "", "command") as connection:
        return leave_to_others(connection, scan_id, in_json=in_json, on_cluster=on_cluster)
