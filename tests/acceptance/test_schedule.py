"""Schedules on a cluster with running producers, and on the local stack."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import Connection, text

from fakesweep.schema.ledger.connection import open_engine
from fakesweep.schema.ledger.reports.progress import Progress, progress
from tests.acceptance.command import Command
from tests.acceptance.conftest import Photographs
from tests.support.servers import wait_until

NEWEST = text("SELECT last_scan_id FROM schedules WHERE name = 'clock'")
WEEKLY = ("--cron", "0 3 * * 1", "--timezone", "Europe/Berlin", "--model", "vit-tiny-cifake")


@pytest.fixture
def ledger(cluster: Command) -> Iterator[Connection]:
    engine = open_engine(cluster.settings["DATABASE_URL"], "tests")
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        yield connection
    engine.dispose()


def test_producers_start_a_due_scan_once_and_judge_changed_images(
    cluster: Command, ledger: Connection, photographs: Photographs
) -> None:
    folder = photographs(5)
    cluster.ok("schedule", "add", "clock", str(folder), *WEEKLY)
    with _producers(cluster):
        first = _fired(ledger)
        assert (first.state, first.submitted) == ("finished", 5)
        photographs(1, "more").joinpath("0000.jpg").rename(folder / "new.jpg")
        second = _fired(ledger)
        assert (second.submitted, second.new, second.unchanged) == (1, 1, 5)
        by_hand = json.loads(cluster.ok("schedule", "run-now", "--json", "clock"))["scan_id"]
        third = _ended(ledger, by_hand)
    assert (third.submitted, third.unchanged) == (0, 6)
    said = json.loads(cluster.ok("schedule", "show", "--json", "clock"))
    assert [(run["outcome"], run["by_hand"]) for run in said["runs"]] == [
        ("fired", True), ("fired", False), ("fired", False),
    ]  # fmt: skip
    ledger.execute(text("UPDATE ledger.schedules SET removed_at = now() WHERE name = 'clock'"))


def test_a_schedule_on_the_local_stack_says_what_has_to_run(
    local: Command, photographs: Photographs
) -> None:
    said = local.ok("schedule", "add", "here", str(photographs(1)), *WEEKLY)
    assert said.splitlines()[1].startswith("its scans start only while this runs: ")
    local.ok("schedule", "remove", "here")


def _fired(ledger: Connection) -> Progress:
    """Make the schedule due, and return its scan once that has ended."""
    before = ledger.execute(NEWEST).scalar_one()
    ledger.execute(text("UPDATE ledger.schedules SET next_at = now() WHERE name = 'clock'"))
    wait_until(
        lambda: ledger.execute(NEWEST).scalar_one() not in (None, before), "it makes a scan", 60
    )
    return _ended(ledger, ledger.execute(NEWEST).scalar_one())


def _ended(ledger: Connection, scan_id: int) -> Progress:
    wait_until(lambda: progress(ledger, scan_id).state == "finished", "the scan ends", 60)
    return progress(ledger, scan_id)


@contextmanager
def _producers(cluster: Command) -> Iterator[None]:
    """Run two producers."""
    running = [cluster.start("producer") for _ in range(2)]
    try:
        yield
    finally:
        for producer in running:
            producer.terminate()
        for producer in running:
            _, errors = producer.communicate(timeout=60)
            assert producer.returncode == 0, errors
