import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from fakesweep.schema.failures import FailureCode
from fakesweep.schema.ledger.batches.outcomes import Failure, Outcome
from fakesweep.schema.ledger.dead_letters import DeadLetter, record_unreadable
from fakesweep.schema.reasons import LONGEST_REASON_BYTES
from tests.integration.ledger.rows import (
    ask,
    claimed,
    record,
    run,
    store,
    take_one,
    value,
)

LONG = "\x00ä\ud800" * 200_414


def test_however_long_a_failures_message_is_its_batch_is_stored_and_the_row_short(
    engine: Engine,
) -> None:
    record(engine, ask(engine), ["s3://photos/a"])
    message = take_one(engine)
    held = claimed(engine, message.batch_id)
    failure = Failure(FailureCode.CORRUPT, LONG)
    outcome = Outcome(message.images[0].image_id, None, (), failure)
    assert store(engine, held, [outcome])
    longest = "SELECT octet_length(failure_message) FROM ledger.outcomes"
    assert 0 < value(engine, longest) <= LONGEST_REASON_BYTES


def test_why_a_message_was_put_aside_is_short(engine: Engine) -> None:
    with engine.begin() as connection:
        record_unreadable(connection, DeadLetter("bulk", LONG, "body"))
    longest = "SELECT octet_length(reason) FROM ledger.unreadable_messages"
    assert 0 < value(engine, longest) <= LONGEST_REASON_BYTES


@pytest.mark.parametrize(
    ("table", "column"),
    [
        ("outcomes", "failure_message"),
        ("unreadable_messages", "reason"),
        ("schedule_runs", "reason"),
        ("webhook_deliveries", "last_error"),
        ("outputs", "trouble"),
    ],
)
def test_the_ledger_refuses_what_was_not_cut(engine: Engine, table: str, column: str) -> None:
    checks = f"""
        SELECT count(*) FROM pg_constraint WHERE conrelid = 'ledger.{table}'::regclass
          AND contype = 'c' AND pg_get_constraintdef(oid) LIKE '%octet_length({column})%8000%'
    """
    assert value(engine, checks) == 1


def test_what_is_refused_is_refused_by_name(engine: Engine) -> None:
    with pytest.raises(DBAPIError, match="messages_are_short"):
        run(
            engine,
            "INSERT INTO ledger.outcomes (image_id, scan_id, failure_code, failure_message) "
            "VALUES (1, 1, 'corrupt', repeat('x', 8001))",
        )
