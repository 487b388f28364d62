"""The manual page `fakesweep(1)` in man(7) macros, made from click's help."""

import re
from collections.abc import Iterator

import click

from fakesweep.examples import EXAMPLES
from fakesweep.schema import __version__


def manual_page(group: click.Group) -> str:
    """Return the page of a group and all its commands."""
    context = click.Context(group, info_name="fakesweep")
    about = group.get_short_help_str(limit=200).rstrip(".")
    lines = [
        f'.TH FAKESWEEP 1 "" "fakesweep {__version__}" "User Commands"',
        ".ad l",
        ".SH NAME",
        f"fakesweep \\- {_escaped(about)}",
        ".SH SYNOPSIS",
        ".B fakesweep",
        _escaped(" ".join(group.collect_usage_pieces(context))),
        ".SH DESCRIPTION",
        *_paragraphs(group.help or ""),
        ".SH OPTIONS",
        *_options(group, context),
        ".SH COMMANDS",
    ]
    for path, command, below in _commands(group, context):
        lines += _command(path, command, below)
    return "\n".join(lines) + "\n"


def _commands(
    group: click.Group, context: click.Context
) -> Iterator[tuple[str, click.Command, click.Context]]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is None or command.hidden:
            continue
        below = click.Context(command, info_name=name, parent=context)
        if isinstance(command, click.Group):
            yield from _commands(command, below)
        else:
            yield below.command_path.removeprefix("fakesweep "), command, below


def _command(path: str, command: click.Command, context: click.Context) -> Iterator[str]:
    usage = " ".join(command.collect_usage_pieces(context))
    yield f'.SS "{_escaped(f"fakesweep {path} {usage}")}"'
    yield from _paragraphs(command.help or "")
    yield from _options(command, context)
    yield from _examples(path)


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None and record[1]:
            yield ".TP"
            yield f".B {_escaped(record[0])}"
            yield _escaped(record[1])


def _examples(path: str) -> Iterator[str]:
    yield ".PP"
    yield ".nf"
    yield ".RS"
    yield from map(_escaped, EXAMPLES[path])
    yield ".RE"
    yield ".fi"


def _paragraphs(text: str) -> Iterator[str]:
    """Yield a docstring's paragraphs; one that begins with click's mark keeps its lines."""
    for paragraph in re.split(r"\n\s*\n", text.strip()):
        lines = [line.strip() for line in paragraph.splitlines()]
        yield ".PP"
        if lines[0] == "\b":
            yield from (".nf", *map(_escaped, lines[1:]), ".fi")
        else:
            yield _escaped(" ".join(lines))


def _escaped(text: str) -> str:
    """Return text in which man(7) reads no request or escape."""
    said = text.replace("\\", "\\e").replace("-", "\\-").replace('"', "\\(dq")
    return f"\\&{said}" if said.startswith((".", "'")) else said
