"""Memory: what the C library keeps of it at hand, and files in it that two processes share."""

import ctypes
import os

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -2, -4, -8


def keep_freed_memory(kept_bytes: int) -> None:
    """Let this process keep up to so many bytes that it has freed, at the top of its heap.

    By default glibc maps every large block anew and unmaps it when it is freed, so that a decoder
    or a matrix product first waits for the system to hand out empty pages, a third of a
    JPEG's decoding time here. Other C libraries keep their own ways.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 1)  # only the first heap grows without mapping
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TOP_PAD, kept_bytes // 4)
        mallopt(_M_TRIM_THRESHOLD, kept_bytes)


def write_whole(descriptor: int, left: memoryview, offset: int) -> None:
    """Write bytes whole: beyond two gigabytes, and at a limit, the system writes a part.

    Raises:
        OSError: there is no room for them.
    """
    while left:
        written = os.pwrite(descriptor, left, offset)
        left, offset = left[written:], offset + written
