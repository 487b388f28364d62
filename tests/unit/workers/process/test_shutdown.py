import signal
import subprocess
import sys

import pytest

PROGRAM = """
import signal, threading
from fakesweep.workers.process.shutdown import Shutdown

leaving = Shutdown({grace_seconds}, lambda: print("handed back", flush=True))
leaving.exit_status = {status}
signal.signal(signal.SIGTERM, lambda *_: leaving.tell("SIGTERM"))
print("ready", flush=True)
while not threading.Event().wait(60):
    pass
"""


def start(grace_seconds: float, status: int = 0) -> "subprocess.Popen[str]":
    program = PROGRAM.format(grace_seconds=grace_seconds, status=status)
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def heard(process: "subprocess.Popen[str]", word: str) -> str:
    """Return the next line, which must contain a word."""
    assert process.stdout is not None
    line = process.stdout.readline()
    assert word in line
    return line


@pytest.mark.parametrize("status", [0, 70])
def test_after_the_grace_period_all_is_handed_back_and_the_process_ends(status: int) -> None:
    with start(0.1, status) as process:
        process.send_signal(signal.SIGTERM)
        assert "grace_seconds=0.1" in heard(process, "shutdown_started")
        heard(process, "grace_period_over")
        heard(process, "handed back")
        assert process.wait(20) == status


def test_a_second_signal_does_not_wait_for_the_end_of_the_grace_period() -> None:
    with start(600) as process:
        process.send_signal(signal.SIGTERM)
        heard(process, "shutdown_started")
        process.send_signal(signal.SIGTERM)
        assert "SIGTERM" in heard(process, "shutdown_forced")
        heard(process, "handed back")
        assert process.wait(20) == 0
