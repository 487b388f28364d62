"""Words for people: nothing that came from outside reaches a terminal unescaped."""

import shlex
import shutil
import sys
from typing import TextIO


def printable(text: str) -> str:
    """Return the text with control characters, terminal escapes and invisible marks spelled out."""
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text
    )


def shortened(text: str, width: int) -> str:
    """Return at most `width` characters, the end kept: a URI's last part tells most."""
    return text if len(text) <= width else "…" + text[1 - width :]


def seconds_in_words(seconds: float) -> str:
    """Return a length of time for people, as in `42 s`, `3 min` or `2.5 h`."""
    if seconds < 90:  # noqa: PLR2004 - where minutes read better
        return f"{seconds:.0f} s"
    if seconds < 5_400:  # noqa: PLR2004 - where hours read better
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3_600:.1f} h"


def is_terminal(stream: TextIO | None) -> bool:
    """Return whether a person is at the other end of a stream, which may be closed."""
    return stream is not None and not stream.closed and stream.isatty()


def program() -> str:
    """Return how this command is called here, for lines that a person can copy."""
    if shutil.which("fakesweep") is None and sys.argv[0].endswith("/fakesweep"):
        return shlex.quote(sys.argv[0])
    return "fakesweep"
