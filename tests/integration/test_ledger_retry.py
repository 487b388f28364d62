"""Transactions on a real PostgreSQL with conflicts, refusals, full pools, or outages."""

import itertools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
import structlog
from sqlalchemy import Connection, Engine, create_engine, make_url, text
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError

from fakesweep.schema.ledger import retry as retry_module
from fakesweep.schema.ledger.connection import open_engine
from fakesweep.schema.ledger.retry import LedgerRetry
from tests.support.servers import wait_until

Lines = list[Any]
Begin = Callable[[LedgerRetry, Callable[[Connection], Any]], Future[Any]]
_numbers = itertools.count(1)


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lines]:
    """Log lines, with short backoff."""
    monkeypatch.setattr(retry_module, "LONGEST_PAUSE_SECONDS", 0.2)
    with structlog.testing.capture_logs() as captured:
        yield captured


@pytest.fixture
def _lines_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry_module, "FIRST_LINE_SECONDS", 0.5)


@pytest.fixture
def begin() -> Iterator[Begin]:
    """Run transactions in threads, which end with the test."""
    stop = threading.Event()
    with ThreadPoolExecutor(16) as threads:
        yield lambda ledger_retry, work: threads.submit(ledger_retry.run, work, stop)
        stop.set()


@pytest.fixture
def shelf(engine: Engine) -> Engine:
    """Database with a table of two rows beside the ledger."""
    _run(engine, "CREATE TABLE shelf (place integer PRIMARY KEY, books integer NOT NULL)")
    _run(engine, "INSERT INTO shelf VALUES (1, 0), (2, 0)")
    return engine


@pytest.fixture
def role(shelf: Engine) -> Iterator[str]:
    """Role with the right to log in only; roles belong to the whole server."""
    name = f"retry_{next(_numbers)}"
    _run(shelf, f"CREATE ROLE {name} LOGIN")
    yield name
    _run(shelf, f"DROP OWNED BY {name}; DROP ROLE {name}")


@contextmanager
def _as_role(database_url: str, role: str, connections: int = 1) -> Iterator[Engine]:
    url = make_url(database_url).set(username=role).render_as_string(hide_password=False)
    engine = open_engine(url, "tests", pool_size=connections)
    yield engine
    engine.dispose()


def _run(engine: Engine, sql: str) -> None:
    with engine.begin() as connection:
        connection.execute(text(sql))


def _add_book(connection: Connection) -> int:
    added = text("UPDATE shelf SET books = books + 1 WHERE place = 1 RETURNING books")
    return int(connection.execute(added).scalar_one())


def _books(engine: Engine) -> list[int]:
    with engine.connect() as connection:
        return list(connection.execute(text("SELECT books FROM shelf ORDER BY place")).scalars())


def _events(lines: Lines) -> list[str]:
    return [line["event"] for line in lines]


def _await_away(lines: Lines, *, at_least: int = 1) -> None:
    wait_until(lambda: _events(lines).count("ledger_away") >= at_least, f"it is away: {lines}", 15)


def test_of_two_transactions_in_a_deadlock_both_end_well(
    shelf: Engine, begin: Begin, lines: Lines
) -> None:
    ledger_retry, both_hold_one = LedgerRetry(shelf), threading.Barrier(2)
    attempts: list[int] = []

    def add_to_both(connection: Connection, places: tuple[int, int]) -> None:
        connection.execute(text("SET LOCAL deadlock_timeout = '20ms'"))
        for place in places:
            added = text("UPDATE shelf SET books = books + 1 WHERE place = :place")
            connection.execute(added, {"place": place})
            attempts.append(place)
            if len(attempts) <= 2:
                both_hold_one.wait(10)

    crossing = [begin(ledger_retry, partial(add_to_both, places=way)) for way in ((1, 2), (2, 1))]
    for one in crossing:
        one.result(20)
    assert _books(shelf) == [2, 2]
    assert set(_events(lines)) == {"transaction_conflicted"}
    assert ledger_retry.away_since is None


@pytest.mark.usefixtures("shelf")
def test_a_full_pool_of_connections_is_waited_out(
    database_url: str, begin: Begin, lines: Lines
) -> None:
    url = make_url(database_url).set(drivername="postgresql+psycopg2")
    narrow = create_engine(url, pool_size=1, max_overflow=0, pool_timeout=0.05)
    ledger_retry = LedgerRetry(narrow)
    with narrow.connect():
        waiting = begin(ledger_retry, _add_book)
        _await_away(lines)
        assert not waiting.done()
    assert waiting.result(10) == 1
    narrow.dispose()
    assert lines[0]["reason"] == "every connection of this process is in use"
    assert _events(lines) == ["ledger_away", "ledger_back"]


def test_a_server_that_takes_no_more_connections_is_waited_out(
    shelf: Engine, database_url: str, role: str, begin: Begin, lines: Lines
) -> None:
    _run(shelf, f"GRANT ALL ON shelf TO {role}; ALTER ROLE {role} CONNECTION LIMIT 0")
    with _as_role(database_url, role) as engine:
        waiting = begin(LedgerRetry(engine), _add_book)
        _await_away(lines)
        assert "too many connections" in lines[0]["reason"]
        _run(shelf, f"ALTER ROLE {role} CONNECTION LIMIT -1")
        assert waiting.result(10) == 1
    assert _events(lines) == ["ledger_away", "ledger_back"]


