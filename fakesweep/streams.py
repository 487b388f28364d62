"""The three standard streams, each of which may be closed, full or broken."""

import fcntl
import io
import os
import sys
from typing import TYPE_CHECKING

from fakesweep.schema.errors import StreamError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

_STAND_INS = (os.O_WRONLY, os.O_RDONLY, os.O_WRONLY)
"""Modes of /dev/null in place of a closed input, output and error stream.

Reading the first and writing the second fail, as on a closed stream.
"""


class _ClosedInput(io.FileIO):
    def readinto(self, _: "WriteableBuffer") -> int:
        raise StreamError("standard input is closed")

    def readall(self) -> bytes:
        raise StreamError("standard input is closed")


class _Output(io.FileIO):
    def write(self, written: "ReadableBuffer") -> int:
        try:
            return super().write(written)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise StreamError(f"standard output cannot be written: {error.strerror}") from error


class _ErrorOutput(io.FileIO):
    """Standard error's descriptor; text that it does not take is dropped, and the work goes on."""

    def write(self, written: "ReadableBuffer") -> int:
        try:
            return super().write(written)
        except OSError:
            return memoryview(written).nbytes


def open_streams() -> None:
    """Make the streams raise StreamError instead of the system's errors.

    Closed descriptors are filled with /dev/null, so that no file or connection gets their numbers.
    Characters outside the encoding are escaped.
    """
    for descriptor, mode in enumerate(_STAND_INS):
        if not _is_open(descriptor):
            opened = os.open(os.devnull, mode)
            if opened != descriptor:
                os.dup2(opened, descriptor)
                os.close(opened)
            os.set_inheritable(descriptor, True)
    if sys.stdin is None:
        raw = io.BufferedReader(_ClosedInput(0, "rb", closefd=False))
        sys.stdin = io.TextIOWrapper(raw)
    if sys.stdout is sys.__stdout__:
        sys.stdout = _opened(_Output(1, "wb", closefd=False), sys.stdout)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _opened(_ErrorOutput(2, "wb", closefd=False), sys.stderr)


def check_input() -> None:
    """Check that standard input can be read.

    Raises:
        StreamError: standard input is closed.
    """
    if fcntl.fcntl(0, fcntl.F_GETFL) & os.O_ACCMODE == os.O_WRONLY:
        raise StreamError("standard input is closed; give `-` a list of URIs to read")


def drop_output() -> None:
    """Redirect standard output to /dev/null, with the text still in its buffer."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _opened(raw: io.FileIO, before: io.TextIOBase | None) -> io.TextIOWrapper:
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        getattr(before, "encoding", None),
        errors="backslashreplace",
        line_buffering=getattr(before, "line_buffering", True),
    )


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True
