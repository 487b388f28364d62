"""Text for people: escaping for the terminal, shortening, durations."""

import shlex
import shutil
import sys
from typing import TextIO


def printable(text: str) -> str:
    """Return the text with control characters, terminal escapes and invisible marks escaped."""
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text
    )


def shortened(text: str, width: int) -> str:
    """Return the last `width` characters at most, since the end of a URI identifies an image."""
    return text if len(text) <= width else "…" + text[1 - width :]


def seconds_in_words(seconds: float) -> str:
    """Return a duration, such as `42 s`, `3 min` or `2.5 h`."""
    if seconds < 90:  # noqa: PLR2004 - where minutes read better
        return f"{seconds:.0f} s"
    if seconds < 5_400:  # noqa: PLR2004 - where hours read better
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3_600:.1f} h"


def is_terminal(stream: TextIO | None) -> bool:
    """Return whether a stream is an open terminal."""
    return stream is not None and not stream.closed and stream.isatty()


def program() -> str:
    """Return the command's name or path here, for lines that a person can copy."""
    if shutil.which("fakesweep") is None and sys.argv[0].endswith("/fakesweep"):
        return shlex.quote(sys.argv[0])
    return "fakesweep"
