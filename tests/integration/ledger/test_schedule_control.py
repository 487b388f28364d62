"""Control of schedules: add, pause, resume, remove and run by hand."""

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, make_url

from fakesweep.producer.resources import Producer
from fakesweep.producer.schedules.firing import fire_due, resume, run_now
from fakesweep.schema.errors import CatalogueError, FakesweepError, ScheduleError, SourceError
from fakesweep.schema.ledger.connection import open_engine
from fakesweep.schema.ledger.schedules.reports import runs_of, schedule_report, schedule_reports
from fakesweep.schema.ledger.schedules.schedules import pause_schedule, remove_schedule
from fakesweep.schema.selection import Selection
from tests.integration.ledger.rows import run, tuples, value
from tests.integration.ledger.schedule_rows import (
    MODEL,
    add,
    make_due,
    outcomes,
    producer_on,
    scans,
    steer_named,
)
from tests.support.photographs import folder_of_photographs


@pytest.fixture
def producer(engine: Engine) -> Producer:
    return producer_on(engine)


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder of the commands."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_paused_schedule_makes_nothing_and_makes_up_for_nothing(producer: Producer) -> None:
    engine = producer.engine
    add(producer)
    assert steer_named(engine, "nightly") is True
    assert steer_named(engine, "nightly") is False
    make_due(engine, "3 days")
    assert fire_due(producer) == 0
    assert tuples(engine, "SELECT state, next_at FROM schedules") == [("paused", None)]
    with engine.begin() as connection:
        next_at = resume(connection, "nightly")
        assert resume(connection, "nightly") is None
    assert next_at is not None
    assert fire_due(producer) == 0
    assert (scans(engine), outcomes(engine)) == (0, [])
    assert tuples(engine, "SELECT state, next_at, next_at > now() FROM schedules") == [
        ("active", next_at, True)
    ]


def test_a_removed_schedule_makes_nothing_and_keeps_its_history(producer: Producer) -> None:
    engine = producer.engine
    first = add(producer)
    make_due(engine)
    fire_due(producer)
    make_due(engine)
    with engine.begin() as connection:
        remove_schedule(connection, "nightly")
        assert schedule_reports(connection) == []
        with pytest.raises(ScheduleError, match="there is no schedule 'nightly'"):
            schedule_report(connection, "nightly")
    assert fire_due(producer) == 0
    second = add(producer)
    assert tuples(engine, "SELECT schedule_id, state FROM schedules ORDER BY 1") == [
        (first, "removed"), (second, "active"),
    ]  # fmt: skip
    assert tuples(engine, "SELECT schedule_id, schedule FROM schedule_runs") == [(first, "nightly")]


def test_a_scan_by_hand_is_made_at_once_and_leaves_the_next_time_alone(producer: Producer) -> None:
    engine = producer.engine
    add(producer)
    steer_named(engine, "nightly")
    before = value(engine, "SELECT next_at FROM ledger.schedules")
    with engine.begin() as connection:
        assert run_now(connection, producer, "nightly") == 1
    assert tuples(engine, "SELECT outcome, by_hand, scan_id FROM schedule_runs") == [
        ("fired", True, 1)
    ]
    assert value(engine, "SELECT next_at FROM ledger.schedules") == before
    with (
        engine.begin() as connection,
        pytest.raises(ScheduleError, match=r"scan 1 of schedule 'nightly' is not finished; wait"),
    ):
        run_now(connection, producer, "nightly")
    with engine.begin() as connection:
        resume(connection, "nightly")
    make_due(engine)
    assert fire_due(producer) == 0  # a scan by hand is not overlapped either
    assert outcomes(engine) == ["fired", "skipped"]


def test_scans_by_hand_at_one_moment_are_one(producer: Producer) -> None:
    add(producer)
    together = threading.Barrier(4)

    def ask(_: int) -> int | None:
        together.wait()
        try:
            with producer.engine.begin() as connection:
                return run_now(connection, producer, "nightly")
        except ScheduleError:
            return None

    with ThreadPoolExecutor(4) as threads:
        made = [scan for scan in threads.map(ask, range(4)) if scan is not None]
    assert len(made) == scans(producer.engine) == 1


