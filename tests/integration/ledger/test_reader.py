"""People see views only: a reader's role can run every statement of it."""

import ast
import importlib
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest
from sqlalchemy import Connection, Engine

import fakesweep
from fakesweep import schema, serving
from fakesweep.producer import api, retention
from fakesweep.schema import migrations
from fakesweep.schema.ledger import api_tokens, dead_letters, logins
from fakesweep.schema.ledger import connection as database
from fakesweep.schema.ledger.batches import deferrals
from fakesweep.schema.ledger.outputs import parts
from fakesweep.schema.ledger.registry import model_errors, models, policies, processes
from fakesweep.schema.ledger.reports import (
    adhoc,
    audits,
    images,
    progress,
    results,
    scan_workers,
    stalls,
    workers,
)
from fakesweep.schema.ledger.retention import ended_scans, orphans
from fakesweep.schema.ledger.scans import control, listing_counts, names, scans
from fakesweep.schema.ledger.schedules import reports as schedule_reports
from fakesweep.schema.ledger.schedules import schedules
from fakesweep.schema.ledger.webhooks import webhooks
from fakesweep.schema.words import VerdictWord
from tests.integration.ledger.deliveries import add as add_webhook
from tests.integration.ledger.rows import add_model, run, scan
from tests.integration.ledger.schedule_rows import add as add_schedule
from tests.integration.ledger.schedule_rows import producer_on

NAME = schema.__name__
SCAN, AUDIT, IMAGE = 1, 2, 1
START = images.Position()

READS: dict[Callable[..., Any], Callable[[Connection], Any]] = {
    images.image_answer: lambda c: images.image_answer(c, IMAGE),
    images.image_answers: lambda c: images.image_answers(c, [IMAGE]),
    images.image_page: lambda c: (
        images.image_page(
            c, START, 1, scan_id=SCAN, verdict=VerdictWord.FAKE, status="classified"
        ).images
    ),
    audits.change_counts: lambda c: audits.change_counts(c, AUDIT),
    audits.changes_of: lambda c: list(audits.changes_of(c, AUDIT, ("new",))),
    scan_workers.scan_workers: lambda c: [
        scan_workers.scan_workers(c, progress.progress(c, one), within_seconds=60)
        for one in (SCAN, 3)
    ],
    scans.chosen: lambda c: scans.chosen(c, SCAN),
    scans.sources_left: lambda c: scans.sources_left(c, 3),
    listing_counts.left_out_counts: lambda c: listing_counts.left_out_counts(c, SCAN),
    listing_counts.unmatched_patterns: lambda c: [listing_counts.unmatched_patterns(c, SCAN)],
    model_errors.model_troubles: lambda c: [model_errors.model_troubles(c, ["tiny"])],
    parts.output_of: lambda c: parts.output_of(c, SCAN),
    policies.list_policies: policies.list_policies,
    policies.policy_history: lambda c: policies.policy_history(c, "default"),
    policies.policy_of_scan: lambda c: policies.policy_of_scan(c, SCAN),
    models.revisions_of: lambda c: models.revisions_of(c, "tiny"),
    processes.seen_on: lambda c: [processes.seen_on(c, "h", 60)],
    processes.workers_seen: lambda c: [processes.workers_seen(c, 60)],
    workers.counted: workers.counted,
    workers.counted_since: lambda c: workers.counted_since(c, SCAN, workers.counted(c)),
    results.failure_counts: lambda c: [results.failure_counts(c, SCAN)],
    workers.live_workers: lambda c: [workers.live_workers(c, 60)],
    stalls.movement: lambda c: stalls.movement(c, SCAN, within_seconds=60),
    progress.progress: lambda c: progress.progress(c, SCAN),
    adhoc.query: lambda c: list(adhoc.query(c, "SELECT * FROM verdicts")[1]),
    progress.recent_scans: progress.recent_scans,
    progress.sources_of: lambda c: progress.sources_of(c, SCAN),
    results.verdict_counts: lambda c: results.verdict_counts(c, SCAN),
    results.results: lambda c: list(results.results(c, SCAN, VerdictWord.FAKE)),
    names.find_scan: lambda c: [names.find_scan(c, one) for one in (SCAN, "May", "last")],
    schedule_reports.runs_of: lambda c: [schedule_reports.runs_of(c, 1, 10)],
    schedule_reports.schedule_report: lambda c: schedule_reports.schedule_report(c, "nightly"),
    schedule_reports.schedule_reports: schedule_reports.schedule_reports,
    dead_letters.unreadable_count: lambda c: [dead_letters.unreadable_count(c)],
    deferrals.troubles: deferrals.troubles,
    webhooks.dead_deliveries: lambda c: webhooks.dead_deliveries(c, "moderation", 10),
    webhooks.list_webhooks: webhooks.list_webhooks,
}
"""Functions that show data to people, each with a call that finds rows."""

INNER: set[Callable[..., Any]] = {
    images.ended_images,
    database.check_encoding,
    database.limit_statements,
    database.ping,
    migrations.check_migration,
}
"""Functions of the API's polling, and those that every process runs."""

