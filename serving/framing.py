"""Framing of HTTP/1.1 requests: a strict parser that refuses ambiguity.

A proxy and a server that disagree on the end of a request can be made to mix up callers.
"""

import re
from enum import Enum, auto
from http import HTTPStatus

MOST_HEAD_BYTES = 16 * 1024

_END = b"\r\n\r\n"
_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_UNCLEAR = re.compile(rb"(?<!\r)\n|\r(?=[^\n])|\n[ \t]|\x00")
_REQUEST_LINE = re.compile(_TOKEN + rb" [\x21-\x7e]+ HTTP/1\.([01])")
_FIELD = re.compile(rb"(" + _TOKEN + rb"):([^\x00-\x08\x0a-\x1f\x7f]*)")
_LENGTH = re.compile(rb"[0-9]{1,18}")
_CHUNK_SIZE = re.compile(rb"[0-9A-Fa-f]{1,15}\r\n")
_LONGEST_CHUNK_LINE = 17

MOST_CHUNKS = 1_024
BYTES_A_CHUNK = 16
"""Limits of a body's chunks: the former, and one more for each such number of bytes."""


class Malformed(Exception):  # noqa: N818 - says what it is
    """Bytes that are no unambiguous request."""

    def __init__(self, reason: str, status: HTTPStatus = HTTPStatus.BAD_REQUEST) -> None:
        super().__init__(reason)
        self.status = status


class Framing:
    """Parses the bytes of one connection, request after request.

    `is_begun`: some bytes of a request have arrived; `is_headed`: its head is complete; `is_whole`:
    its body is, too. `has_surplus`: bytes after the request arrived before its answer.
    """

    def __init__(self) -> None:
        self._head = bytearray()
        self._body: _Sized | _Chunked | None = None
        self.has_surplus = False

    @property
    def is_begun(self) -> bool:
        """Whether some bytes of a request have arrived."""
        return bool(self._head) or self.is_headed

    @property
    def is_headed(self) -> bool:
        """Whether a request's head is complete."""
        return self._body is not None

    @property
    def is_whole(self) -> bool:
        """Whether a request is complete."""
        return self._body is not None and self._body.is_whole

    def feed(self, data: bytes) -> bytes:
        """Parse bytes, and return those to hand on: whole heads, and bodies.

        Raises:
            Malformed: they are ambiguous or invalid.
        """
        if self._body is not None:
            return self._of_body(data)
        looked_at = max(0, len(self._head) - len(_END) + 1)
        self._head += data
        end = self._head.find(_END, looked_at)
        if unclear := _UNCLEAR.search(self._head, looked_at, len(self._head) if end < 0 else end):
            raise Malformed(_why(unclear.group()))
        if end > MOST_HEAD_BYTES or (end < 0 and len(self._head) > MOST_HEAD_BYTES):
            raise Malformed(
                f"the request line and the headers have more than {MOST_HEAD_BYTES} bytes",
                HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
            )
        if end < 0:
            return b""
        head, rest = bytes(self._head[: end + len(_END)]), bytes(self._head[end + len(_END) :])
        self._head.clear()
        self._body = _body_of(head[:end])
        return head + self._of_body(rest)

    def next(self) -> None:
        """Expect another request after the answer."""
        self._body = None

    def _of_body(self, data: bytes) -> bytes:
        assert self._body is not None  # noqa: S101 - for the type checker
        taken, ready = self._body.feed(data)
        self.has_surplus = self.has_surplus or taken < len(data)
        return ready


class _Sized:
    """A body of a known length, or none."""

    def __init__(self, size_bytes: int) -> None:
        self._left = size_bytes

    @property
    def is_whole(self) -> bool:
        return not self._left

    def feed(self, data: bytes) -> tuple[int, bytes]:
        """Return the number of bytes that belong to the body, and these bytes."""
        taken = min(self._left, len(data))
        self._left -= taken
        return taken, data[:taken]


