"""Scan references of people: a number, a name, or `last`."""

from sqlalchemy import Connection, text

from fakesweep.schema.errors import ScanError
from fakesweep.schema.text import is_text

LAST = "last"
MOST_NAME_CHARACTERS = 100

_NUMBERED = text("SELECT scan_id FROM scan_progress WHERE scan_id = :number")
_NAMED = text("""
    SELECT scan_id FROM scan_progress WHERE name = :name ORDER BY scan_id DESC LIMIT 1
""")
_LAST = text("SELECT scan_id FROM scan_progress ORDER BY scan_id DESC LIMIT 1")

_LARGEST = 2**63 - 1
_MOST_DIGITS = 4_000
"""More digits than any scan number has, fewer than Python's limit for `int`."""


def is_name(said: str) -> bool:
    """Return whether a text can be the name of a scan or schedule: visible and writable."""
    return bool(said.strip()) and said.isprintable() and len(said) <= MOST_NAME_CHARACTERS


def check_name(said: str) -> None:
    """Refuse a text that cannot name a scan.

    Raises:
        ScanError: it is empty, invisible or too long.
    """
    if not is_name(said):
        raise ScanError(
            f"{said[:MOST_NAME_CHARACTERS]!r} is no name of a scan; write 1 to "
            f"{MOST_NAME_CHARACTERS} characters that can be seen"
        )


def find_scan(connection: Connection, said: str | int) -> int:
    """Return the number of a scan: the newest of a name, or with `last` the newest of all.

    Digits are tried as a number before a name.

    Raises:
        ScanError: there is no such scan.
    """
    found = _numbered(connection, said) or _named(connection, str(said))
    if found is None:
        raise ScanError(_missing(said))
    return found


def _numbered(connection: Connection, said: str | int) -> int | None:
    digits = str(said)
    is_number = digits.isascii() and digits.isdigit() and len(digits) <= _MOST_DIGITS
    number = int(digits) if is_number else 0
    if not 0 < number <= _LARGEST:
        return None
    return connection.execute(_NUMBERED, {"number": number}).scalar_one_or_none()


def _named(connection: Connection, name: str) -> int | None:
    if "\x00" in name or not is_text(name):
        return None
    named: int | None = connection.execute(_NAMED, {"name": name}).scalar_one_or_none()
    if named is None and name == LAST:
        named = connection.execute(_LAST).scalar_one_or_none()
    return named


def _missing(said: str | int) -> str:
    if said == LAST:
        return "there is no scan yet; `fakesweep scan` asks for one"
    what = f"scan {said}" if str(said).isdigit() else f"scan named {str(said)!r}"
    return f"there is no {what}; `fakesweep status` lists the scans there are"
