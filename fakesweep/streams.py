"""The three standard streams, any of which may be closed, full or broken when it starts."""

import fcntl
import io
import os
import sys
from typing import TYPE_CHECKING

from fakesweep.schema.errors import StreamError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

_STAND_INS = (os.O_WRONLY, os.O_RDONLY, os.O_WRONLY)
"""How /dev/null is opened in place of a closed input, output and error stream.

What is read from the first and written to the second fails, as if they were closed still.
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


class _Complaints(io.FileIO):
    """Standard error's descriptor; what cannot be written there is dropped, and no work with it."""

    def write(self, written: "ReadableBuffer") -> int:
        try:
            return super().write(written)
        except OSError:
            return memoryview(written).nbytes


def open_streams() -> None:
    """Have every fault of the streams told in one line, whatever writes or reads.

    The places of closed ones are filled, so that no file or connection gets their numbers.
    Characters that an encoding lacks are spelled out.
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
        sys.stderr = _opened(_Complaints(2, "wb", closefd=False), sys.stderr)


def check_input() -> None:
    """Refuse to go on where nothing can be read from standard input.

    Raises:
        StreamError: it is closed.
    """
    if fcntl.fcntl(0, fcntl.F_GETFL) & os.O_ACCMODE == os.O_WRONLY:
        raise StreamError("standard input is closed; give `-` a list of URIs to read")


def drop_output() -> None:
    """Drop what standard output did not take, and all that comes after."""
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
