"""Options that several commands share: models, lane and policy, and the selection of images."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from fakesweep import completion
from fakesweep.age_options import UNITS_HELP, MomentOption
from fakesweep.option_types import Written
from fakesweep.schema.judging.catalogue import DEFAULT_POLICY
from fakesweep.schema.selection import Selection, bytes_of, check_pattern, suffixes_of
from fakesweep.schema.words import SCAN_LANES, Lane

Command = TypeVar("Command", bound=Callable[..., Any])

_JUDGING = (
    click.option(
        "--model",
        "models",
        metavar="KEY|FOLDER",
        multiple=True,
        shell_complete=completion.models,
        help="Model to judge by: a key, a Hub id or a folder. Repeat it for several.",
    ),
    click.option(
        "--lane",
        type=click.Choice([lane.value for lane in SCAN_LANES]),
        default=Lane.BULK.value,
        show_default=True,
        help="Queue: live is served before bulk.",
    ),
    click.option(
        "--policy",
        metavar="NAME",
        default=DEFAULT_POLICY,
        shell_complete=completion.policies,
        show_default=True,
        help="Policy: the cut points that turn scores into verdicts.",
    ),
)

_SELECTION = (
    click.option(
        "--include",
        metavar="PATTERN",
        type=Written("pattern", check_pattern),
        multiple=True,
        help="Take only images whose path or URI matches, such as '*.jpg'. Repeat it for several.",
    ),
    click.option(
        "--exclude",
        metavar="PATTERN",
        type=Written("pattern", check_pattern),
        multiple=True,
        help="Skip images whose path or URI matches, such as '*/thumbs/*'. Repeat it for several.",
    ),
    click.option(
        "--suffixes",
        metavar="LIST",
        type=Written("list", suffixes_of),
        help="Take only files with these suffixes, such as jpg,png; `none` is a name without one, "
        "`all` every file. By default names and first bytes decide.",
    ),
    click.option(
        "--since",
        metavar="DATE|AGE",
        type=MomentOption(),
        help="Take only images changed since a date, such as 2026-01-31, or within an age, such as "
        f"7d or 12h. {UNITS_HELP}",
    ),
    click.option(
        "--min-size",
        metavar="SIZE",
        type=Written("size", bytes_of),
        help="Take only images of at least this many bytes, such as 20K.",
    ),
    click.option(
        "--max-size",
        metavar="SIZE",
        type=Written("size", bytes_of),
        help="Take only images of at most this many bytes, such as 5M.",
    ),
    click.option(
        "--versions",
        is_flag=True,
        help="Take every version of an object, not only the newest.",
    ),
)


def scan_argument(command: Command) -> Command:
    """Add the argument SCAN (as `scan`): text for `find_scan`."""
    return click.argument("scan", metavar="SCAN", shell_complete=completion.scans)(command)


def judging_options(command: Command) -> Command:
    """Add `--model` (as `models`), `--lane` and `--policy`."""
    return _with(_JUDGING, command)


def selection_options(command: Command) -> Command:
    """Add the options that `selection_from` takes."""
    return _with(_SELECTION, command)


def selection_from(
    *,
    include: tuple[str, ...] = (),
    exclude: tuple[str, ...] = (),
    suffixes: str | None = None,
    since: str | None = None,
    min_size: str | None = None,
    max_size: str | None = None,
    versions: bool = False,
) -> Selection:
    """Return the selection that the options describe.

    Raises:
        SourceError: a size or suffix is malformed.
    """
    return Selection(
        include=include,
        exclude=exclude,
        since=since,
        min_bytes=None if min_size is None else bytes_of(min_size),
        max_bytes=None if max_size is None else bytes_of(max_size),
        versions=versions,
        suffixes=() if suffixes is None else suffixes_of(suffixes),
    )


def _with(options: Sequence[Callable[[Command], Command]], command: Command) -> Command:
    for option in reversed(options):
        command = option(command)
    return command
