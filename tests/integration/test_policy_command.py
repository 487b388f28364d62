"""`fakesweep policy` on a real ledger, and the cuts that summaries tell."""

import json
import shlex
from collections.abc import Callable

import pytest
from sqlalchemy import Engine

from fakesweep import cli
from fakesweep.exits import Exit
from fakesweep.schema.errors import CatalogueError
from fakesweep.schema.judging.catalogue import read_catalogue
from fakesweep.schema.judging.policies import BUILT_IN, Policy
from fakesweep.schema.ledger.registry.policies import list_policies, policy_history
from fakesweep.summary import as_json, as_page, next_commands, read_summary
from tests.integration.ledger.rows import run

Command = Callable[[str], tuple[int, str, str]]


@pytest.fixture
def command(
    database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """Run a command; return its exit status and what it printed on both streams."""
    monkeypatch.setenv("FAKESWEEP_DATABASE_URL", database_url)

    def ran(words: str) -> tuple[int, str, str]:
        status = cli.run(["policy", *shlex.split(words)])
        said = capsys.readouterr()
        return status, said.out, said.err

    return ran


def test_a_new_ledger_has_the_built_in_policies_and_no_others(engine: Engine) -> None:
    with engine.connect() as connection:
        found = list_policies(connection)
    assert {one.name: Policy(one.name, one.real_below, one.fake_above) for one in found} == BUILT_IN
    with pytest.raises(CatalogueError, match=r"policy 'crad' is not known .did you mean card"):
        read_catalogue(None).policy("crad")


def test_cuts_are_set_listed_and_shown_with_those_they_had_before(command: Command) -> None:
    assert command("set strict --real-below 0.1 --fake-above 0.95")[0] == Exit.DONE
    _, said, _ = command("set strict --real-below 0.1 --fake-above 0.9")
    assert said.splitlines()[0] == "strict: fake above 0.9, real below 0.1, uncertain between"
    listed = json.loads(command("list --json")[1])["policies"]
    assert [(one["name"], one["fake_above"]) for one in listed] == [
        ("card", 0.5), ("default", 0.8), ("strict", 0.9),
    ]  # fmt: skip
    history = json.loads(command("show strict --json")[1])["history"]
    assert [(one["fake_above"], one["is_current"]) for one in history] == [
        (0.9, True), (0.95, False),
    ]  # fmt: skip
    assert command("show strict")[1].startswith("strict: fake above 0.9, real below 0.1")
    assert command("list")[1].splitlines()[1].split()[:4] == ["card", "0.5", "0.5", "0"]


@pytest.mark.parametrize(
    "words",
    [
        "set strict --real-below 0.9 --fake-above 0.1",
        "set strict --real-below -1 --fake-above 0.1",
        "set strict --real-below x --fake-above 0.1",
        "set strict --fake-above 0.1",
    ],
)
def test_cuts_that_make_no_sense_are_wrong_usage(command: Command, words: str) -> None:
    status, said, _ = command(words)
    assert (status, said) == (Exit.USAGE, "")
    assert command("show strict")[0] == Exit.FAILED


def test_a_policy_that_is_not_there_is_said_in_one_line(command: Command, engine: Engine) -> None:
    _, _, said = command("show strict")
    [line] = said.splitlines()
    assert line.startswith("fakesweep: there is no policy 'strict'; `fakesweep policy list` shows")
    with engine.connect() as connection, pytest.raises(CatalogueError):
        policy_history(connection, "strict")


def test_summaries_tell_by_which_cuts_a_scan_is_judged(command: Command, engine: Engine) -> None:
    run(
        engine,
        "INSERT INTO ledger.scans (lane, policy_id, model_keys) VALUES ('bulk', 1, '{tiny}')",
    )
    command("set default --real-below 0.3 --fake-above 0.7")
    with engine.connect() as connection:
        summary = read_summary(connection, 1)
    assert summary.cuts == Policy("default", 0.2, 0.8)
    assert "policy     default: fake above 0.8, real below 0.2, uncertain between" in as_page(
        summary
    )
    assert (as_json(summary)["real_below"], as_json(summary)["fake_above"]) == (0.2, 0.8)
    assert "p_fake > 0.8 ORDER BY" in next_commands(1, 0.8, failed=False)
