"""Webhook events: delivered once, signed, and to subscribers only."""

import json

import pytest
from sqlalchemy import Engine

from fakesweep.cli import run as run_command
from fakesweep.exits import Exit
from fakesweep.schema.ledger.scans.control import cancel_scan
from fakesweep.schema.ledger.webhooks import webhooks
from fakesweep.schema.ledger.webhooks.deliveries import tell_events
from fakesweep.schema.words import Event, Lane, VerdictWord
from tests.integration.deliveries import judge, states, wait_for_states
from tests.integration.ledger.rows import ask, end, record, run, tuples, value
from tests.support.webhook_receiver import SECRET, Receiver
from tests.support.webhook_sender import delivering

SCHEDULE = """
    INSERT INTO ledger.schedules (name, cron, timezone, model_keys, policy, lane, next_at)
    VALUES ('nightly', '0 3 * * *', 'UTC', '{tiny}', 'default', 'bulk', now())
"""
RUN = """
    INSERT INTO ledger.schedule_runs (schedule_id, due_at, outcome, reason)
    SELECT schedule_id, CAST(:at AS timestamptz), CAST(:outcome AS ledger.schedule_outcome), :reason
    FROM ledger.schedules
"""


def asked_for(
    engine: Engine,
    *events: Event,
    url: str = "https://hooks.example",
    name: str = "ops",
    verdicts: tuple[VerdictWord, ...] = (),
    lanes: tuple[Lane, ...] = (),
) -> None:
    with engine.begin() as connection:
        webhooks.add_webhook(
            connection, name=name, url=url, secret=SECRET, verdicts=verdicts, events=events,
            lanes=lanes,
        )  # fmt: skip


def tell(engine: Engine) -> int:
    with engine.begin() as connection:
        return tell_events(connection)


def told(engine: Engine) -> list[tuple[str, str]]:
    return tuples(engine, "SELECT webhook, type FROM webhook_deliveries ORDER BY delivery_id")


def test_the_end_of_a_scan_is_told_once_to_those_who_ask(
    engine: Engine, database_url: str, receiver: Receiver
) -> None:
    asked_for(engine, Event.SCAN_ENDED, url=receiver.url)
    asked_for(engine, name="moderation", verdicts=(VerdictWord.REAL,))
    judge(engine, 3)
    with delivering(database_url):
        wait_for_states(engine, delivered=1)
    [one] = receiver.told
    assert one.said["type"] == "scan.ended"
    data = one.said["data"]
    names = ("scan_id", "state", "lane", "submitted", "classified", "failed", "pending")
    assert tuple(data[name] for name in names) == (1, "finished", "bulk", 3, 3, 0, 0)
    assert data["is_audit"] is False
    assert data["ended_at"].endswith("Z")
    assert one.said["timestamp"].endswith("Z")
    assert tell(engine) == 0


def test_a_scan_that_goes_on_has_not_ended_and_a_cancelled_one_has(engine: Engine) -> None:
    asked_for(engine, Event.SCAN_ENDED)
    scan_id = ask(engine)
    assert tell(engine) == 0
    record(engine, scan_id, ["s3://a/1"])
    end(engine, scan_id)
    assert tell(engine) == 0
    with engine.begin() as connection:
        cancel_scan(connection, scan_id)
    assert tell(engine) == 1
    assert value(engine, "SELECT said ->> 'state' FROM ledger.webhook_deliveries") == "cancelled"


def test_times_of_schedules_that_made_no_scan_are_told_with_their_reason(
    engine: Engine, database_url: str, receiver: Receiver
) -> None:
    asked_for(engine, Event.SCHEDULE_SKIPPED, Event.SCHEDULE_FAILED, url=receiver.url)
    run(engine, SCHEDULE)
    for day, (outcome, reason) in enumerate(
        [("skipped", "scan 1 is not finished"), ("missed", None), ("refused", "it is gone")], 1
    ):
        run(engine, RUN, at=f"2026-05-0{day}T03:00Z", outcome=outcome, reason=reason)
    with delivering(database_url):
        wait_for_states(engine, delivered=3)
    heard = sorted(
        (one.said["data"]["due_at"], one.said["type"], one.said["data"]["outcome"],
         one.said["data"]["reason"])
        for one in receiver.told
    )  # fmt: skip
    assert heard == [
        ("2026-05-01T03:00:00.000000Z", "schedule.skipped", "skipped", "scan 1 is not finished"),
        ("2026-05-02T03:00:00.000000Z", "schedule.skipped", "missed", None),
        ("2026-05-03T03:00:00.000000Z", "schedule.failed", "refused", "it is gone"),
    ]
    assert {one.said["data"]["schedule"] for one in receiver.told} == {"nightly"}
    assert len(set(receiver.ids)) == 3


def test_a_webhook_for_verdicts_gets_no_events(engine: Engine) -> None:
    asked_for(engine, name="moderation", verdicts=tuple(VerdictWord))
    judge(engine, 2)
    tell(engine)
    assert told(engine) == [("moderation", "verdict.given")] * 2


def test_an_event_goes_by_the_lanes_a_webhook_asks_for(engine: Engine) -> None:
    asked_for(engine, Event.SCAN_ENDED, name="live", lanes=(Lane.LIVE,))
    asked_for(engine, Event.SCAN_ENDED, name="bulk", lanes=(Lane.BULK,))
    judge(engine, 1)
    tell(engine)
    assert told(engine) == [("bulk", "scan.ended")]


def test_events_before_a_webhook_was_added_are_never_delivered(engine: Engine) -> None:
    judge(engine, 1)
    assert tell(engine) == 1
    asked_for(engine, Event.SCAN_ENDED)
    assert tell(engine) == 0
    assert states(engine) == {}


def test_the_command_adds_and_lists_events(
    engine: Engine,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("FAKESWEEP_DATABASE_URL", database_url)
    words = ("webhook", "add", "ops", "https://hooks.example/", "--event", "scan.ended", "--json")
    assert run_command(words) == Exit.DONE
    said = json.loads(capsys.readouterr().out)
    assert (said["events"], said["verdicts"]) == (["scan.ended"], [])
    assert run_command(["webhook", "list"]) == Exit.DONE
    assert "scan.ended" in capsys.readouterr().out
    assert value(engine, "SELECT events[1] FROM ledger.webhooks") == "scan.ended"
