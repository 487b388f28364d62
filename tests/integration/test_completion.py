"""What the shell completes of a line: files, and names that the ledger and the catalogue know."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete
from sqlalchemy import Engine

from fakesweep.cli import cli, run
from fakesweep.exits import Exit
from fakesweep.schema.judging.policies import Policy
from fakesweep.schema.ledger.registry.policies import policy_id
from tests.integration.ledger.rows import ask, end
from tests.integration.ledger.rows import run as execute

Complete = Callable[..., list[tuple[str, str]]]


@pytest.fixture
def complete(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Complete:
    """What is offered for the last word of a line: its type and the word."""
    monkeypatch.setenv("FAKESWEEP_DATABASE_URL", database_url)

    def offered(*words: str) -> list[tuple[str, str]]:
        *before, begun = words
        found = ShellComplete(cli, {}, "fakesweep", "_FAKESWEEP_COMPLETE").get_completions(
            before, begun
        )
        return [(item.type, item.value) for item in found]

    return offered


@pytest.fixture
def scans(engine: Engine) -> None:
    for name in ("january", "two words", "february"):
        scan_id = ask(engine)
        end(engine, scan_id)
        execute(engine, f"UPDATE ledger.scans SET name = '{name}' WHERE scan_id = {scan_id}")


@pytest.mark.parametrize("words", [("scan",), ("check",), ("schedule", "add", "nightly")])
def test_file_names_are_left_to_the_shell(complete: Complete, words: tuple[str, ...]) -> None:
    assert complete(*words, "pict") == [("file", "pict")]


@pytest.mark.usefixtures("scans")
@pytest.mark.parametrize(
    "command", ["status", "results", "resume", "pause", "cancel", "retry", "changes", "rejudge"]
)
def test_scans_are_offered_by_number_name_and_last(complete: Complete, command: str) -> None:
    offered = [word for _, word in complete(command, "")]
    assert offered == ["last", "february", "3", "2", "january", "1"]
    assert complete(command, "ja") == [("plain", "january")]


def test_models_and_policies_are_offered(complete: Complete, engine: Engine) -> None:
    with engine.begin() as connection:
        policy_id(connection, "strict", Policy("strict", 0.1, 0.9))
    assert ("plain", "deepguard") in complete("scan", "--model", "deep")
    assert ("plain", "deepguard") in complete("models", "show", "")
    assert complete("rejudge", "1", "--policy", "st") == [("plain", "strict")]
    assert complete("policy", "show", "def") == [("plain", "default")]


def test_schedules_webhooks_and_tokens_are_offered(
    complete: Complete, capsys: pytest.CaptureFixture[str]
) -> None:
    add = ("schedule", "add", "nightly", "s3://photos/", "--cron", "0 3 * * *", "--no-check")
    assert run([*add, "--model", "vit-tiny-cifake"]) == Exit.DONE
    assert run(["webhook", "add", "moderation", "https://example.org/hook"]) == Exit.DONE
    assert run(["token", "add", "uploader"]) == Exit.DONE
    for words in (("schedule", "show"), ("webhook", "test"), ("token", "revoke")):
        [(kind, name)] = complete(*words, "")
        assert (kind, name in ("nightly", "moderation", "uploader")) == ("plain", True)
    capsys.readouterr()


def test_where_no_ledger_answers_nothing_is_offered_and_nothing_said(
    complete: Complete, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FAKESWEEP_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nothing")
    assert complete("status", "") == []
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_installing_twice_adds_one_line(
    shell: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "ZDOTDIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SHELL", f"/bin/{shell}")
    start = tmp_path / f".{shell}rc"
    start.write_text("alias ll='ls -l'")
    for _ in range(2):
        assert run(["completion", "install"]) == Exit.DONE
    script = tmp_path / ".local/share/fakesweep" / f"completion.{shell}"
    assert str(script) in capsys.readouterr().out
    own, ours = start.read_text().splitlines()
    assert own == "alias ll='ls -l'"
    assert str(script) in ours
    assert "_FAKESWEEP_COMPLETE" in script.read_text()


def test_a_shell_that_is_not_known_is_to_be_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SHELL", "/bin/tcsh")
    assert run(["completion", "install"]) == Exit.USAGE
    assert "name the shell: one of bash, zsh, fish" in capsys.readouterr().err


@pytest.mark.usefixtures("scans")
def test_bash_itself_completes_a_scan_and_a_file(
    database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["completion", "show", "bash"]) == Exit.DONE
    script = tmp_path / "completion.bash"
    script.write_text(capsys.readouterr().out)
    asks = (
        f". {script}; COMP_WORDS=(fakesweep status ja); COMP_CWORD=2; "
        "_fakesweep_completion fakesweep; echo ${COMPREPLY[@]}"
    )
    done = subprocess.run(
        ["bash", "-c", asks],
        check=False, capture_output=True, text=True,
        env={**os.environ, "FAKESWEEP_DATABASE_URL": database_url,
             "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
    )  # fmt: skip
    assert done.stdout == "january\n"
