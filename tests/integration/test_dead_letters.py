"""Dead letters: unreadable messages that a real worker puts aside, in log and ledger, once.

They come from nobody the worker can answer, so it must neither die of them nor loop.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from sqlalchemy import Engine, text
from structlog.testing import capture_logs

from fakesweep.schema.ledger.connection import open_engine
from fakesweep.schema.ledger.dead_letters import MAX_BODY_CHARACTERS, unreadable_count
from fakesweep.schema.ledger.retry import LedgerRetry
from fakesweep.schema.settings import Settings
from fakesweep.workers.broker.dead_letters import KEPT_DEAD_LETTERS, DeadLetters
from tests.support.batches import publish_scan, uris_of
from tests.support.dead_letters import dead_letters
from tests.support.photographs import folder_of_photographs
from tests.support.servers import free_port, wait_until
from tests.support.worker import publish, running_worker, wait_until_done

LONG = b"\x00" + "ä".encode() * 10_000


@pytest.fixture
def settings(database_url: str, broker_url: str) -> Settings:
    return Settings(database_url=database_url, broker_url=broker_url)


@pytest.fixture
def recorded(engine: Engine) -> Iterator[DeadLetters]:
    with DeadLetters(LedgerRetry(engine)).recorded() as recorded:
        yield recorded


def test_a_worker_puts_every_kind_of_dead_letter_aside_and_does_the_batches_between_them(
    settings: Settings, engine: Engine, tmp_path: Path
) -> None:
    uris = uris_of(folder_of_photographs(tmp_path / "in", 6))
    messages = publish_scan(engine, uris, size=2)
    sent = dead_letters(messages[0])
    with redis.Redis.from_url(settings.broker_url or "") as client:
        publish(settings, messages[0])
        for lane, kind in zip(["live", "quarantine", "bulk"] * len(sent), sent, strict=False):
            client.lpush(lane, sent[kind])
        publish(settings, messages[1])
        with running_worker(settings, tmp_path / "log") as worker:
            for message in messages[:2]:
                wait_until_done(engine, message)
            wait_until(lambda: len(rows_of(engine)) == len(sent), "every letter is recorded")
            publish(settings, messages[2])
            wait_until_done(engine, messages[2])
            assert worker.process.poll() is None
            wait_until(lambda: not client.keys("*unacked*"), "no letter is left unacknowledged")
            assert not client.exists("live", "quarantine", "bulk")
            logged = worker.events("message_unreadable")
            said = worker.events()
    rows = rows_of(engine)
    assert len(rows) == len(logged) == len(sent)
    for row in rows:
        assert row["queue"] in ("live", "quarantine", "bulk")
        assert row["reason"].isprintable()
        assert len(row["body"]) <= MAX_BODY_CHARACTERS
    assert {(one["queue"], one["reason"]) for one in logged} == {
        (row["queue"], row["reason"]) for row in rows
    }
    assert not [one for one in said if "exception" in one or "Traceback" in str(one)]
    [newer] = [row for row in rows if "version 2" in row["reason"]]
    assert '"batch_id"' in newer["body"], "what a message asks for can be read in its row"
    with engine.connect() as connection:
        assert unreadable_count(connection) == len(sent)


def test_only_the_beginning_of_a_dead_letter_is_kept_as_postgresql_can_hold_it(
    recorded: DeadLetters, engine: Engine
) -> None:
    assert recorded.sort_out([b"bulk\x06\x163", LONG]) is None
    wait_until(lambda: bool(rows_of(engine)), "the letter is recorded")
    [row] = rows_of(engine)
    assert row["body"].startswith(r"\x00ää")
    assert len(row["body"]) == MAX_BODY_CHARACTERS
    assert row["queue"] == "bulk"


def test_no_secret_of_a_dead_letter_is_kept(recorded: DeadLetters, engine: Engine) -> None:
    with capture_logs() as logs:
        recorded.sort_out([b"live", b'{"uri": "https://me:pass@host/a?X-Amz-Signature=abc"}'])
    wait_until(lambda: bool(rows_of(engine)), "the letter is recorded")
    said = str(logs) + str(rows_of(engine))
    assert "host/a" in said
    assert "pass" not in said
    assert "abc" not in said


def test_while_the_ledger_is_away_the_log_tells_and_nobody_waits() -> None:
    away = open_engine(f"postgresql://nobody@127.0.0.1:{free_port()}/none", "tests")
    with DeadLetters(LedgerRetry(away)).recorded() as patient, capture_logs() as logs:
        began = time.monotonic()
        for _ in range(KEPT_DEAD_LETTERS + 50):
            assert patient.sort_out((b"bulk", b"garbage")) is None
        took_seconds = time.monotonic() - began
    told = [one for one in logs if one["event"] == "message_unreadable"]
    assert len(told) == KEPT_DEAD_LETTERS + 50
    assert told[0]["body"] == "garbage"
    assert any(one["event"] == "dead_letter_not_recorded" for one in logs)
    assert took_seconds < 10
    away.dispose()


def test_dead_letters_wait_for_a_ledger_that_is_slow_and_are_recorded_then(
    engine: Engine,
) -> None:
    lock = engine.connect()
    lock.execute(text("LOCK ledger.unreadable_messages"))
    with DeadLetters(LedgerRetry(engine)).recorded() as patient:
        for number in range(5):
            patient.sort_out((b"bulk", b"%d" % number))
        lock.close()
        wait_until(lambda: len(rows_of(engine)) == 5, "all are recorded")


def rows_of(engine: Engine) -> list[dict[str, Any]]:
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT * FROM unreadable_messages ORDER BY message_id"))
        return [dict(row._mapping) for row in rows]