def test_rights_that_are_missing_are_waited_for(
    shelf: Engine, database_url: str, role: str, begin: Begin, lines: Lines
) -> None:
    with _as_role(database_url, role) as engine:
        waiting = begin(LedgerRetry(engine), _add_book)
        _await_away(lines)
        assert lines[0]["reason"] == "permission denied for table shelf"
        _run(shelf, f"GRANT SELECT, UPDATE ON shelf TO {role}")
        assert waiting.result(10) == 1
    assert _books(shelf) == [1, 0]


def test_a_table_that_is_not_there_yet_is_waited_for(
    shelf: Engine, begin: Begin, lines: Lines
) -> None:
    _run(shelf, "ALTER TABLE shelf RENAME TO another")
    waiting = begin(LedgerRetry(shelf), _add_book)
    _await_away(lines)
    _run(shelf, "ALTER TABLE another RENAME TO shelf")
    assert waiting.result(10) == 1


def test_a_read_only_database_is_waited_out(
    shelf: Engine, database_url: str, role: str, begin: Begin, lines: Lines
) -> None:
    _run(shelf, f"GRANT ALL ON shelf TO {role}")
    _run(shelf, f"ALTER ROLE {role} SET default_transaction_read_only = on")
    with _as_role(database_url, role) as engine:
        waiting = begin(LedgerRetry(engine), _add_book)
        _await_away(lines)
        assert "read-only transaction" in lines[0]["reason"]
        _run(shelf, f"ALTER ROLE {role} RESET default_transaction_read_only")
        assert waiting.result(10) == 1
    assert _books(shelf) == [1, 0]


@pytest.mark.parametrize(
    ("sql", "error"),
    [
        ("SELECT 1 / 0", DataError),
        ("INSERT INTO shelf VALUES (1, 0)", IntegrityError),
        ("INSERT INTO shelf VALUES (3, NULL)", IntegrityError),
        ("SELECT 'x'::integer", DataError),
    ],
)
def test_what_no_waiting_mends_is_raised_at_once(
    shelf: Engine, lines: Lines, sql: str, error: type[DBAPIError]
) -> None:
    attempts: list[str] = []

    def work(connection: Connection) -> None:
        attempts.append(sql)
        connection.execute(text(sql))

    with pytest.raises(error):
        LedgerRetry(shelf).run(work)
    assert len(attempts) == 1
    assert lines == []


def test_an_error_of_the_work_itself_is_raised_at_once_and_nothing_is_written(
    shelf: Engine, lines: Lines
) -> None:
    def work(connection: Connection) -> None:
        _add_book(connection)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        LedgerRetry(shelf).run(work)
    assert _books(shelf) == [0, 0]
    assert lines == []


@pytest.mark.usefixtures("shelf")
def test_who_is_told_to_stop_waits_no_longer(database_url: str, role: str, lines: Lines) -> None:
    stop = threading.Event()
    with _as_role(database_url, role) as engine, ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(LedgerRetry(engine).run, _add_book, stop)
        try:
            _await_away(lines)
        finally:
            stop.set()
        with pytest.raises(DBAPIError, match="permission denied"):
            waiting.result(10)
    assert _events(lines) == ["ledger_away"]


@pytest.mark.usefixtures("_lines_soon")
def test_many_threads_wait_out_one_outage_under_one_line_for_each_step(
    shelf: Engine, database_url: str, role: str, begin: Begin, lines: Lines
) -> None:
    _run(shelf, f"GRANT ALL ON shelf TO {role}; ALTER ROLE {role} CONNECTION LIMIT 0")
    with _as_role(database_url, role, connections=16) as engine:
        ledger_retry = LedgerRetry(engine)
        waiting = [begin(ledger_retry, _add_book) for _ in range(16)]
        _await_away(lines, at_least=4)
        assert ledger_retry.away_since is not None
        steps = [line["seconds"] for line in lines]
        assert steps == [pytest.approx(step, abs=0.4) for step in (0.0, 0.5, 1.0, 2.0)]
        _run(shelf, f"ALTER ROLE {role} CONNECTION LIMIT -1")
        assert sorted(one.result(10) for one in waiting) == list(range(1, 17))
    assert _events(lines)[4:] == ["ledger_back"]
    assert ledger_retry.away_since is None


def test_what_succeeds_beside_a_transaction_that_waits_does_not_fill_the_log(
    shelf: Engine, database_url: str, role: str, begin: Begin, lines: Lines
) -> None:
    attempts: list[int] = []

    def add(connection: Connection) -> int:
        attempts.append(1)
        return _add_book(connection)

    _run(shelf, f"GRANT SELECT ON shelf TO {role}")
    with _as_role(database_url, role, connections=2) as engine:
        ledger_retry = LedgerRetry(engine)
        waiting = begin(ledger_retry, add)
        _await_away(lines)
        since = ledger_retry.away_since
        while len(attempts) < 6:
            ledger_retry.run(lambda connection: connection.execute(text("SELECT FROM shelf")).all())
        assert _events(lines) == ["ledger_away"]
        assert ledger_retry.away_since == since
        _run(shelf, f"GRANT UPDATE ON shelf TO {role}")
        assert waiting.result(10) == 1
    assert _events(lines) == ["ledger_away", "ledger_back"]
