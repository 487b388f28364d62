"""The suite under other clocks: `python -m tests.clocks [pytest's arguments]`.

No test may depend on the hour, the day or the zone. Each moment is set for pytest and everything it
starts, servers too, by libfaketime; durations run as ever.
"""

import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

from tests.chaos.clocks import clear_leftovers, clock_apart

MOMENTS = (
    "2026-12-02T02:30+00:00",  # past three in Berlin, the hour of many schedules
    "2026-12-02T23:57+00:00",  # midnight comes while tests run
    "2026-12-03T12:30+00:00",
    "2028-02-29T10:00+00:00",  # a leap day
    "2027-03-28T00:57+00:00",  # clocks go forward in Berlin
    "2027-10-31T00:57+00:00",  # and back
)


def main(arguments: Sequence[str]) -> int:
    """Run pytest at each moment; return how many of the runs failed."""
    return sum(_failed(datetime.fromisoformat(moment), arguments) for moment in MOMENTS)


def _failed(moment: datetime, arguments: Sequence[str]) -> bool:
    apart = clock_apart(round((moment - datetime.now(UTC)).total_seconds()))
    if not apart:
        sys.exit("libfaketime is missing; `make .venv/dev` installs it")
    words = ["env", *(f"{name}={value}" for name, value in apart.items())]
    sys.stdout.write(f"\nthe clock begins at {moment:%Y-%m-%d %H:%M} UTC\n")
    sys.stdout.flush()
    done = subprocess.run([*words, sys.executable, "-m", "pytest", *arguments], check=False)
    clear_leftovers()
    return done.returncode != 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
