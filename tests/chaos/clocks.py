"""Shifted clocks of processes, by libfaketime where installed."""

from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from tests.chaos.processes import lives

_SHARED = Path("/dev/shm")
_LEFT_BEHIND = ("faketime_shm_", "sem.faketime_sem_")


def clock_apart(seconds: int) -> dict[str, str]:
    """Return the variables that shift a process' clock; empty without libfaketime.

    Only the time of day shifts; the monotonic clock stays.
    """
    spec = find_spec("libfaketime") if seconds else None
    for place in (spec and spec.submodule_search_locations) or []:
        library = Path(place) / "vendor/libfaketime/src/libfaketime.so.1"
        if library.exists():
            wanted = {"LD_PRELOAD": str(library), "FAKETIME": f"{seconds:+d}s"}
            return {**wanted, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    return {}


def clear_leftovers() -> None:
    """Remove the shared memory that libfaketime leaves after a killed process."""
    for prefix in _LEFT_BEHIND:
        for path in _SHARED.glob(f"{prefix}[0-9]*"):
            if not lives(int(path.name.removeprefix(prefix))):
                with suppress(OSError):
                    path.unlink()
