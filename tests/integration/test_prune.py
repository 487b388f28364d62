"""`fakesweep prune` as a process: output, confirmation and kills."""

import json
import os
import pty
import subprocess
from collections.abc import Iterator
from signal import SIGKILL, SIGTERM

import pytest
from sqlalchemy import Engine, make_url

from fakesweep.schema.ledger.connection import open_engine
from tests.acceptance.command import Command, refusal
from tests.integration.ledger.retention import assert_whole, make_old, scans, uris
from tests.integration.ledger.rows import (
    add_model,
    ask,
    claimed,
    content_of,
    end,
    judged,
    record,
    run,
    scan,
    store,
    take,
    tuples,
    value,
)
from tests.support.servers import wait_until
from tests.support.users import drop_users

OLDER = ("--older-than", "365d")

GATES = {
    "before any image went": "SELECT FROM ledger.scans WHERE scan_id = 2 FOR UPDATE",
    "in the middle of the images": "SELECT FROM ledger.outcomes WHERE scan_id = 2 FOR UPDATE",
    "before the scan went": "SELECT FROM ledger.scan_sources WHERE scan_id = 2 FOR UPDATE",
    "before the contents went": "SELECT FROM ledger.contents FOR UPDATE",
}
"""Point at which the pruning is held, so that a kill hits it."""


@pytest.fixture
def command(database_url: str) -> Command:
    return Command({"DATABASE_URL": database_url})


@pytest.fixture
def three(engine: Engine) -> list[int]:
    """Three scans of two batches each, two of them old."""
    model = add_model(engine)
    made = [ask(engine) for _ in range(3)]
    for scan_id in made:
        for batch in range(2):
            record(engine, scan_id, [f"s3://photos/{scan_id}/{batch}/{n}" for n in range(3)])
        end(engine, scan_id)
    for message in take(engine):
        held = claimed(engine, message.batch_id)
        outcomes = [judged(held, one, content_of(one.uri), {model: 0.9}) for one in message.images]
        assert store(engine, held, outcomes)
    make_old(engine, *made[:2])
    return made


def _everything(engine: Engine) -> dict[str, list[tuple[object, ...]]]:
    tables = tuples(
        engine,
        "SELECT relname FROM pg_class WHERE relnamespace = 'ledger'::regnamespace "
        "AND relkind = 'r'",
    )
    return {
        name: tuples(engine, f"SELECT * FROM ledger.{name} ORDER BY 1, 2") for (name,) in tables
    }


def test_a_dry_run_shows_what_would_go_and_changes_nothing(
    engine: Engine, command: Command, three: list[int]
) -> None:
    before = _everything(engine)
    page = command.ok("prune", *OLDER, "--dry-run").splitlines()
    assert page[0].split() == ["scan", "name", "ended", "images", "to", "delete"]
    assert [line.split()[0] for line in page[1:3]] == ["1", "2"]
    assert page[-1].startswith("ended before ")
    assert page[-1].endswith(" UTC: scans 2, images to delete 12")
    said = json.loads(command.ok("prune", *OLDER, "--dry-run", "--json"))
    assert [(one["scan_id"], one["images"], one["to_forget"]) for one in said["scans"]] == [
        (1, 6, 6), (2, 6, 6),
    ]  # fmt: skip
    assert _everything(engine) == before
    assert scans(engine) == three


def test_without_a_terminal_it_demands_a_word(
    engine: Engine, command: Command, three: list[int]
) -> None:
    assert "say --yes" in refusal(command("prune", *OLDER))
    assert scans(engine) == three
    said = command.ok("prune", *OLDER, "--yes").splitlines()
    assert said[-1] == "deleted: images 12, verdicts 12, scans 2, contents 12"
    assert scans(engine) == three[2:]
    assert_whole(engine)
    again = json.loads(command.ok("prune", *OLDER, "--yes", "--json"))
    assert (again["forgotten"]["images"], again["is_whole"]) == (0, True)


@pytest.mark.parametrize(("answer", "left"), [("n", [1, 2, 3]), ("y", [3])])
def test_on_a_terminal_it_asks(
    engine: Engine, command: Command, three: list[int], answer: str, left: list[int]
) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command.line("prune", *OLDER), stdin=theirs, stdout=theirs, stderr=theirs,
        env=command.environment | {"TERM": "xterm"},
    )  # fmt: skip
    os.close(theirs)
    seen = b""
    while b"[y/N]" not in seen:
        seen += os.read(ours, 4_096)
    assert b"Delete 12 images of scans that ended before 20" in seen
    assert b" UTC, for good?" in seen
    os.write(ours, f"{answer}\n".encode())
    drained = iter(lambda: _rest(ours), b"")
    assert b"".join(drained)
    assert process.wait(30) == (0 if answer == "y" else 130)
    os.close(ours)
    assert scans(engine) == left
    assert three


