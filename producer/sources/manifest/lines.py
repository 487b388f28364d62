"""Manifest lines: numbered from 1, of limited length."""

import codecs
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from fakesweep.schema.errors import SourceError
from fakesweep.schema.net.storage import one_line
from fakesweep.schema.redaction import without_credentials, without_secrets

MAX_LINE_BYTES = 256 * 1024
_REST_BYTES = 64 * 1024
_SHOWN_LETTERS = 120
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass(frozen=True, slots=True)
class Line:
    """Physical line with its ending; an overlong line is truncated."""

    number: int
    raw: bytes
    too_long: bool = False

    @property
    def shown(self) -> str:
        """Display form of the line: printable, short, without secrets of URLs."""
        text = self.raw.strip().decode("utf-8", "backslashreplace")
        text = without_secrets(without_credentials(text), "…")
        if self.too_long and "://" in text:  # an @ may follow in the truncated part
            text = f"{text.partition('://')[0]}://…"
        return one_line(text, _SHOWN_LETTERS)

    def text(self) -> str:
        """Return the line as text, stripped of white space.

        Raises:
            ValueError: the line is too long or no UTF-8; the message says which.
        """
        if self.too_long:
            raise ValueError(f"is longer than {MAX_LINE_BYTES} bytes")
        try:
            return self.raw.strip().decode("utf-8")
        except UnicodeDecodeError as error:
            raise ValueError("is not UTF-8 text") from error


def read_lines(stream: BinaryIO, name: str) -> Iterator[Line]:
    """Yield the lines of a stream; a byte order mark at its start is dropped.

    Raises:
        SourceError: the stream is UTF-16 or UTF-32.
    """
    number = 0
    while raw := stream.readline(MAX_LINE_BYTES + 1):
        number += 1
        if number == 1:
            if raw.startswith(_UTF16):
                raise SourceError(f"{name} is UTF-16 text; save it as UTF-8")
            raw = raw.removeprefix(codecs.BOM_UTF8)
        if len(raw) <= MAX_LINE_BYTES or raw.endswith(b"\n"):
            yield Line(number, raw)
        else:
            _skip_rest(stream)
            yield Line(number, raw, too_long=True)


def _skip_rest(stream: BinaryIO) -> None:
    while (rest := stream.readline(_REST_BYTES)) and not rest.endswith(b"\n"):
        pass