def test_a_folder_stays_one_of_the_machine_on_which_it_was_scheduled(
    producer: Producer, in_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folder_of_photographs(in_folder / "in", 2)
    monkeypatch.setattr(socket, "gethostname", lambda: "archive-1")
    add(producer, sources=("in",), check_sources=True)
    monkeypatch.setattr(socket, "gethostname", lambda: "elsewhere")
    monkeypatch.chdir("/")
    make_due(producer.engine)
    assert fire_due(producer) == 1
    assert tuples(producer.engine, "SELECT source, hostname FROM ledger.scan_sources") == [
        (str(folder), "archive-1")
    ]


@pytest.mark.parametrize(
    ("changes", "refused", "said"),
    [
        ({"sources": ("-",)}, ScheduleError, "standard input cannot be read by the clock"),
        ({"sources": ("empty",)}, SourceError, "holds no image"),
        ({"sources": ("nowhere",)}, SourceError, "does not exist"),
        ({"models": ("gone",)}, CatalogueError, "model 'gone' is not known"),
        ({"policy": "gone"}, CatalogueError, "policy 'gone' is not known"),
        ({"name": " "}, ScheduleError, "is no name of a schedule"),
        ({"name": "a\nb"}, ScheduleError, "is no name of a schedule"),
        ({"name": "taken"}, ScheduleError, "there is a schedule 'taken' already"),
        ({"cron": "0 25 * * *"}, ScheduleError, "bad hour"),
        ({"timezone": "Mars/Olympus"}, ScheduleError, "time zone 'Mars/Olympus' is not known"),
        ({"selection": Selection(since="soon")}, SourceError, "neither a date"),
    ],
)
def test_an_invalid_schedule_is_refused_when_it_is_added(
    producer: Producer,
    in_folder: Path,
    changes: dict[str, Any],
    refused: type[FakesweepError],
    said: str,
) -> None:
    (in_folder / "empty").mkdir()
    wanted: dict[str, Any] = {"name": "new", "check_sources": True}
    wanted |= {"sources": (str(folder_of_photographs(in_folder / "in", 1)),)}
    add(producer, **(wanted | {"name": "taken"}))
    with pytest.raises(refused) as refusal:
        add(producer, **(wanted | changes))
    assert said in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert tuples(producer.engine, "SELECT name FROM schedules") == [("taken",)]


def test_a_schedule_is_shown_as_it_stands(producer: Producer) -> None:
    engine = producer.engine
    add(producer, selection=Selection(exclude=("*/thumbs/*",)))
    make_due(engine)
    fire_due(producer)
    make_due(engine)
    fire_due(producer)
    with engine.connect() as connection:
        (listed,) = schedule_reports(connection)
        found = schedule_report(connection, "nightly")
        newest, oldest = runs_of(connection, found.schedule_id, 10)
        assert runs_of(connection, found.schedule_id, 1) == [newest]
    assert listed == found
    assert (found.state, found.last_outcome, found.last_scan_id) == ("active", "skipped", 1)
    assert (found.sources, found.models, found.policy) == (
        ["s3://photos/2026/"],
        [MODEL],
        "default",
    )
    assert (found.selection, found.is_full) == ({"exclude": ["*/thumbs/*"]}, False)
    assert (newest.outcome, newest.due_at) == ("skipped", found.last_due_at)
    assert (oldest.outcome, oldest.scan_id) == ("fired", 1)


@pytest.fixture
def as_producer(database_url: str) -> Iterator[Engine]:
    """An engine with the producer's rights alone."""
    url = make_url(database_url).update_query_dict({"options": "-c role=fakesweep_producer"})
    engine = open_engine(url.render_as_string(hide_password=False), "tests")
    yield engine
    engine.dispose()


def test_a_producer_needs_the_rights_of_its_role_alone(as_producer: Engine, engine: Engine) -> None:
    producer = producer_on(as_producer)
    assert value(as_producer, "SELECT current_user") == "fakesweep_producer"
    add(producer, cron="* * * * *")
    run(
        engine, "UPDATE ledger.schedules SET next_at = date_trunc('minute', now() - interval '1 h')"
    )
    assert fire_due(producer) == 1
    make_due(engine)
    assert fire_due(producer) == 0
    run(as_producer, "UPDATE ledger.scans SET cancelled_at = now()")

    def steered(connection: Connection) -> None:
        assert run_now(connection, producer, "nightly") == 2
        assert pause_schedule(connection, "nightly")
        assert resume(connection, "nightly") is not None
        found = schedule_report(connection, "nightly")
        assert len(runs_of(connection, found.schedule_id, 100)) > 60
        remove_schedule(connection, "nightly")

    with as_producer.begin() as connection:
        steered(connection)
