import subprocess
import sys
import threading

import pytest

from fakesweep.workers.threads.fatal import EXIT_STATUS, vital_thread

PROGRAM = """
import sys, threading
from fakesweep.workers.threads.fatal import vital_thread

def work():
    {work}

thread = vital_thread("the device", work)
thread.start()
thread.join(30)
threading.Event().wait({wait_seconds})
print("the process goes on", flush=True)
"""

STUCK = """
import threading
from types import SimpleNamespace
from fakesweep.schema.words import Lane
from fakesweep.workers.scoring.device_queue import DeviceQueue

hang = threading.Event().wait

def start(inputs):
    {start}
    return {wait}

engine = SimpleNamespace(calls_ahead={calls_ahead})
model = SimpleNamespace(call_images=4, engine=engine, start=start)
with DeviceQueue(0.2).running() as device:
    device.submit(model, [1], Lane.BULK).result(30)
    print("the process goes on", flush=True)
"""


def _run(work: str, wait_seconds: float) -> subprocess.CompletedProcess[str]:
    return _run_program(PROGRAM.format(work=work, wait_seconds=wait_seconds))


def _run_program(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, text=True, timeout=120
    )


def test_a_process_ends_when_a_thread_it_cannot_do_without_dies() -> None:
    for error in ("raise ValueError('out of order')", "sys.exit(0)"):
        ended = _run(error, wait_seconds=60)
        said = ended.stdout + ended.stderr
        assert ended.returncode == EXIT_STATUS == 70
        assert "the process goes on" not in said
        assert "critical" in said
        assert "vital_thread_died" in said
        assert "the device" in said
        assert "out of order" in said or "SystemExit" in said


def test_a_process_goes_on_when_such_a_thread_has_done_its_work() -> None:
    ended = _run("return", wait_seconds=0)
    assert (ended.returncode, ended.stdout) == (0, "the process goes on\n")


def test_such_a_thread_holds_no_process_up_and_starts_when_it_is_told_to() -> None:
    begun = threading.Event()
    thread = vital_thread("late", begun.set)
    assert thread.daemon
    assert not begun.is_set()
    thread.start()
    thread.join()
    assert begun.is_set()


@pytest.mark.parametrize(
    ("start", "wait", "calls_ahead"),
    [("hang()", "None", 0), ("pass", "hang", 1)],
    ids=["starting", "answering"],
)
def test_a_process_ends_when_its_device_does_not_come_back_from_a_call(
    start: str, wait: str, calls_ahead: int
) -> None:
    ended = _run_program(STUCK.format(start=start, wait=wait, calls_ahead=calls_ahead))
    assert ended.returncode == EXIT_STATUS == 70
    assert "device_stuck" in ended.stdout + ended.stderr
    assert "the process goes on" not in ended.stdout
