"""Selection of images from a source: by name, size, age and version."""

import re
from dataclasses import asdict, dataclass, fields
from fnmatch import translate
from typing import Any

from fakesweep.schema.errors import SourceError
from fakesweep.schema.text import is_text

_SIZE = re.compile(r"(\d{1,15})([KMGT]?)(I?B)?", re.IGNORECASE)
_SUFFIX = re.compile(r"[^\s./,]+")
_SHIFTS = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}


ALL_SUFFIXES = "all"
NO_SUFFIX = "none"


@dataclass(frozen=True, slots=True)
class Selection:
    """The choices of a scan; empty ones select everything.

    `include` and `exclude` are shell patterns of whole names, where `*` also spans slashes: an
    image must match one of the first, if any, and none of the second. `suffixes` replace the usual
    test of names and bytes. `since` is a date with or without a time (UTC), or an age such as `7d`
    before the scan was asked for. An image without a known size or time passes tests of it.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    since: str | None = None
    min_bytes: int | None = None
    max_bytes: int | None = None
    versions: bool = False
    suffixes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the choices that were made, as JSON."""
        return {name: value for name, value in asdict(self).items() if value}

    @property
    def forms_archive(self) -> bool:
        """Whether two audits with this selection see the same of an unchanged archive."""
        return self.since is None


def selection_of(said: dict[str, Any]) -> Selection:
    """Return the selection of a JSON object."""
    known = {field.name for field in fields(Selection)}
    chosen = {name: value for name, value in said.items() if name in known}
    for name in ("include", "exclude", "suffixes"):
        chosen[name] = tuple(chosen.get(name, ()))
    return Selection(**chosen)


def bytes_of(size: str) -> int:
    """Parse a size such as 500, 20K or 5MB into bytes; a K is 1,024.

    Raises:
        SourceError: it is no size.
    """
    match = _SIZE.fullmatch(size.strip())
    if match is None:
        raise SourceError(f"{size!r} is no size; write bytes, or as 20K, 5M or 1G")
    return int(match[1]) << _SHIFTS[match[2].upper()]


def suffixes_of(said: str) -> tuple[str, ...]:
    """Parse a list of suffixes such as `jpg,png`, in lower case.

    Raises:
        SourceError: one of them is invalid.
    """
    suffixes = tuple(one.strip().removeprefix(".").lower() for one in said.split(","))
    for suffix in suffixes:
        if not _SUFFIX.fullmatch(suffix):
            raise SourceError(
                f"{said!r} names no suffixes; write them as jpg,png ({NO_SUFFIX} is a name without "
                f"one, {ALL_SUFFIXES} is every name)"
            )
    return suffixes


def patterns_of(patterns: tuple[str, ...]) -> re.Pattern[str] | None:
    """Return one expression for all the patterns, None where there are none."""
    if not patterns:
        return None
    return re.compile("|".join(translate(pattern) for pattern in patterns))


def check_pattern(pattern: str) -> None:
    """Refuse a pattern that no name can match.

    Raises:
        SourceError: it is empty, or no text.
    """
    if not pattern or "\0" in pattern or not is_text(pattern):
        raise SourceError(
            f"pattern {pattern!r} is empty or no valid Unicode; write a ? for each byte of a "
            f"name that is none"
        )
