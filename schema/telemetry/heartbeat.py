"""The heartbeat of a process: a small file of its state, read by `fakesweep health`.

Times are of `time.monotonic`, which all processes of a machine share.
"""

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path

import structlog

from fakesweep.schema.private_files import runtime_folder, runtime_folders
from fakesweep.schema.words import Role

BEAT_SECONDS = 3.0
SILENT_SECONDS = 30.0
LOOP_SECONDS = 60.0
"""Age of the last loop after which a process counts as stuck, unless the broker is away."""

START_SECONDS = 1_800.0
"""Limit of a start, which may include a model's download."""

LISTING = "listing of scan"
"""Prefix in the names of threads that list a scan."""

LEAVE_SECONDS = 30.0
"""Limit of a shutdown after its grace period."""

log = structlog.get_logger(__name__)


class Phase(StrEnum):
    """The phase of a process."""

    STARTING = "starting"
    RUNNING = "running"
    LEAVING = "leaving"


@dataclass(slots=True)
class Heartbeat:
    """The state of a process, which the process updates and `beating` writes.

    `looped_at` is the last pass of its loop. `moved_at` is the last step of an `in_flight` batch;
    `step_seconds` limits the time between two steps. `threads` maps watched threads, by task, to
    their last step.
    """

    role: Role
    step_seconds: float = 0.0
    grace_seconds: float = 0.0
    pid: int = field(default_factory=os.getpid)
    born_ticks: int = field(default_factory=lambda: _born_ticks(os.getpid()) or 0)
    phase: Phase = Phase.STARTING
    phase_at: float = field(default_factory=time.monotonic)
    beat_at: float = field(default_factory=time.monotonic)
    looped_at: float = field(default_factory=time.monotonic)
    moved_at: float = field(default_factory=time.monotonic)
    in_flight: int = 0
    threads: dict[str, float] = field(default_factory=dict)
    ledger_away_since: float | None = None
    broker_missed_at: float | None = None

    def enter(self, phase: Phase) -> None:
        """Enter a phase."""
        self.phase, self.phase_at = phase, time.monotonic()

    def tick(self) -> None:
        """Record a pass of the process's loop."""
        self.looped_at = time.monotonic()
        if self.phase is Phase.STARTING:
            self.enter(Phase.RUNNING)


@contextmanager
def beating(
    heartbeat: Heartbeat, look: Callable[[Heartbeat], None] = lambda _: None
) -> Iterator[None]:
    """Write the heartbeat every few seconds until the context ends; `look` updates it first.

    A failed write is logged, and the process goes on.
    """
    stop = threading.Event()

    def beat() -> None:
        is_failing = False
        while True:
            look(heartbeat)
            heartbeat.beat_at = time.monotonic()
            try:
                _write(heartbeat)
                is_failing = False
            except OSError as error:
                if not is_failing:
                    log.warning("heartbeat_not_written", reason=str(error))
                is_failing = True
            if stop.wait(BEAT_SECONDS):
                return

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        with suppress(OSError):
            _file(heartbeat.role, heartbeat.pid).unlink()


def read_heartbeats(role: Role) -> list[Heartbeat]:
    """Return the heartbeats of this user's live processes; delete the files of dead ones.

    Raises:
        OSError: the folder or a file cannot be read.
    """
    heartbeats = []
    found = [file for folder in runtime_folders() for file in folder.glob(f"{role}-*.json")]
    for file in sorted(found):
        try:
            heartbeat = _parsed(file)
        except FileNotFoundError:
            continue
        if _born_ticks(heartbeat.pid) == heartbeat.born_ticks:
            heartbeats.append(heartbeat)
        else:
            file.unlink(missing_ok=True)
    return heartbeats


def complaint(heartbeat: Heartbeat, now: float) -> str | None:
    """Return why a process makes no progress, None where it does or waits for a server."""
    if now - heartbeat.beat_at > SILENT_SECONDS:
        return f"has not been heard of for {now - heartbeat.beat_at:.0f} s"
    phase_seconds = now - heartbeat.phase_at
    match heartbeat.phase:
        case Phase.STARTING:
            late = phase_seconds > START_SECONDS
            return f"has been starting for {phase_seconds:.0f} s" if late else None
        case Phase.LEAVING:
            late = phase_seconds > heartbeat.grace_seconds + LEAVE_SECONDS
            return f"was told to leave {phase_seconds:.0f} s ago" if late else None
    if now - heartbeat.looped_at > LOOP_SECONDS and not _misses_broker(heartbeat, now):
        return f"has not looked for work for {now - heartbeat.looped_at:.0f} s"
    return _stuck(heartbeat, now)


def _stuck(heartbeat: Heartbeat, now: float) -> str | None:
    for name, moved_at in heartbeat.threads.items():
        if now - moved_at > heartbeat.step_seconds:
            return f"has not got on with its {name} for {now - moved_at:.0f} s"
    still = now - heartbeat.moved_at
    if (
        heartbeat.in_flight
        and heartbeat.ledger_away_since is None
        and still > heartbeat.step_seconds
    ):
        return f"holds {heartbeat.in_flight} batches that have not moved for {still:.0f} s"
    return None


def activity(heartbeat: Heartbeat, now: float) -> str:
    """Return the activity of a healthy process in a few words."""
    if heartbeat.phase is not Phase.RUNNING:
        return f"{heartbeat.phase} for {now - heartbeat.phase_at:.0f} s"
    if heartbeat.ledger_away_since is not None:
        return f"waiting for the database for {now - heartbeat.ledger_away_since:.0f} s"
    if _misses_broker(heartbeat, now):
        return "waiting for the broker"
    if any(name.startswith(LISTING) for name in heartbeat.threads):
        listed = sum(name.startswith(LISTING) for name in heartbeat.threads)
        return f"running, {listed} scans listed"
    if heartbeat.in_flight:
        still = now - heartbeat.moved_at
        return f"working on {heartbeat.in_flight} batches, moved {still:.0f} s ago"
    return "running"


def _misses_broker(heartbeat: Heartbeat, now: float) -> bool:
    missed_at = heartbeat.broker_missed_at
    return missed_at is not None and now - missed_at < LOOP_SECONDS


def _write(heartbeat: Heartbeat) -> None:
    file = _file(heartbeat.role, heartbeat.pid)
    fresh = file.with_suffix(".new")
    fresh.write_text(json.dumps(asdict(heartbeat)), "utf-8")
    fresh.replace(file)


def _parsed(file: Path) -> Heartbeat:
    try:
        heartbeat = Heartbeat(**json.loads(file.read_text("utf-8")))
        heartbeat.role, heartbeat.phase = Role(heartbeat.role), Phase(heartbeat.phase)
    except (TypeError, ValueError) as error:
        raise OSError(f"another version's heartbeat lies in {file.parent}: {error}") from error
    return heartbeat


def _file(role: Role, pid: int) -> Path:
    return runtime_folder() / f"{role}-{pid}.json"


def _born_ticks(pid: int) -> int | None:
    """Return the start time of a process, None where it has ended; it tells reused pids apart.

    Source: proc_pid_stat(5), the fields 3 (state) and 22 (starttime).
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])
