"""The worker process that a scan starts on the local stack, and its end."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from fakesweep.schema.errors import ScanError, StackError
from fakesweep.schema.private_files import new_file, own_folder
from fakesweep.schema.settings import PREFIX, Settings

END_SECONDS = 10.0
"""Time for a worker to release its batches and exit, after its grace period."""

KEPT_LOGS = 20


@dataclass(slots=True)
class Worker:
    """A running worker process, its log file, and its grace period."""

    process: subprocess.Popen[bytes]
    log: Path
    grace_seconds: float
    is_told: bool = False

    def check(self) -> None:
        """Check that the worker is alive.

        Raises:
            ScanError: the worker has ended; the message has its reason.
        """
        if self.process.poll() is not None:
            raise ScanError(f"the worker stopped: {last_words(self.log)} (its log: {self.log})")

    def tell(self) -> None:
        """Send SIGTERM once: the worker finishes its batches; a second would cut them off."""
        if not self.is_told:
            self.is_told = True
            self.process.terminate()

    def end(self) -> None:
        """Stop the worker and wait; at Ctrl-C it releases its batches at once."""
        self.tell()
        try:
            self.process.wait(self.grace_seconds + END_SECONDS)
        except KeyboardInterrupt:
            self.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(END_SECONDS)
            raise
        except subprocess.TimeoutExpired:
            pass
        finally:
            self.process.kill()
            self.process.wait()


@contextmanager
def running_worker(
    settings: Settings, models: Sequence[str], scan_id: int | None = None
) -> Iterator[Worker]:
    """Run a worker with these models, for this scan alone, within the context.

    It has its own session, so that Ctrl-C reaches the scan only. It ends at the end of its standard
    input, so it does not outlive a killed scan.
    """
    log, written = _new_log(settings.home)
    command = [sys.executable, "-P", "-m", "fakesweep", "worker", "--until-stdin-ends"]
    if scan_id is not None:
        command += ["--only-scan", str(scan_id)]
    for model in models:
        command += ["--model", model]
    with written as output:
        process = subprocess.Popen(  # noqa: S603 - our own command, and arguments are no shell's
            command,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=_environment(settings),
            start_new_session=True,
        )
    worker = Worker(process, log, settings.grace_seconds)
    try:
        yield worker
    finally:
        worker.end()
        if process.stdin is not None:
            process.stdin.close()


def _new_log(home: Path) -> tuple[Path, BinaryIO]:
    """Create a log in a private folder, and delete the oldest.

    Root gets a folder of its own, since `logs` belongs to the servers' account.

    Raises:
        StackError: the log cannot be written.
    """
    folder, name = home / "logs", f"worker-{time.strftime('%Y%m%dT%H%M%S')}-{os.getpid()}.log"
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        if folder.exists() and folder.stat().st_uid != os.geteuid():
            folder = home / f"logs-{os.geteuid()}"
        own_folder(folder, close=True)
        for old in sorted(folder.glob("worker-*.log"))[:-KEPT_LOGS]:
            old.unlink(missing_ok=True)
        return folder / name, new_file(folder / name)
    except OSError as error:
        raise StackError(
            f"the worker's log cannot be written ({error}); set FAKESWEEP_HOME to a folder of "
            f"this user's own"
        ) from error


def last_words(log: Path) -> str:
    """Return why a worker ended: the reason of its last error, else its last line."""
    lines = [line.strip() for line in log.read_text("utf-8", "replace").splitlines()]
    said = [line for line in lines if line]
    for line in reversed(said):
        if line.startswith("fakesweep: "):
            return line.removeprefix("fakesweep: ")
        reason = _reason(line)
        if reason is not None:
            return reason
    return said[-1] if said else "it said nothing"


def end_with_stdin(grace_seconds: float) -> None:
    """End this process at the end of its standard input: by SIGTERM, then by `_exit`."""

    def wait() -> None:
        while os.read(0, 1024):
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(grace_seconds + END_SECONDS)
        os._exit(1)

    threading.Thread(target=wait, name="stdin", daemon=True).start()


def _environment(settings: Settings) -> dict[str, str]:
    ours = {
        "DATABASE_URL": settings.database_url or "",
        "BROKER_URL": settings.broker_url or "",
        "HOME": str(settings.home),
        "LOG_FORMAT": "json",
        "FILE_ROOTS": ",".join(map(str, settings.file_roots)) or "/",
    }
    return os.environ | {PREFIX + name: value for name, value in ours.items()}


def _reason(line: str) -> str | None:
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    if not isinstance(entry, dict) or entry.get("level") not in ("error", "critical"):
        return None
    return str(entry.get("reason") or entry.get("event"))
