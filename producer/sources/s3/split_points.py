"""Split points of key ranges: text between two keys, with keys behind it."""

from collections.abc import Callable

_LAST = chr(0x10FFFF)
_ASCII_END = 0x80
_SURROGATES = range(0xD800, 0xE000)

Probe = Callable[[str, str | None], bool]
"""Returns whether a key is after the first text, up to the second; None is no upper bound."""


def split_point(start: str, last: str | None, prefix: str, has_key_after: Probe) -> str | None:
    """Return a text greater than `start` with keys behind it, up to `last`; None if none is found.

    The search finds the leftmost letter in which later keys differ from `start`, then halves the
    range of that letter.

    Args:
        start: the last listed key.
        last: the last key of the range, None for the end of the prefix.
        prefix: the common beginning of all keys.
        has_key_after: probe of the bucket, one request per call.
    """
    low = max(start, prefix)
    for place in range(len(prefix), len(low)):
        alike = low[: place + 1] + _LAST
        if has_key_after(alike, last):
            return _between(low[:place], ord(low[place]), last, has_key_after) or alike
    return None


def _between(shared: str, least: int, last: str | None, has_key_after: Probe) -> str | None:
    """Return the middle letter after `least`, or an earlier one, that has keys behind it."""
    most = _most(shared, least, last)
    while most - least > 1:
        code = (least + most) // 2
        if code in _SURROGATES:
            code = _SURROGATES.start - 1
        if has_key_after(shared + chr(code), last):
            return shared + chr(code)
        most = code
    return None


def _most(shared: str, least: int, last: str | None) -> int:
    if last is not None and last.startswith(shared) and len(last) > len(shared):
        return ord(last[len(shared)]) + 1
    return _ASCII_END if least < _ASCII_END - 1 else ord(_LAST)
