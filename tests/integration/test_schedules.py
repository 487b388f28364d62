"""Schedules with killed producers: each time has exactly one outcome."""

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from sqlalchemy import Engine

from fakesweep.producer.resources import Producer
from tests.integration.ledger.rows import run, tuples, value
from tests.integration.ledger.schedule_rows import add, producer_on
from tests.support.servers import wait_until

SCHEDULES = 40
KILLS = 5
SELDOM = "0 0 29 2 *"
"""Cron expression without a time between those of these tests."""

END_SOME = "UPDATE ledger.scans SET cancelled_at = now() WHERE scan_id % 2 = 0"
MAKE_DUE = """
    WITH due AS (
        UPDATE ledger.schedules SET next_at = now() - make_interval(secs => schedule_id / 1e3)
        RETURNING schedule_id, next_at
    )
    INSERT INTO wanted SELECT schedule_id, next_at FROM due
"""
ANSWERED = "SELECT count(*) FROM schedule_runs"
SCANS_OF_A_TIME = """
    SELECT r.outcome, r.scan_id = s.scan_id AS is_its_own, count(*)
    FROM schedule_runs r
    FULL JOIN ledger.scans s ON (s.schedule_id, s.due_at) = (r.schedule_id, r.due_at)
    GROUP BY 1, 2 ORDER BY 1
"""


@contextmanager
def keepers(engine: Engine, broker_url: str, folder: Path) -> Iterator["list[Keeper]"]:
    """Run two schedule processes, each restarted after a kill."""
    url = engine.url.render_as_string(hide_password=False)
    environment = os.environ | {
        "FAKESWEEP_DATABASE_URL": url, "FAKESWEEP_BROKER_URL": broker_url,
    }  # fmt: skip
    running = [Keeper(environment, folder / f"{number}.log") for number in range(2)]
    try:
        yield running
    finally:
        for keeper in running:
            keeper.process.kill()
            keeper.process.wait()


class Keeper:
    """Process that fires schedules."""

    def __init__(self, environment: dict[str, str], log: Path) -> None:
        self._environment = environment
        self.log = log
        self.start()

    def start(self) -> None:
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.schedule_keeper"],
                stdout=output, stderr=output, env=self._environment,
            )  # fmt: skip

    def freeze(self) -> None:
        assert self.process.poll() is None, self.log.read_text()
        self.process.send_signal(signal.SIGSTOP)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        assert self.process.wait() == -signal.SIGKILL


def _answered(engine: Engine, at_least: int) -> bool:
    return _answered_for(engine) >= at_least


def _make_all_due(producer: Producer) -> None:
    """Make every schedule due at a time of its own, and end the scans of half of them."""
    run(producer.engine, END_SOME)
    run(producer.engine, MAKE_DUE)


def _answered_for(engine: Engine) -> int:
    return int(value(engine, ANSWERED))


def test_each_time_has_one_outcome_with_killed_producers(
    engine: Engine, broker_url: str, tmp_path: Path
) -> None:
    producer = producer_on(engine)
    for number in range(SCHEDULES):
        add(producer, f"schedule {number}", cron=SELDOM)
    run(engine, "CREATE TABLE wanted (schedule_id bigint, due_at timestamptz)")
    moments, in_the_middle = random.Random(5), 0
    with keepers(engine, broker_url, tmp_path) as running:
        for number in range(1, KILLS + 1):
            _make_all_due(producer)
            everything = number * SCHEDULES
            frozen_at = everything - moments.randrange(10, SCHEDULES)
            wait_until(partial(_answered, engine, frozen_at), "some times are answered for", 60)
            killed = running[number % 2]
            killed.freeze()  # it may hold one schedule; the other process fires the rest
            wait_until(partial(_answered, engine, everything - 1), "all others are", 60)
            in_the_middle += _answered_for(engine) < everything
            killed.kill()
            killed.start()
            wait_until(partial(_answered, engine, everything), "all times are answered for", 60)
        assert [keeper.process.poll() for keeper in running] == [None, None]
    assert in_the_middle
    _check_rows(engine)


def _check_rows(engine: Engine) -> None:
    """Check that each due time has one outcome, and one scan if it fired."""
    assert value(engine, "SELECT bool_and(next_at > now()) FROM schedules")
    assert tuples(engine, "SELECT schedule_id, due_at FROM wanted ORDER BY 1, 2") == tuples(
        engine, "SELECT schedule_id, due_at FROM schedule_runs ORDER BY 1, 2"
    )
    (fired, skipped) = tuples(engine, SCANS_OF_A_TIME)
    assert (fired[:2], skipped[:2]) == (("fired", True), ("skipped", None))
    assert fired[2] + skipped[2] == KILLS * SCHEDULES
    assert value(engine, "SELECT count(*) FROM ledger.scans") == fired[2] > SCHEDULES
