import os
import subprocess
import sys

import click
import pytest

from fakesweep import cli
from fakesweep.exits import Exit
from fakesweep.schema.errors import SourceError

HEAVY = {
    "alembic",
    "boto3",
    "botocore",
    "celery",
    "kombu",
    "numpy",
    "PIL",
    "psycopg2",
    "pydantic",
    "pydantic_settings",
    "redis",
    "rich",
    "sqlalchemy",
    "structlog",
    "torch",
    "transformers",
    "urllib3",
}

ALL_HELP = f"""
import sys
from fakesweep.cli import run
from fakesweep.examples import EXAMPLES  # the path of every command, as another test holds

for path in EXAMPLES:
    assert run([*path.split(), "--help"]) == 0
    if heavy := {HEAVY!r} & sys.modules.keys():
        sys.exit(f"fakesweep {{path}} --help imports {{', '.join(heavy)}}")
"""


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--help"]) == Exit.DONE
    listed = capsys.readouterr().out.partition("Commands:")[2]
    assert [line.split()[0] for line in listed.strip().splitlines()] == list(cli.COMMANDS)


def test_every_help_is_whole_and_imports_no_heavy_library() -> None:
    command = [sys.executable, "-c", ALL_HELP]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr.strip()) == (0, "")
    assert "--real-below" in done.stdout
    assert "\\b" not in done.stdout, "click's mark for lines that stay is read, not shown"
    cut_off = [line for line in done.stdout.splitlines() if line.endswith("...")]
    assert not [line for line in cut_off if not line.startswith("Usage:")]


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_the_list_of_commands_has_the_first_sentence_of_each_help(name: str) -> None:
    command = cli.cli.get_command(click.Context(cli.cli), name)
    assert command is not None
    assert command.get_short_help_str(limit=100) == cli.COMMANDS[name][1]


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_each_command_has_help_for_every_option(name: str) -> None:
    command = cli.cli.get_command(click.Context(cli.cli), name)
    assert command is not None
    for parameter in command.params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            assert parameter.help, f"{name} {parameter.name}"


def test_an_unknown_command_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["scna"]) == Exit.USAGE
    assert "No such command 'scna'" in capsys.readouterr().err


def test_a_missing_argument_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["scan"]) == Exit.USAGE
    assert "SOURCE" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--include", "--exclude"])
@pytest.mark.parametrize("pattern", ["", "a\udcff*"])
def test_a_pattern_that_no_name_can_match_is_wrong_usage(
    option: str, pattern: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["scan", ".", option, pattern]) == Exit.USAGE
    assert option in capsys.readouterr().err


@pytest.mark.parametrize("name", ["", " ", "a\nb", "a" * 101])
def test_an_invisible_name_is_wrong_usage(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["scan", ".", "--name", name]) == Exit.USAGE
    assert "is no name of a scan" in " ".join(capsys.readouterr().err.split())


def test_an_argument_that_is_no_text_is_wrong_usage(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(*_words: object, **_options: object) -> None:
        "\udcff".encode()

    monkeypatch.setattr(cli.cli, "main", asked)
    assert cli.run(["policy", "show", "a\udcffb"]) == Exit.USAGE
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "is no text in UTF-8" in said
    assert cli.run(["policy", "show", "a"]) == Exit.FAILED


def test_a_text_that_is_no_uri_cannot_be_run_again(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["retry", "7", "--code", "not_found", "--code", "invalid_uri"]) == Exit.FAILED
    said = capsys.readouterr().err
    assert said.startswith("fakesweep: images that failed as invalid_uri cannot be run again")
    assert "correct the source and scan it again" in said


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> dict[str, BaseException]:
    """A command `fail` that raises the exception under the key `raise`."""
    raised: dict[str, BaseException] = {"raise": RuntimeError("nothing was put here")}

    @click.command()
    def fail() -> None:
        raise raised["raise"]

    monkeypatch.setattr(sys.modules[__name__], "fail", fail, raising=False)
    monkeypatch.setitem(cli.COMMANDS, "fail", (f"{__name__}:fail", "Fail."))
    return raised


def test_an_error_of_ours_is_one_line(
    failing: dict[str, BaseException], capsys: pytest.CaptureFixture[str]
) -> None:
    failing["raise"] = SourceError("folder '/x' does not exist")
    assert cli.run(["fail"]) == Exit.FAILED
    assert capsys.readouterr().err == "fakesweep: folder '/x' does not exist\n"


def test_an_unexpected_error_is_one_line_that_names_debug(
    failing: dict[str, BaseException], capsys: pytest.CaptureFixture[str]
) -> None:
    failing["raise"] = ValueError("first\nsecond")
    assert cli.run(["fail"]) == Exit.FAILED
    assert capsys.readouterr().err == (
        "fakesweep: unexpected ValueError: first second; run again with `fakesweep --debug …`\n"
    )


def test_an_error_message_cannot_move_the_terminals_cursor(
    failing: dict[str, BaseException], capsys: pytest.CaptureFixture[str]
) -> None:
    failing["raise"] = SourceError("s3://b/\x1b[2J does not exist")
    cli.run(["fail"])
    assert capsys.readouterr().err == "fakesweep: s3://b/\\x1b[2J does not exist\n"


def test_debug_shows_the_traceback(
    failing: dict[str, BaseException], capsys: pytest.CaptureFixture[str]
) -> None:
    failing["raise"] = SourceError("folder '/x' does not exist")
    assert cli.run(["--debug", "fail"]) == Exit.FAILED
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_an_interruption_says_nothing(
    failing: dict[str, BaseException], capsys: pytest.CaptureFixture[str]
) -> None:
    failing["raise"] = KeyboardInterrupt()
    assert cli.run(["fail"]) == Exit.INTERRUPTED
    assert capsys.readouterr().err.strip() == ""


def test_a_closed_pipe_is_no_error_message() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as gone:
        command = [sys.executable, "-m", "fakesweep", "--help"]
        done = subprocess.run(command, check=False, stdout=gone, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (Exit.BROKEN_PIPE, "")
