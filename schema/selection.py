"""What a scan takes of its sources: by name, by size, by age, and whether old versions count."""

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
    """The choices of a scan; empty ones take everything.

    `include` and `exclude` are shell patterns of whole names, where `*` also spans slashes: an
    image is taken that matches any of the first, if there are some, and none of the second.
    `suffixes` are those that files are taken by, instead of what names and bytes say. `since` is a
    date with or without a time (UTC), or an age as `7d`, counted from the moment the scan was asked
    for. Images whose source tells no size or time pass what asks for them.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    since: str | None = None
    min_bytes: int | None = None
    max_bytes: int | None = None
    versions: bool = False
    suffixes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return what was chosen, without what was not."""
        return {name: value for name, value in asdict(self).items() if value}

    @property
    def forms_archive(self) -> bool:
        """Whether two audits by it see the same of an archive that stays as it is."""
        return self.since is None


def selection_of(said: dict[str, Any]) -> Selection:
    """Return the choices that JSON tells of."""
    known = {field.name for field in fields(Selection)}
    chosen = {name: value for name, value in said.items() if name in known}
    for name in ("include", "exclude", "suffixes"):
        chosen[name] = tuple(chosen.get(name, ()))
    return Selection(**chosen)


def bytes_of(size: str) -> int:
    """Return the bytes of a size as people write it, as 500, 20K or 5MB; a K is 1,024.

    Raises:
        SourceError: it is no size.
    """
    match = _SIZE.fullmatch(size.strip())
    if match is None:
        raise SourceError(f"{size!r} is no size; write bytes, or as 20K, 5M or 1G")
    return int(match[1]) << _SHIFTS[match[2].upper()]


def suffixes_of(said: str) -> tuple[str, ...]:
    """Return the suffixes of a list as people write it, as `jpg,png`, in lower case.

    Raises:
        SourceError: one of them is none.
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
