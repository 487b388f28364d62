"""Rejudgement of a scan while its batches are claimed and stored, in every order."""

import random
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from sqlalchemy import Engine

from fakesweep.schema.ledger.batches.leases import Claim
from fakesweep.schema.ledger.batches.outcomes import Outcome, store_outcomes
from fakesweep.schema.ledger.registry.policies import rejudge
from fakesweep.schema.message import BatchMessage
from fakesweep.schema.words import VerdictWord
from tests.integration.ledger.deliveries import add, told
from tests.integration.ledger.rows import (
    WORKER,
    add_model,
    ask,
    claimed,
    content_of,
    judged,
    record,
    store,
    take,
    take_one,
    tuples,
    value,
)
from tests.support.servers import wait_until

WAITS = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'advisory'"
JUDGED = """
    SELECT p.name, v.verdict, count(*)
    FROM ledger.verdicts v JOIN ledger.policies p USING (policy_id) GROUP BY 1, 2 ORDER BY 1, 2
"""


@pytest.fixture
def model(engine: Engine) -> int:
    return add_model(engine)


def _batch(engine: Engine, model: int) -> tuple[int, Claim, list[Outcome]]:
    """An outcome that is `uncertain` by the default policy and `fake` by the card's."""
    scan_id = ask(engine)
    record(engine, scan_id, ["s3://photos/a", "s3://photos/b"])
    message = take_one(engine)
    held = claimed(engine, message.batch_id)
    return scan_id, held, _outcomes(held, message, model)


def _outcomes(held: Claim, message: BatchMessage, model: int) -> list[Outcome]:
    return [judged(held, one, content_of(one.image_id), {model: 0.7}) for one in message.images]


def _rejudge(engine: Engine, scan_id: int, policy: str) -> int:
    with engine.begin() as connection:
        return rejudge(connection, scan_id, policy)


def _begin(work: Callable[[], object], engine: Engine) -> tuple[ThreadPoolExecutor, Future[object]]:
    """Start work in a thread that waits for a lock."""
    thread = ThreadPoolExecutor(1)
    waiting = thread.submit(work)
    wait_until(lambda: bool(value(engine, WAITS)) or waiting.done(), "it waits")
    assert not waiting.done()
    return thread, waiting


def test_a_store_judges_by_the_policy_the_scan_has_then(engine: Engine, model: int) -> None:
    scan_id, held, outcomes = _batch(engine, model)
    assert _rejudge(engine, scan_id, "card") == 0
    assert store(engine, held, outcomes)
    assert tuples(engine, JUDGED) == [("card", "fake", 2)]


def test_what_is_stored_while_a_scan_is_judged_anew_is_judged_by_its_new_policy(
    engine: Engine, model: int
) -> None:
    scan_id, held, outcomes = _batch(engine, model)
    with engine.connect() as storing:
        assert store_outcomes(storing, held, WORKER, outcomes)
        thread, judging = _begin(lambda: _rejudge(engine, scan_id, "card"), engine)
        storing.commit()
        assert judging.result(30) == 2
        thread.shutdown()
    assert tuples(engine, JUDGED) == [("card", "fake", 2)]


def test_a_store_that_begins_while_a_scan_is_judged_anew_waits_for_its_new_policy(
    engine: Engine, model: int
) -> None:
    scan_id, held, outcomes = _batch(engine, model)
    with engine.connect() as judging:
        assert rejudge(judging, scan_id, "card") == 0
        thread, storing = _begin(lambda: store(engine, held, outcomes), engine)
        judging.commit()
        assert storing.result(30) is True
        thread.shutdown()
    assert tuples(engine, JUDGED) == [("card", "fake", 2)]


def test_a_scan_judged_anew_in_vain_leaves_stores_their_policy(engine: Engine, model: int) -> None:
    scan_id, held, outcomes = _batch(engine, model)
    with engine.connect() as judging:
        rejudge(judging, scan_id, "card")
        thread, storing = _begin(lambda: store(engine, held, outcomes), engine)
        judging.rollback()
        assert storing.result(30) is True
        thread.shutdown()
    assert tuples(engine, JUDGED) == [("default", "uncertain", 2)]


def test_stores_of_other_scans_do_not_wait(engine: Engine, model: int) -> None:
    scan_id, held, outcomes = _batch(engine, model)
    other, other_held, other_outcomes = _batch(engine, model)
    with engine.connect() as judging:
        rejudge(judging, other, "card")
        assert store(engine, held, outcomes)
    assert store(engine, other_held, other_outcomes)
    assert tuples(engine, JUDGED) == [("default", "uncertain", 4)]
    assert _rejudge(engine, scan_id, "card") == 2


def test_the_last_delivery_of_a_rejudged_image_has_its_final_verdict(
    engine: Engine, model: int
) -> None:
    add(engine, verdicts=list(VerdictWord))
    scan_id, held, outcomes = _batch(engine, model)
    with engine.connect() as storing:
        store_outcomes(storing, held, WORKER, outcomes)
        thread, judging = _begin(lambda: _rejudge(engine, scan_id, "card"), engine)
        storing.commit()
        judging.result(30)
        thread.shutdown()
    heard = [(row[3], row[4], row[5]) for row in told(engine)]
    assert sorted(heard, key=str) == [
        ("verdict.changed", "fake", "uncertain"), ("verdict.changed", "fake", "uncertain"),
        ("verdict.given", "uncertain", None), ("verdict.given", "uncertain", None),
    ]  # fmt: skip


def test_however_stores_and_judging_meet_every_verdict_is_by_the_last_policy(
    engine: Engine, model: int
) -> None:
    scan_id = ask(engine)
    for number in range(24):
        record(engine, scan_id, [f"s3://photos/{number}/{n}" for n in range(3)])
    held = [(claimed(engine, one.batch_id), one) for one in take(engine)]
    random.Random(7).shuffle(held)
    is_over = threading.Event()

    def judge_again_and_again() -> None:
        while not is_over.is_set():
            for policy in ("card", "default"):
                _rejudge(engine, scan_id, policy)

    def store_one(one: tuple[Claim, BatchMessage]) -> bool:
        return store(engine, one[0], _outcomes(one[0], one[1], model))

    with ThreadPoolExecutor(5) as threads:
        judging = threads.submit(judge_again_and_again)
        stored = list(threads.map(store_one, held))
        is_over.set()
        judging.result(60)
    assert all(stored)
    assert tuples(engine, JUDGED) == [("default", "uncertain", 72)]
