"""Closed, full or broken streams: one error line each, without a traceback."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from fakesweep.exits import Exit

MODELS = "models list"
HELP = "results --help"
SCAN = "scan -"
SECRET = "webhook add told https://hooks.example/ --secret-file -"
NO_HOME = "status"


def said(words: str, redirected: str, folder: Path) -> tuple[int, str, str]:
    """Run the command with a shell's redirections; return its exit status and output."""
    line = f"{shlex.quote(sys.executable)} -P -m fakesweep {words} {redirected}"
    done = subprocess.run(
        ["/bin/sh", "-c", line],
        check=False,
        capture_output=True,
        text=True,
        env={"FAKESWEEP_HOME": str(folder / "home"), "HOME": str(folder)},
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("words", [MODELS, HELP])
@pytest.mark.parametrize(
    ("redirected", "why"),
    [
        (">&-", "Bad file descriptor"),
        ("</dev/null >/dev/full", "No space left on device"),
        ("<&- >&-", "Bad file descriptor"),
    ],
)
def test_output_that_cannot_be_written_is_told_in_one_line(
    words: str, redirected: str, why: str, tmp_path: Path
) -> None:
    complaint = f"fakesweep: standard output cannot be written: {why}\n"
    assert said(words, redirected, tmp_path) == (Exit.FAILED, "", complaint)


@pytest.mark.parametrize("words", [SCAN, SECRET])
def test_input_that_is_closed_is_told_in_one_line(words: str, tmp_path: Path) -> None:
    status, written, complaint = said(words, "<&-", tmp_path)
    assert (status, written) == (Exit.FAILED, "")
    assert complaint.startswith("fakesweep: standard input is closed")
    assert complaint.count("\n") == 1
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("redirected", ["2>&-", "2>/dev/full", "<&- 2>&-"])
def test_errors_that_cannot_be_written_stop_nothing(redirected: str, tmp_path: Path) -> None:
    status, written, _ = said(MODELS, redirected, tmp_path)
    assert status == Exit.DONE
    assert "vit-tiny-cifake" in written
    assert said(NO_HOME, redirected, tmp_path)[0] == Exit.FAILED


def test_nothing_is_said_where_every_stream_is_closed(tmp_path: Path) -> None:
    assert said(MODELS, "<&- >&- 2>&-", tmp_path) == (Exit.FAILED, "", "")


def test_a_reader_that_leaves_ends_it_silently(tmp_path: Path) -> None:
    status, _, complaint = said(MODELS, "| true", tmp_path)
    assert (status, complaint) == (Exit.DONE, "")
