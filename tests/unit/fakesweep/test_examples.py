"""Examples in the help: every command has one, and each is a valid command line."""

import shlex
import subprocess

import click
import pytest

from fakesweep.cli import cli, run
from fakesweep.examples import EXAMPLES
from fakesweep.exits import Exit
from fakesweep.manual_page import manual_page


def below(group: click.Group, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    context = click.Context(group)
    found = [path]
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            found += below(command, (*path, name))
        else:
            found.append((*path, name))
    return found


def read(words: list[str]) -> str:
    """Parse a line as the command does, without running it; return its command."""
    command: click.Command = cli
    context = cli.make_context("fakesweep", list(words))
    while isinstance(command, click.Group):
        name, found, rest = command.resolve_command(
            context, [*context._protected_args, *context.args]
        )
        assert found is not None, words
        context = found.make_context(name, rest, parent=context)
        command = found
    return context.command_path.removeprefix("fakesweep ")


PATHS = [" ".join(path) for path in below(cli)]
LINES = [(path, line) for path, lines in EXAMPLES.items() for line in lines]


@pytest.mark.parametrize("path", PATHS)
def test_every_help_has_an_example(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*path.split(), "--help"]) == Exit.DONE
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert EXAMPLES[path]
    for line in EXAMPLES[path]:
        assert line in lines


def test_every_example_belongs_to_a_command() -> None:
    assert set(EXAMPLES) == set(PATHS)


@pytest.mark.parametrize(("path", "line"), LINES)
def test_every_example_is_a_valid_command_line(path: str, line: str) -> None:
    typed = line.partition("$(")[2].partition(")")[0] or line
    words = shlex.split(typed)
    words = words[words.index("fakesweep") + 1 :]
    if ">" in words:
        words = words[: words.index(">")]
    named = read(words)
    assert named == path or not path or named.startswith(f"{path} ")


def test_the_manual_page_has_every_command_option_and_example() -> None:
    page = manual_page(cli).replace("\\-", "-").replace("\\(dq", '"')
    for path in PATHS:
        command: click.Command = cli
        for name in path.split():
            assert isinstance(command, click.Group)
            found = command.get_command(click.Context(command), name)
            assert found is not None
            command = found
        if isinstance(command, click.Group):
            continue
        [part] = [one for one in page.split(".SS ") if one.startswith(f'"fakesweep {path} ')]
        for parameter in command.params:
            if isinstance(parameter, click.Option) and not parameter.hidden:
                assert parameter.opts[0] in part
        assert all(line in part for line in EXAMPLES[path])


def test_man_reads_the_manual_page_without_a_warning() -> None:
    try:
        done = subprocess.run(
            ["groff", "-man", "-ww", "-Tutf8", "-K", "utf8"],
            check=True, input=manual_page(cli).encode(), capture_output=True,
        )  # fmt: skip
    except FileNotFoundError:
        pytest.skip("groff is not installed")
    assert done.stderr == b""
    assert b"fakesweep results last --verdict fake" in done.stdout
