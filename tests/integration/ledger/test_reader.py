"""What people are shown comes from views: a reader's role can run every statement of it."""

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
from fakesweep import schema
from fakesweep.producer import api
from fakesweep.schema import (
    answers,
    audit_reports,
    control,
    crew,
    database,
    ledger,
    leftovers,
    listing_counts,
    logins,
    migrations,
    model_troubles,
    outputs,
    policies,
    registry,
    reports,
    result_rows,
    retention,
    scan_names,
    schedule_reports,
    schedules,
    strays,
    tokens,
    troubles,
    webhooks,
)
from fakesweep.schema.words import VerdictWord
from tests.integration.ledger.deliveries import add as add_webhook
from tests.integration.ledger.rows import add_model, run, scan
from tests.integration.ledger.schedule_rows import add as add_schedule
from tests.integration.ledger.schedule_rows import producer_on

NAME = schema.__name__
SCAN, AUDIT, IMAGE = 1, 2, 1
START = answers.Position()

READS: dict[Callable[..., Any], Callable[[Connection], Any]] = {
    answers.image_answer: lambda c: answers.image_answer(c, IMAGE),
    answers.image_answers: lambda c: answers.image_answers(c, [IMAGE]),
    answers.image_page: lambda c: (
        answers.image_page(
            c, START, 1, scan_id=SCAN, verdict=VerdictWord.FAKE, status="classified"
        ).images
    ),
    audit_reports.change_counts: lambda c: audit_reports.change_counts(c, AUDIT),
    audit_reports.changes_of: lambda c: list(audit_reports.changes_of(c, AUDIT, ("new",))),
    crew.crew_of: lambda c: [
        crew.crew_of(c, reports.progress(c, one), within_seconds=60) for one in (SCAN, 3)
    ],
    ledger.chosen: lambda c: ledger.chosen(c, SCAN),
    ledger.sources_left: lambda c: ledger.sources_left(c, 3),
    listing_counts.left_out_counts: lambda c: listing_counts.left_out_counts(c, SCAN),
    listing_counts.unmatched_patterns: lambda c: [listing_counts.unmatched_patterns(c, SCAN)],
    model_troubles.model_troubles: lambda c: [model_troubles.model_troubles(c, ["tiny"])],
    outputs.output_of: lambda c: outputs.output_of(c, SCAN),
    policies.list_policies: policies.list_policies,
    policies.policy_history: lambda c: policies.policy_history(c, "default"),
    policies.policy_of_scan: lambda c: policies.policy_of_scan(c, SCAN),
    registry.revisions_of: lambda c: registry.revisions_of(c, "tiny"),
    registry.seen_on: lambda c: [registry.seen_on(c, "h", 60)],
    registry.workers_seen: lambda c: [registry.workers_seen(c, 60)],
    reports.counted: reports.counted,
    reports.counted_since: lambda c: reports.counted_since(c, SCAN, reports.counted(c)),
    reports.failure_counts: lambda c: [reports.failure_counts(c, SCAN)],
    reports.live_workers: lambda c: [reports.live_workers(c, 60)],
    reports.movement: lambda c: reports.movement(c, SCAN, within_seconds=60),
    reports.progress: lambda c: reports.progress(c, SCAN),
    reports.query: lambda c: list(reports.query(c, "SELECT * FROM verdicts")[1]),
    reports.recent_scans: reports.recent_scans,
    reports.sources_of: lambda c: reports.sources_of(c, SCAN),
    reports.verdict_counts: lambda c: reports.verdict_counts(c, SCAN),
    result_rows.results: lambda c: list(result_rows.results(c, SCAN, VerdictWord.FAKE)),
    scan_names.find_scan: lambda c: [scan_names.find_scan(c, one) for one in (SCAN, "May", "last")],
    schedule_reports.runs_of: lambda c: [schedule_reports.runs_of(c, 1, 10)],
    schedule_reports.schedule_report: lambda c: schedule_reports.schedule_report(c, "nightly"),
    schedule_reports.schedule_reports: schedule_reports.schedule_reports,
    strays.unreadable_count: lambda c: [strays.unreadable_count(c)],
    troubles.troubles: troubles.troubles,
    webhooks.dead_deliveries: lambda c: webhooks.dead_deliveries(c, "moderation", 10),
    webhooks.list_webhooks: webhooks.list_webhooks,
}
"""What people are shown, each with a call of it that finds something."""

INNER: set[Callable[..., Any]] = {
    answers.ended_images,
    database.check_encoding,
    database.limit_statements,
    database.ping,
    migrations.check_migration,
}
"""What the API asks for itself, five times a second by one index, and what every process asks."""

SECRET: set[Callable[..., Any]] = {
    tokens.find_caller,
    tokens.list_tokens,
    tokens.may_look_up,
    webhooks.find_webhook,
}
"""Who may use the HTTP API, and by which secrets webhooks are signed."""

ACTS: set[Callable[..., Any]] = {
    control.begin_retry,
    control.cancel_scan,
    control.pause_scan,
    control.resume_scan,
    control.retry_failures,
    leftovers.forget_contents,
    leftovers.forget_old,
    leftovers.last_content,
    logins.set_login,
    migrations.alembic_config,
    migrations.current_migration,
    migrations.upgrade,
    registry.policy_id,
    registry.rejudge,
    retention.begin_forgetting,
    retention.clock,
    retention.doom,
    retention.doomed_images,
    retention.ended_scans,
    retention.forget_images,
    retention.forget_scan,
    retention.lock_forgetting,
    retention.may_forget,
    retention.settled_sightings,
    retention.spare,
    retention.why_it_stays,
    schedules.pause_schedule,
    schedules.remove_schedule,
    strays.acknowledge_unreadable,
    tokens.add_token,
    tokens.revoke_token,
    webhooks.add_webhook,
    webhooks.pause_webhook,
    webhooks.remove_webhook,
    webhooks.resume_webhook,
    webhooks.retry_dead,
    webhooks.retry_delivery,
}
"""What changes something, and what is asked on the way to that, as before forgetting."""


def _imported() -> Iterator[Any]:
    """Yield what commands and the API import of the schema, wherever in their files."""
    for package in (fakesweep, api):
        for path in Path(package.__path__[0]).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(NAME):
                    for alias in node.names:
                        yield _found(f"{node.module}", alias.name)


def _found(module: str, name: str) -> Any:
    found = importlib.import_module(module)
    return getattr(found, name, None) or importlib.import_module(f"{module}.{name}")


def _asked() -> Iterator[FunctionType]:
    """Yield the functions among it that take a connection; of a module all that it defines."""
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
    """A scan, an audit, one that runs; a schedule, a webhook, and what was left out."""
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
