import os
import subprocess
import sys

from benchmarks.memory import tree_bytes, watched

HELD = 64 * 2**20

_HOLD = f"held = b'x' * {HELD}; print(flush=True); input()"
_PARENT = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]], check=True)"


def test_the_memory_of_a_child_of_a_child_counts() -> None:
    with (
        subprocess.Popen(
            [sys.executable, "-c", _PARENT, _HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as parent,
        watched([parent.pid]) as memory,
    ):
        assert parent.stdout is not None
        parent.stdout.readline()
        assert tree_bytes([parent.pid]) > HELD
        parent.communicate(b"\n")
    assert memory.peak_bytes > 0


def test_a_process_that_is_gone_counts_nothing() -> None:
    assert tree_bytes([2**22 + 1]) == 0
    assert tree_bytes([os.getpid()]) > 0
