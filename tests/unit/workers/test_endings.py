import subprocess
import sys
import threading

from workers.endings import EXIT_STATUS, vital_thread

PROGRAM = """
import sys, threading
from workers.endings import vital_thread

def work():
    {work}

thread = vital_thread("the device", work)
thread.start()
thread.join(30)
threading.Event().wait({wait_seconds})
print("the process goes on", flush=True)
"""


def _run(work: str, wait_seconds: float) -> subprocess.CompletedProcess[str]:
    program = PROGRAM.format(work=work, wait_seconds=wait_seconds)
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
