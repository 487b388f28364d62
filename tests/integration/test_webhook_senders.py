"""Delivery loop: shutdown, kills and outages of the ledger."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from multiprocessing import get_context
from multiprocessing.context import ForkServerProcess
from signal import SIGKILL

import pytest
from sqlalchemy import Engine

from fakesweep.schema.ledger.batches.outcomes import store_outcomes
from fakesweep.schema.ledger.connection import open_engine
from tests.integration.deliveries import add, judge, states, wait_for_states
from tests.integration.ledger.rows import (
    WORKER,
    add_model,
    ask,
    claimed,
    content_of,
    judged,
    record,
    take,
    tuples,
)
from tests.support.killable_postgres import Server, killable_postgres
from tests.support.servers import wait_until
from tests.support.webhook_receiver import Receiver, Reply
from tests.support.webhook_sender import HASTY, deliver_until_told_to_stop, delivering

PROCESSES = get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.support.webhook_sender"])


def test_a_stopped_sender_records_its_deliveries_in_hand(
    engine: Engine, database_url: str, receiver: Receiver
) -> None:
    go_on = threading.Event()

    def answer(_: object) -> Reply:
        go_on.wait(10)
        return Reply()

    receiver.answer = answer
    add(engine, receiver.url)
    judge(engine, 10)
    with delivering(database_url, replace(HASTY, shutdown_seconds=10.0)):
        wait_until(lambda: len(receiver.told) == HASTY.at_once, "it has its hands full")
        threading.Timer(0.2, go_on.set).start()
    assert states(engine) == {"delivered": HASTY.at_once, "waiting": 10 - HASTY.at_once}


@pytest.fixture(scope="module")
def killable() -> Iterator[Server]:
    with killable_postgres() as server:
        yield server


def test_deliveries_during_an_outage_of_the_ledger_are_recorded_after_it(
    killable: Server, receiver: Receiver
) -> None:
    killable.renew_database()
    engine = open_engine(killable.url, "tests")
    go_on = threading.Event()

    def answer(_: object) -> Reply:
        go_on.wait(20)
        return Reply()

    receiver.answer = answer
    add(engine, receiver.url)
    judge(engine, 6)
    with delivering(killable.url, replace(HASTY, lease_seconds=120.0, timeout_seconds=30.0)):
        wait_until(lambda: len(receiver.told) == HASTY.at_once, "some are on their way")
        killable.kill()
        go_on.set()
        killable.start()
        wait_for_states(engine, delivered=6)
    assert len(receiver.told) == len(set(receiver.ids)) == 6
    engine.dispose()


def test_killed_senders_skip_nothing_and_repeat_only_what_they_had_in_hand(
    engine: Engine, database_url: str, receiver: Receiver
) -> None:
    count, kills = 300, 12
    receiver.answer = _moody(random.Random(7))
    add(engine, receiver.url)
    judge(engine, count)
    for _ in range(kills):
        seen = len(receiver.told)
        with _sender(database_url) as sender:
            wait_until(lambda seen=seen: len(receiver.told) > seen + 10, "it is in the middle", 20)  # type: ignore[misc]
            sender.kill()
    receiver.always(Reply())
    with _sender(database_url), _sender(database_url):
        wait_until(lambda: states(engine) == {"delivered": count}, "everything is delivered", 30)
    stored = dict(tuples(engine, "SELECT message_id, image_id FROM webhook_deliveries"))
    assert {one.message_id: one.verdict["image_id"] for one in receiver.told} == stored
    assert len(set(stored.values())) == count
    taken = Counter(receiver.ids_taken)
    assert set(taken) == set(stored)
    # A duplicate means that the sender died between the answer and its record.
    assert sum(taken.values()) - count <= kills * HASTY.at_once


def test_deliveries_that_are_stored_while_senders_are_killed_are_told_as_well(
    engine: Engine, database_url: str, receiver: Receiver
) -> None:
    def told_images() -> set[int]:
        return {one.verdict["image_id"] for one in receiver.told}

    add(engine, receiver.url)
    model = add_model(engine)
    scan_id = ask(engine)
    for number in range(12):
        record(engine, scan_id, [f"s3://photos/{number}/{n}.jpg" for n in range(5)])
    for number, message in enumerate(take(engine)):
        with _sender(database_url) if number % 4 == 0 else nullcontext() as sender:
            held = claimed(engine, message.batch_id)
            outcomes = [
                judged(held, image, content_of(image.uri), {model: 0.9}) for image in message.images
            ]
            with engine.begin() as connection:
                assert store_outcomes(connection, held, WORKER, outcomes)
            if sender is not None:
                own = message.images[0].image_id
                wait_until(lambda own=own: own in told_images(), "it tells of them", 20)  # type: ignore[misc]
                sender.kill()
    with _sender(database_url):
        wait_until(lambda: states(engine) == {"delivered": 60}, "everything is delivered", 30)
    assert len(set(receiver.ids)) == 60


def _moody(dice: random.Random) -> Callable[[object], Reply]:
    """Return delayed answers, some of them failures, so that kills hit deliveries in hand."""

    def answer(_: object) -> Reply:
        time.sleep(0.01)  # a receiver does some work
        return Reply(dice.choice([200, 200, 200, 204, 500, 503]))

    return answer


@contextmanager
def _sender(database_url: str) -> Iterator[ForkServerProcess]:
    process = PROCESSES.Process(target=deliver_until_told_to_stop, args=(database_url,))
    process.start()
    try:
        yield process
        process.terminate()
        process.join(20)
        assert process.exitcode in (0, -SIGKILL)
    finally:
        process.kill()
        process.join(20)
