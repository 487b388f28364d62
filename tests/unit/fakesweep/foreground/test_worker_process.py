import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fakesweep.foreground.worker_process import Worker, last_words, running_worker
from fakesweep.schema.errors import ScanError
from fakesweep.schema.settings import read_settings
from tests.support.servers import wait_until


def _logged(folder: Path, *lines: str) -> Path:
    log = folder / "worker.log"
    log.write_text("\n".join(lines) + "\n", "utf-8")
    return log


def test_the_reason_of_the_last_error_in_the_log_counts(tmp_path: Path) -> None:
    log = _logged(
        tmp_path,
        json.dumps({"level": "error", "event": "model_refused", "reason": "an earlier one"}),
        json.dumps({"level": "critical", "event": "worker_cannot_start", "reason": "no such file"}),
        json.dumps({"level": "info", "event": "shutdown_started"}),
        "",
    )
    assert last_words(log) == "no such file"


def test_an_error_line_of_the_command_counts(tmp_path: Path) -> None:
    assert last_words(_logged(tmp_path, "noise", "fakesweep: it broke", "more")) == "it broke"


def test_without_an_error_the_last_line_counts(tmp_path: Path) -> None:
    assert last_words(_logged(tmp_path, "first", "Segmentation fault", "")) == "Segmentation fault"


def test_a_worker_that_ended_silently_is_reported_so(tmp_path: Path) -> None:
    assert last_words(_logged(tmp_path)) == "it said nothing"


def test_a_worker_that_ended_stops_the_scan_with_its_reason(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    process.wait()
    with pytest.raises(ScanError, match=r"the worker stopped: it broke .*worker\.log"):
        Worker(process, _logged(tmp_path, "fakesweep: it broke"), 25).check()


def test_a_running_worker_is_no_reason_to_stop(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    Worker(process, tmp_path / "worker.log", 25).check()
    process.communicate()


def test_a_worker_that_does_not_stop_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fakesweep.foreground.worker_process.END_SECONDS", 0.1)
    deaf = (
        "import signal, sys; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); input()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", deaf], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"deaf\n"
    Worker(process, tmp_path / "worker.log", 0).end()
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def test_a_worker_gets_one_signal_for_repeated_stops(tmp_path: Path) -> None:
    counting = (
        "import signal; signal.signal(15, lambda *_: print('told', flush=True)); "
        "print('ready', flush=True); input(); print('done', flush=True)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", counting], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    worker = Worker(process, tmp_path / "worker.log", 25)
    worker.tell()
    assert process.stdout.readline() == b"told\n"
    worker.tell()
    said, _ = process.communicate(b"\n")
    assert said == b"done\n"


def test_a_process_ends_with_its_standard_input() -> None:
    program = (
        "import time; from fakesweep.foreground.worker_process import end_with_stdin; "
        "end_with_stdin(25); "
        "print(1, flush=True); time.sleep(600)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.communicate(timeout=30)
    assert process.returncode == -signal.SIGTERM


def test_a_process_that_ignores_its_signal_ends_with_its_standard_input() -> None:
    program = (
        "import signal, time; from fakesweep.foreground import worker_process; "
        "worker_process.END_SECONDS = 0; signal.signal(15, signal.SIG_IGN); "
        "worker_process.end_with_stdin(0.1); print(1, flush=True); time.sleep(600)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"1\n"
    process.communicate(timeout=30)
    assert process.returncode == 1


def test_a_worker_that_cannot_start_leaves_its_reason_in_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKESWEEP_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("FAKESWEEP_CATALOGUE", str(tmp_path / "absent.toml"))
    settings = read_settings()
    with running_worker(settings, ["vit-tiny-cifake"]) as worker:
        wait_until(lambda: worker.process.poll() is not None, "the worker has ended")
        with pytest.raises(ScanError, match=r"absent\.toml cannot be read"):
            worker.check()
    assert worker.log.parent == tmp_path / "home" / "logs"


def test_the_oldest_logs_are_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKESWEEP_HOME", str(tmp_path))
    monkeypatch.setattr("fakesweep.foreground.worker_process.KEPT_LOGS", 2)
    logs = tmp_path / "logs"
    logs.mkdir()
    for number in range(5):
        (logs / f"worker-2020010{number}T000000-1.log").touch()
    with running_worker(read_settings(), []) as worker:
        kept = sorted(path.name for path in logs.iterdir())
    assert kept[:2] == ["worker-20200103T000000-1.log", "worker-20200104T000000-1.log"]
    assert kept[2:] == [worker.log.name]
