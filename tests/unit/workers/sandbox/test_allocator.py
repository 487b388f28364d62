import ctypes
import json
import subprocess
import sys
from types import SimpleNamespace

import pytest

from fakesweep.workers.sandbox.allocator import keep_freed_memory

PROGRAM = """
import json
from pathlib import Path
from fakesweep.workers.sandbox.allocator import keep_freed_memory

def heap_bytes():
    for line in Path("/proc/self/maps").read_text().splitlines():
        if line.endswith("[heap]"):
            first, last = line.split()[0].split("-")
            return int(last, 16) - int(first, 16)

{set_up}
found = []
for size_bytes in ({small_bytes}, {large_bytes}):
    block = bytearray(size_bytes)
    held = heap_bytes()
    del block
    found.append((held, heap_bytes()))
print(json.dumps(found))
"""

MIB = 1024**2
KEPT_BYTES, SMALL_BYTES, LARGE_BYTES = 256 * MIB, 48 * MIB, 512 * MIB

needs_mallopt = pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "mallopt"), reason="this C library is not glibc"
)


def _heaps(set_up: str) -> list[tuple[int, int]]:
    """Return the heap's size with and after a small block, and with and after a large one."""
    program = PROGRAM.format(set_up=set_up, small_bytes=SMALL_BYTES, large_bytes=LARGE_BYTES)
    ended = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
    return [(held, after) for held, after in json.loads(ended.stdout)]


@needs_mallopt
def test_a_process_keeps_what_it_freed_but_no_more_than_it_was_told() -> None:
    (small, after_small), (large, after_large) = _heaps(f"keep_freed_memory({KEPT_BYTES})")
    assert SMALL_BYTES <= small == after_small
    assert large >= LARGE_BYTES
    assert after_large <= KEPT_BYTES


@needs_mallopt
def test_by_default_a_process_gives_large_blocks_back() -> None:
    (small, _), (large, _) = _heaps("")
    assert small < SMALL_BYTES
    assert large < LARGE_BYTES


def test_a_c_library_without_such_options_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _name: SimpleNamespace())
    keep_freed_memory(KEPT_BYTES)
