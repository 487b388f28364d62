"""Options that take a duration: the same grammar in each."""

import shlex
from collections.abc import Iterator

import click
import pytest

from fakesweep.age_options import UNITS_HELP, AgeOption, MomentOption
from fakesweep.cli import cli, run
from fakesweep.exits import Exit

TAKE_TIME = [
    ("prune", "--older-than"),
    ("scan .", "--since"),
    ("schedule add name . --cron '0 3 * * *'", "--since"),
    ("token add name", "--expires"),
]


def options(group: click.Group) -> Iterator[click.Option]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from options(command)
        elif command is not None:
            yield from (one for one in command.params if isinstance(one, click.Option))


@pytest.mark.parametrize(("words", "option"), TAKE_TIME)
@pytest.mark.parametrize("written", ["6m", "7", "soon", "999999y", "1.5d"])
def test_a_malformed_duration_is_wrong_usage(
    words: str, option: str, written: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*shlex.split(words), option, written]) == Exit.USAGE
    complaint = capsys.readouterr().err
    assert option in complaint
    if written == "6m":
        assert "6min or 6mo" in complaint


def test_each_such_option_names_its_units() -> None:
    taking = [one for one in options(cli) if isinstance(one.type, AgeOption | MomentOption)]
    assert len(taking) == len(TAKE_TIME)
    for one in taking:
        assert one.help
        assert one.help.endswith(UNITS_HELP)


def test_no_other_option_speaks_of_ages() -> None:
    for one in options(cli):
        if not isinstance(one.type, AgeOption | MomentOption):
            assert "AGE" not in (one.metavar or "")
            assert "TIME" not in (one.metavar or "")