def _rest(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4_096)
    except OSError:  # the other side is closed
        return b""


@pytest.mark.parametrize("gate", GATES)
def test_killed_anywhere_it_leaves_a_whole_ledger_and_goes_on_when_it_is_run_again(
    engine: Engine, command: Command, three: list[int], gate: str
) -> None:
    with engine.connect() as connection:
        connection.exec_driver_sql(GATES[gate])
        prune = command.start("prune", *OLDER, "--yes")
        wait_until(lambda: _waits(engine), "it waits at the gate")
        prune.send_signal(SIGKILL)
        prune.communicate()
    wait_until(lambda: not _waits(engine), "the server has noticed")
    assert_whole(engine)
    assert len([uri for uri in uris(engine) if uri.startswith("s3://photos/3/")]) == 6
    command.ok("prune", *OLDER, "--yes")
    assert_whole(engine)
    assert scans(engine) == three[2:]
    assert value(engine, "SELECT count(*) FROM ledger.contents") == 6


def test_a_stopped_pruning_ends_between_two_transactions_and_says_so(
    engine: Engine, command: Command, three: list[int]
) -> None:
    with engine.connect() as connection:
        connection.exec_driver_sql(GATES["in the middle of the images"])
        prune = command.start("prune", *OLDER, "--yes", "--json")
        wait_until(lambda: _waits(engine), "it waits at the gate")
        prune.send_signal(SIGTERM)
    out, _ = prune.communicate(timeout=30)
    said = json.loads(out)
    assert (prune.returncode, said["is_whole"]) == (130, False)
    assert said["forgotten"] == {"scans": 1, "images": 12, "verdicts": 12, "contents": 0}
    assert scans(engine) == three[1:]
    assert_whole(engine)


def test_a_chosen_scan_that_has_to_stay_is_refused_with_the_reason(
    engine: Engine, command: Command, three: list[int]
) -> None:
    line = refusal(command("prune", *OLDER, "--yes", "1", "3"))
    assert line == "fakesweep: scan 3 stays: it ended later than that"
    assert scans(engine) == three
    assert "there is no scan 9" in refusal(command("prune", *OLDER, "--yes", "9"))
    months = command("prune", "--older-than", "6m", "--yes")
    assert months.returncode == 2
    assert "write 6min or 6mo" in months.stderr
    assert scans(engine) == three


@pytest.fixture
def producer_url(database_url: str, engine: Engine) -> Iterator[str]:
    run(engine, "DROP USER IF EXISTS prune_user")
    run(engine, "CREATE USER prune_user PASSWORD 'x' IN ROLE fakesweep_producer")
    url = make_url(database_url).set(username="prune_user")
    yield url.render_as_string(hide_password=False)
    drop_users(engine, "prune_user")


def test_a_user_without_the_right_to_forget_is_told_who_has_it(
    engine: Engine, command: Command, three: list[int], producer_url: str
) -> None:
    line = refusal(command.where(DATABASE_URL=producer_url)("prune", *OLDER, "--yes"))
    assert line == (
        "fakesweep: this user may not forget, only the owner of the ledger's tables may: set "
        "FAKESWEEP_DATABASE_URL to the user that runs `fakesweep db upgrade`"
    )
    assert scans(engine) == three


def test_a_scan_beside_it_loses_nothing(
    engine: Engine, command: Command, three: list[int], database_url: str
) -> None:
    """Run scans of the same contents while the process deletes these contents."""
    model = add_model(engine)
    prune = command.start("prune", *OLDER, "--yes", "--json")
    own = open_engine(database_url, "tests")
    made: list[int] = []
    while prune.poll() is None or len(made) < 3:
        found = {f"s3://photos/{n}/0/0": {model: 0.9} for n in (1, 2, 3)}
        made.append(scan(own, found)[0])
    own.dispose()
    out, errors = prune.communicate()
    assert prune.returncode == 0, errors
    assert json.loads(out)["forgotten"]["images"] == 12
    assert_whole(engine)
    assert scans(engine) == [*three[2:], *made]


def _waits(engine: Engine) -> bool:
    return bool(value(engine, "SELECT count(*) FROM pg_locks WHERE NOT granted"))