class _Line(Enum):
    SIZE = auto()
    AFTER_CHUNK = auto()
    LAST = auto()


class _Chunked:
    """A body in chunks, with neither extensions nor trailers.

    Chunks that arrive together become one: each costs the parser behind as much as many bytes do.
    """

    def __init__(self) -> None:
        self._left = 0
        self._line = b""
        self._awaited = _Line.SIZE
        self._chunks = 0
        self._size_bytes = 0
        self.is_whole = False

    def feed(self, data: bytes) -> tuple[int, bytes]:
        """Return the number of the body's bytes, and these bytes as one chunk at most."""
        at, came, was_whole = 0, bytearray(), self.is_whole
        while at < len(data) and not self.is_whole:
            if self._left:
                taken = min(self._left, len(data) - at)
                came += data[at : at + taken]
                self._left -= taken
                at += taken
                continue
            end = data.find(b"\n", at, at + _LONGEST_CHUNK_LINE) + 1
            stop = end or min(len(data), at + _LONGEST_CHUNK_LINE)
            self._line += data[at:stop]
            at = stop
            if end or len(self._line) >= _LONGEST_CHUNK_LINE:
                self._take_line()
        ready = b"%x\r\n%b\r\n" % (len(came), bytes(came)) if came else b""
        return at, ready + b"0\r\n\r\n" if self.is_whole and not was_whole else ready

    def _take_line(self) -> None:
        line, self._line = self._line, b""
        match self._awaited:
            case _Line.SIZE:
                if not _CHUNK_SIZE.fullmatch(line):
                    raise Malformed("a chunk of the body does not begin with its size alone")
                self._begin(int(line, 16))
            case _Line.AFTER_CHUNK:
                if line != b"\r\n":
                    raise Malformed("a chunk of the body does not end where its size says")
                self._awaited = _Line.SIZE
            case _Line.LAST:
                if line != b"\r\n":
                    raise Malformed("headers stand behind the body")
                self.is_whole = True

    def _begin(self, size_bytes: int) -> None:
        self._left = size_bytes
        self._awaited = _Line.AFTER_CHUNK if size_bytes else _Line.LAST
        self._chunks += 1
        self._size_bytes += size_bytes
        if self._chunks > MOST_CHUNKS + self._size_bytes // BYTES_A_CHUNK:
            raise Malformed(
                f"the body comes in {self._chunks} chunks of fewer than {BYTES_A_CHUNK} bytes; "
                f"send more at a time"
            )


def _body_of(head: bytes) -> _Sized | _Chunked:
    """Return the body that a head announces."""
    first, *lines = head.split(b"\r\n")
    request_line = _REQUEST_LINE.fullmatch(first)
    if request_line is None:
        raise Malformed("the first line is no request of HTTP/1.1")
    lengths, codings = [], []
    for line in lines:
        field = _FIELD.fullmatch(line)
        if field is None:
            raise Malformed("a header is no name, colon and value")
        name, value = field.group(1).lower(), field.group(2).strip(b" \t")
        if name == b"content-length":
            lengths.append(value)
        elif name == b"transfer-encoding":
            codings.append(value)
    if lengths and codings:
        raise Malformed("Content-Length and Transfer-Encoding exclude each other")
    if codings:
        if [coding.lower() for coding in codings] != [b"chunked"] or request_line[1] == b"0":
            raise Malformed("the only Transfer-Encoding is chunked, once, and in HTTP/1.1")
        return _Chunked()
    if len(lengths) > 1 or not all(map(_LENGTH.fullmatch, lengths)):
        raise Malformed("Content-Length is one number")
    return _Sized(int(lengths[0]) if lengths else 0)


def _why(found: bytes) -> str:
    if found == b"\x00":
        return "a header holds a NUL"
    if len(found) > 1:
        return "a header goes on in the next line"
    return "a line ends with CR or LF alone"
