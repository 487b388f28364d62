"""Changes of audits: standing failures, renamed images, and the command."""

import csv
import io
import json
from collections.abc import Callable

import pytest
from sqlalchemy import Engine

from fakesweep.cli import run as run_command
from fakesweep.exits import Exit
from fakesweep.schema.failures import FailureCode
from fakesweep.schema.ledger.scans.listing import Page, record_page
from fakesweep.schema.ledger.scans.source_parts import Part
from tests.integration.ledger.rows import (
    add_model,
    ask,
    claimed,
    end,
    failed,
    run,
    store,
    take,
    tuples,
)
from tests.integration.ledger.test_audits import URI, audited, counts, found, judge, record

STAND_DAYS = 30.0
Changes = Callable[..., str]


def failed_audit(engine: Engine, code: FailureCode) -> int:
    """Audit an archive of one image that fails."""
    scan_id = ask(engine, is_audit=True)
    record(engine, scan_id, [found("a")])
    end(engine, scan_id)
    [message] = take(engine)
    held = claimed(engine, message.batch_id)
    assert store(engine, held, [failed(message.images[0])])
    run(
        engine,
        "UPDATE ledger.outcomes SET failure_code = CAST(:code AS ledger.failure_code)",
        code=code.value,
    )
    return scan_id


def audit_again(engine: Engine, days: float, etag: str = "e1") -> tuple[int | None, ...]:
    scan_id = ask(engine, is_audit=True)
    page = Page([found("a", etag)], "a")
    with engine.begin() as connection:
        assert record_page(connection, scan_id, Part(0, 0, ""), page, 100, failures_stand_days=days)
    end(engine, scan_id)
    return counts(engine, scan_id)


@pytest.mark.parametrize("code", FailureCode)
def test_a_failure_about_the_bytes_stands_for_a_while_and_every_other_is_tried_again(
    engine: Engine, code: FailureCode
) -> None:
    add_model(engine)
    failed_audit(engine, code)
    stands = code.is_about_bytes
    assert audit_again(engine, STAND_DAYS) == (int(stands), 0, 0, int(not stands), 0)


def test_a_failure_stands_no_longer_than_stated_and_not_when_the_object_changes(
    engine: Engine,
) -> None:
    add_model(engine)
    failed_audit(engine, FailureCode.CORRUPT)
    assert audit_again(engine, 0) == (0, 0, 0, 1, 0)


@pytest.mark.parametrize(
    ("age_days", "etag", "expected"),
    [(29, "e1", (1, 0, 0, 0, 0)), (31, "e1", (0, 0, 0, 1, 0)), (1, "e2", (0, 0, 1, 0, 0))],
)
def test_a_failure_stands_by_its_age_and_its_object(
    engine: Engine, age_days: int, etag: str, expected: tuple[int, ...]
) -> None:
    add_model(engine)
    failed_audit(engine, FailureCode.CORRUPT)
    ago = f"UPDATE ledger.outcomes SET finished_at = now() - interval '{age_days} days'"
    run(engine, ago)
    assert audit_again(engine, STAND_DAYS, etag) == expected
    assert audit_again(engine, STAND_DAYS, etag)[0] == expected[0]


def moved(engine: Engine) -> int:
    """Audit an archive where `a` became `z`, two copies moved, one vanished and one is new."""
    model = add_model(engine)
    before = [found(name) for name in ("a", "b", "c1", "c2", "kept")]
    audited(engine, before, model, c1="copy", c2="copy")
    after = [found(name) for name in ("d1", "d2", "fresh", "kept", "z")]
    scan_id, _ = audited(engine, after, model, z=URI.format("a"), d1="copy", d2="copy")
    return scan_id


def told(engine: Engine, scan_id: int) -> set[tuple[str, str, str | None]]:
    rows = tuples(
        engine, "SELECT change, uri, former_uri FROM audit_changes WHERE scan_id = :id", id=scan_id
    )
    return {(change, _name(uri), former and _name(former)) for change, uri, former in rows}


def _name(uri: str) -> str:
    return uri.rpartition("/")[2].removesuffix(".jpg")


def test_the_same_bytes_under_another_name_are_renamed_one_for_one(engine: Engine) -> None:
    scan_id = moved(engine)
    assert told(engine, scan_id) == {
        ("renamed", "z", "a"),
        ("renamed", "d1", "c1"),
        ("renamed", "d2", "c2"),
        ("new", "fresh", None),
        ("vanished", "b", None),
    }
    assert counts(engine, scan_id) == (1, 4, 0, 0, 4)


def test_an_image_without_a_verdict_is_new(engine: Engine) -> None:
    model = add_model(engine)
    audited(engine, [found("a"), found("k")], model)
    scan_id = ask(engine, is_audit=True)
    record(engine, scan_id, [found("k"), found("z")])
    end(engine, scan_id)
    assert told(engine, scan_id) == {("new", "z", None), ("vanished", "a", None)}
    judge(engine, take(engine), {URI.format("z"): URI.format("a")}, model)
    assert told(engine, scan_id) == {("renamed", "z", "a")}


@pytest.fixture
def changes(
    database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Changes:
    """Run `fakesweep changes …`; return its output."""
    monkeypatch.setenv("FAKESWEEP_DATABASE_URL", database_url)

    def call(*words: str, status: Exit = Exit.DONE) -> str:
        assert run_command(["changes", *words]) == status
        said = capsys.readouterr()
        return said.out if status == Exit.DONE else said.err

    return call


def test_the_command_tells_them_to_people_and_programs(engine: Engine, changes: Changes) -> None:
    scan_id = moved(engine)
    table = changes("last").splitlines()
    assert table[0].split() == ["change", "image", "before"]
    assert ["renamed", URI.format("z"), URI.format("a")] in [line.split() for line in table]
    assert table[-1] == f"scan {scan_id}: new 1, changed 0, renamed 3, again 0, vanished 1"

    said = json.loads(changes(str(scan_id), "--json"))
    assert said["scan_id"] == scan_id
    assert said["counts"] == {"new": 1, "changed": 0, "renamed": 3, "again": 0, "vanished": 1}
    lines = [json.loads(line) for line in changes("last", "--format", "jsonl").splitlines()]
    assert lines == said["changes"]
    rows = list(csv.DictReader(io.StringIO(changes("last", "--format", "csv"))))
    assert [row["uri"] for row in rows] == [line["uri"] for line in lines]
    only = changes("last", "--change", "vanished", "--change", "new", "--format", "jsonl")
    assert {json.loads(line)["change"] for line in only.splitlines()} == {"vanished", "new"}


def test_a_scan_that_compared_nothing_is_refused(engine: Engine, changes: Changes) -> None:
    scan_id = ask(engine)
    assert "is no audit" in changes(str(scan_id), status=Exit.FAILED)
    assert "there is no scan" in changes("99", status=Exit.FAILED)


def test_each_failure_is_about_the_bytes_or_about_something_that_passes() -> None:
    assert {code for code in FailureCode if not code.is_about_bytes} == {
        FailureCode.INVALID_URI,
        FailureCode.NOT_FOUND,
        FailureCode.ACCESS_DENIED,
        FailureCode.TIMED_OUT,
        FailureCode.UNAVAILABLE,
        FailureCode.KILLED_LOADER,
        FailureCode.MODEL_UNAVAILABLE,
        FailureCode.MODEL_FAILED,
    }
