"""Memory: glibc's retention of freed blocks, and writes to shared memory files."""

import ctypes
import os

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -2, -4, -8


def keep_freed_memory(kept_bytes: int) -> None:
    """Let this process keep up to `kept_bytes` of freed memory at the top of its heap.

    By default glibc maps each large block and unmaps it when freed; fresh pages then cost a third
    of a JPEG's decoding time. Other C libraries are left as they are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 1)  # only the first heap grows without mapping
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TOP_PAD, kept_bytes // 4)
        mallopt(_M_TRIM_THRESHOLD, kept_bytes)


def write_whole(descriptor: int, left: memoryview, offset: int) -> None:
    """Write all bytes; one system call writes only a part beyond two gigabytes or at a limit.

    Raises:
        OSError: there is no room for them.
    """
    while left:
        written = os.pwrite(descriptor, left, offset)
        left, offset = left[written:], offset + written
