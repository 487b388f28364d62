"""Object metadata from listings, validated for the ledger; invalid values become None.

The values are untrusted: a size of 2^63, a day in the year 10000, a NUL.
"""

from datetime import UTC, datetime

LARGEST_SIZE = 2**63 - 1
MOST_ETAG_LETTERS = 1_024
_YEARS = range(2, 9_999)
_SIZE_DIGITS = 19
_TIME_LETTERS = 40


def size_of(said: int | str | None) -> int | None:
    """Return a size in bytes, None where it is invalid."""
    if isinstance(said, str):
        said = said.strip()
        is_number = len(said) <= _SIZE_DIGITS and said.isascii() and said.isdecimal()
        said = int(said) if is_number else None
    if said is None or isinstance(said, bool):
        return None
    return said if 0 <= said <= LARGEST_SIZE else None


def etag_of(said: str | None) -> str | None:
    """Return an ETag without its quotes, None where it is invalid."""
    if not said or len(said) > MOST_ETAG_LETTERS or not (said.isascii() and said.isprintable()):
        return None
    return said.strip('"') or None


def moment_of(said: datetime | str | None) -> datetime | None:
    """Return a time in UTC, None where it is invalid; a time without a zone is UTC."""
    try:
        if isinstance(said, str):
            said = datetime.fromisoformat(said) if 0 < len(said) <= _TIME_LETTERS else None
        if said is None:
            return None
        moment = said.astimezone(UTC) if said.tzinfo else said.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
    return moment if moment.year in _YEARS else None
