"""`fakesweep schedule` on a real ledger, without a process for each command."""

import json
import logging
import shlex
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import structlog
from sqlalchemy import Engine

from fakesweep import cli
from fakesweep.exits import Exit
from tests.integration.ledger.rows import run
from tests.support.photographs import folder_of_photographs

WEEKLY = "--cron '0 3 * * 1' --timezone Europe/Berlin --model vit-tiny-cifake"

Command = Callable[..., str]


@pytest.fixture
def command(
    database_url: str,
    broker_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Command]:
    """Run `fakesweep schedule`; return its output, or its error line."""
    monkeypatch.setenv("FAKESWEEP_DATABASE_URL", database_url)
    monkeypatch.setenv("FAKESWEEP_BROKER_URL", broker_url)
    before = (logging.root.handlers, logging.root.level)

    def ran(words: str, wanted: Exit = Exit.FAILED) -> str:
        status = cli.run(["schedule", *shlex.split(words)])
        said = capsys.readouterr()
        if status == Exit.DONE:
            return said.out
        assert (status, said.out) == (wanted, "")
        *_, line = said.err.splitlines()
        assert line.startswith("Error: " if wanted == Exit.USAGE else "fakesweep: ")
        assert "unexpected" not in line
        return line

    yield ran
    logging.root.handlers, logging.root.level = before
    structlog.reset_defaults()


@pytest.fixture
def folder(tmp_path: Path) -> str:
    return str(folder_of_photographs(tmp_path / "in", 1))


def _show(command: Command, name: str) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(command(f"show --json {name}"))
    return said


def test_a_schedule_is_added_and_says_when_it_is_due(command: Command, folder: str) -> None:
    added = command(f"add weekly {folder} {WEEKLY}")
    said = _show(command, "weekly")
    next_at = datetime.fromisoformat(said["next_at"])
    local = next_at.astimezone(ZoneInfo("Europe/Berlin"))
    assert next_at > datetime.now(UTC)
    assert (local.isoweekday(), local.hour, local.minute) == (1, 3, 0)
    assert added == (
        f"schedule weekly is added; it is due next on Mon {local:%Y-%m-%d} 03:00 Europe/Berlin "
        f"({next_at:%Y-%m-%d %H:%M:%S} UTC)\n"
    )
    assert (said["state"], said["is_full"], said["runs"]) == ("active", False, [])


def test_a_schedule_shows_all_that_was_asked_for(command: Command, folder: str) -> None:
    said = json.loads(
        command(
            f"add all {folder} s3://photos/ --no-check {WEEKLY} --policy card --lane live --full "
            f"--include '*.jpg' --include '*.png' --exclude '*/thumbs/*' --since 8d --min-size 1K "
            f"--max-size 5M --versions --json"
        )
    )
    assert said == _show(command, "all")
    assert (said["sources"], said["models"]) == ([folder, "s3://photos/"], ["vit-tiny-cifake"])
    assert (said["policy"], said["lane"], said["is_full"]) == ("card", "live", True)
    assert said["selection"] == {
        "include": ["*.jpg", "*.png"], "exclude": ["*/thumbs/*"], "since": "8d",
        "min_bytes": 1024, "max_bytes": 5 * 1024**2, "versions": True,
    }  # fmt: skip
    page = command("show all").splitlines()
    for line in (
        "schedule   all, active",
        "judges     every image",
        "only       include *.png",
        "only       min_bytes 1024",
        "only       versions",
        "due        0 3 * * 1 in Europe/Berlin",
    ):
        assert line in page
    listed = json.loads(command("list --json"))["schedules"]
    assert [one["name"] for one in listed] == ["all"]
    assert command("list").splitlines()[1].split()[:2] == ["all", "active"]


def test_a_schedule_is_paused_resumed_and_removed(command: Command, folder: str) -> None:
    command(f"add 'every week' {folder} {WEEKLY}")
    assert command("pause 'every week'").splitlines() == [
        "schedule every week is paused",
        "go on with it: fakesweep schedule resume 'every week'",
    ]
    assert "was already paused" in command("pause 'every week'")
    assert json.loads(command("pause 'every week' --json"))["state"] == "paused"
    assert _show(command, "'every week'")["next_at"] is None
    assert "schedule every week goes on; it is due next on Mon" in command("resume 'every week'")
    assert "was not paused; it is due next on Mon" in command("resume 'every week'")
    assert command("remove 'every week'") == "schedule every week is removed\n"
    assert json.loads(command("list --json")) == {"schedules": []}
    for word in ("show", "pause", "resume", "remove", "run-now"):
        assert "there is no schedule 'every week'; `fakesweep schedule list` shows" in command(
            f"{word} 'every week'"
        )


def test_a_schedule_is_run_by_hand_and_not_twice_at_once(
    command: Command, engine: Engine, folder: str
) -> None:
    command(f"add nightly {folder} {WEEKLY}")
    asked = json.loads(command("run-now --json nightly"))
    assert (asked["scan_id"], asked["name"], asked["state"]) == (1, "nightly", "listing")
    assert "scan 1 of schedule 'nightly' is not finished; wait for its end" in command(
        "run-now nightly"
    )
    run(engine, "UPDATE ledger.scans SET cancelled_at = now()")
    assert "scan 2 listing" in command("run-now nightly")
    by_hand = [(one["outcome"], one["by_hand"], one["scan_id"]) for one in
               _show(command, "nightly")["runs"]]  # fmt: skip
    assert by_hand == [("fired", True, 2), ("fired", True, 1)]
    assert "fired by hand" in command("show nightly").splitlines()[-1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("-", "standard input cannot be read by the clock"),
        ("/nowhere", "/nowhere does not exist"),
        ("s3://photos/ --no-check --min-size 2 --max-size 1", "no image has at least 2"),
        ("s3://photos/ --no-check --model vit-tiny-cifar", "did you mean vit-tiny-cifake"),
        ("s3://photos/ --no-check --policy gone", "policy 'gone' is not known"),
    ],
)
def test_a_schedule_that_makes_no_sense_is_refused_in_one_line(
    command: Command, words: str, said: str
) -> None:
    assert said in command(f"add wrong {WEEKLY} {words}")
    assert json.loads(command("list --json")) == {"schedules": []}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--cron '0 25 * * *'", "bad hour"),
        ("--timezone Europe/Berlim", "did you mean Europe/Berlin?"),
        ("--min-size large", "'large' is no size"),
    ],
)
def test_an_option_that_makes_no_sense_is_wrong_usage(
    command: Command, words: str, said: str
) -> None:
    assert said in command(f"add wrong {WEEKLY} s3://photos/ --no-check {words}", Exit.USAGE)
    assert json.loads(command("list --json")) == {"schedules": []}
