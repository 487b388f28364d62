"""Where to cut a stretch of keys: text between two keys, with keys on its far side."""

from collections.abc import Callable

_LAST = chr(0x10FFFF)
_ASCII_END = 0x80
_SURROGATES = range(0xD800, 0xE000)

Probe = Callable[[str, str | None], bool]
"""Says whether there is a key behind the first text and not behind the second; None: any key."""


def split_point(start: str, last: str | None, prefix: str, has_key_after: Probe) -> str | None:
    """Return a text greater than `start` that keys follow, up to `last`; None if none is found.

    From the left on, the first letter is looked for in which later keys differ from `start`, and
    there the middle of what the letters may be.

    Args:
        start: where somebody lists now.
        last: the last key of the stretch, None for the prefix' end.
        prefix: what all keys begin with.
        has_key_after: asks the bucket.
    """
    low = max(start, prefix)
    for place in range(len(prefix), len(low)):
        alike = low[: place + 1] + _LAST
        if has_key_after(alike, last):
            return _between(low[:place], ord(low[place]), last, has_key_after) or alike
    return None


def _between(shared: str, least: int, last: str | None, has_key_after: Probe) -> str | None:
    """Return the middle one of the letters after `least`, or an earlier one, that keys follow."""
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
