"""`python -m tests.chaos`: a seeded run of faults; exits with 1 if a check fails."""

import argparse
import json
import shlex
import signal
import sys
import time
from pathlib import Path

import click

from tests.chaos.cluster import Size
from tests.chaos.faults import KINDS
from tests.chaos.run import Plan, run


def main() -> int:
    """Run the requested faults and print the report."""
    asked = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # unwinds, and so stops the servers
    size = Size(
        asked.seed, asked.workers, asked.producers, asked.scan_images, asked.poison, asked.apart
    )
    command = shlex.join(["python", "-m", "tests.chaos", *sys.argv[1:]])
    plan = Plan(
        size, asked.faults, asked.images, asked.overlap, asked.latency, tuple(asked.only), command
    )
    report = run(plan, lambda words: click.echo(f"{time.strftime('%H:%M:%S')} {words}"))
    click.echo("\n" + report.as_markdown())
    if asked.json:
        asked.json.parent.mkdir(parents=True, exist_ok=True)
        asked.json.write_text(json.dumps(report.as_json(), indent=2) + "\n")
    return 0 if report.passed else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    add = parser.add_argument
    add("--seed", type=int, default=1, help="a seed determines the schedule of faults")
    add("--faults", type=int, default=20, help="number of faults")
    add("--images", type=int, default=1000, help="smallest number; long faults need more")
    add("--overlap", type=float, default=0.0, help="share of faults that start with the next one")
    add("--only", action="append", default=[], choices=sorted(KINDS), help="draw these alone")
    add("--poison", type=int, default=0, help="images that kill every worker that gets them")
    add("--apart", type=int, default=0, help="clock difference in seconds, by libfaketime")
    add("--workers", type=int, default=3)
    add("--producers", type=int, default=2)
    add("--scan-images", type=int, default=200, help="images of one scan")
    add("--latency", type=float, default=1.0, help="storage's seconds for each image")
    add("--json", type=Path, help="also write the report to this file")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