SECRET: set[Callable[..., Any]] = {
    api_tokens.find_caller,
    api_tokens.list_tokens,
    api_tokens.may_look_up,
    webhooks.find_webhook,
}
"""Functions on the secrets of tokens and webhooks."""

ACTS: set[Callable[..., Any]] = {
    control.begin_retry,
    control.cancel_scan,
    control.pause_scan,
    control.resume_scan,
    control.retry_failures,
    orphans.delete_contents,
    orphans.delete_old,
    orphans.last_content,
    logins.set_login,
    migrations.alembic_config,
    migrations.current_migration,
    migrations.upgrade,
    policies.policy_id,
    policies.rejudge,
    ended_scans.begin_deletion,
    ended_scans.clock,
    ended_scans.mark_images,
    ended_scans.marked_images,
    ended_scans.ended_scans,
    ended_scans.delete_images,
    ended_scans.delete_scan,
    ended_scans.lock_retention,
    ended_scans.may_delete,
    ended_scans.settled_sightings,
    ended_scans.spare,
    ended_scans.why_it_stays,
    schedules.pause_schedule,
    schedules.remove_schedule,
    dead_letters.acknowledge_unreadable,
    api_tokens.add_token,
    api_tokens.revoke_token,
    webhooks.add_webhook,
    webhooks.pause_webhook,
    webhooks.remove_webhook,
    webhooks.resume_webhook,
    webhooks.retry_dead,
    webhooks.retry_delivery,
}
"""Functions that write, and those that read before a write."""


def _imported() -> Iterator[Any]:
    """Yield every import of the schema by commands and API."""
    for package in (fakesweep, api, retention, serving):
        for path in Path(package.__path__[0]).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(NAME):
                    for alias in node.names:
                        yield _found(f"{node.module}", alias.name)


def _found(module: str, name: str) -> Any:
    found = importlib.import_module(module)
    return getattr(found, name, None) or importlib.import_module(f"{module}.{name}")


def _asked() -> Iterator[FunctionType]:
    """Yield those imports that are functions of a connection; of a module, all its functions."""
    for found in _imported():
        for one in vars(found).values() if inspect.ismodule(found) else [found]:
            if (
                isinstance(one, FunctionType)
                and one.__module__.startswith(NAME)
                and not one.__name__.startswith("_")
                and list(one.__annotations__.values())[:1] == [Connection]
            ):
                yield one


@pytest.fixture
def filled(engine: Engine) -> Engine:
    """Scans, audits, a schedule, a webhook and skipped entries."""
    tiny = add_model(engine)
    add_webhook(engine)
    scan(engine, {"s3://photos/1": {tiny: 0.9}}, name="May")
    scan(engine, {"s3://photos/1": {tiny: 0.9}}, is_audit=True)
    add_schedule(producer_on(engine))
    run(
        engine,
        "INSERT INTO ledger.scans (lane, policy_id, model_keys) VALUES ('bulk', 1, '{tiny}');"
        "INSERT INTO ledger.scan_sources (scan_id, position, source) VALUES (3, 0, 's3://a/');"
        "INSERT INTO ledger.listing_counts VALUES (1, 'left_out', 'comment', 3);"
        "INSERT INTO ledger.outputs (scan_id, destination) VALUES (1, 's3://out/');"
        "UPDATE ledger.webhook_deliveries SET dead_at = now()",
    )
    return engine


def test_every_statement_that_commands_and_the_api_run_is_known_to_read_or_to_act() -> None:
    asked = set(_asked())
    known = {*READS, *INNER, *SECRET, *ACTS}
    assert len(READS) + len(INNER) + len(SECRET) + len(ACTS) == len(known)
    new = {f"{one.__module__}.{one.__name__}" for one in asked - known}
    gone = {f"{one.__module__}.{one.__name__}" for one in known - asked}
    assert (new, gone) == (set(), set()), "say in this file whether it reads, acts or keeps secrets"


@pytest.mark.parametrize("function", READS, ids=lambda one: one.__name__)
def test_a_reader_is_shown_what_people_are_shown(
    filled: Engine, function: Callable[..., Any]
) -> None:
    with filled.connect() as connection:
        connection.exec_driver_sql("SET TRANSACTION READ ONLY; SET LOCAL ROLE fakesweep_analyst")
        assert READS[function](connection)


def test_a_reader_sees_of_a_webhooks_address_its_host_alone(filled: Engine) -> None:
    run(filled, "UPDATE ledger.webhooks SET url = 'https://example.org:8443/hooks/T0/secret?key=1'")
    with filled.connect() as connection:
        [owners] = webhooks.list_webhooks(connection)
        connection.exec_driver_sql("SET LOCAL ROLE fakesweep_analyst")
        [readers] = webhooks.list_webhooks(connection)
    assert owners.url == "https://example.org:8443/hooks/T0/secret?key=1"
    assert readers.url == "https://example.org:8443/…"
