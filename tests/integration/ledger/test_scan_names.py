"""A scan is found by number, by name, or as the last one."""

import pytest
from sqlalchemy import Engine

from fakesweep.schema.errors import ScanError
from fakesweep.schema.ledger.scans.names import MOST_NAME_CHARACTERS, check_name, find_scan
from tests.integration.ledger.rows import run


@pytest.fixture
def named(engine: Engine) -> Engine:
    """Scans 1 to 5: two with one name, one named by digits, one by `last`, one unnamed."""
    for name in ("nightly", "nightly", "1", "last", None):
        run(
            engine,
            "INSERT INTO ledger.scans (name, lane, policy_id, model_keys) "
            "VALUES (:name, 'bulk', 1, '{tiny}')",
            name=name,
        )
    return engine


def found(engine: Engine, said: str | int) -> int:
    with engine.connect() as connection:
        return find_scan(connection, said)


@pytest.mark.parametrize(
    ("said", "scan_id"),
    [("3", 3), (3, 3), ("nightly", 2), ("1", 1), ("last", 4), ("0003", 3)],
)
def test_numbers_go_before_names_and_of_one_name_the_newest_is_meant(
    named: Engine, said: str | int, scan_id: int
) -> None:
    assert found(named, said) == scan_id


def test_the_last_scan_is_the_newest_where_none_is_called_so(named: Engine) -> None:
    run(named, "UPDATE ledger.scans SET name = 'other' WHERE name = 'last'")
    assert found(named, "last") == 5


@pytest.mark.parametrize(
    "said", ["6", "99999999999999999999", "weekly", "", "\x00", "\udcff", "9" * 5_000, "٣", "-1"]
)
def test_a_scan_that_is_not_there_is_refused_in_one_line(named: Engine, said: str) -> None:
    with pytest.raises(ScanError, match=r"^there is no scan .*`fakesweep status` lists"):
        found(named, said)


def test_where_there_is_no_scan_at_all_it_is_said_how_to_ask_for_one(engine: Engine) -> None:
    with pytest.raises(ScanError, match="there is no scan yet; `fakesweep scan` asks for one"):
        found(engine, "last")


@pytest.mark.parametrize(
    "said", ["", "  ", "a\nb", "\x1b[31m", "\udcff", "\u202e", "a" * (MOST_NAME_CHARACTERS + 1)]
)
def test_an_invisible_or_unwritable_name_is_refused(said: str) -> None:
    with pytest.raises(ScanError, match="is no name of a scan"):
        check_name(said)


@pytest.mark.parametrize("said", ["nightly", "12", "last", "-x", "Jänner", "a" * 100])
def test_a_visible_name_is_accepted(said: str) -> None:
    check_name(said)
