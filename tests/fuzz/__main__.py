"""Fuzzer of image files: `python -m tests.fuzz --minutes 10 --seed 1`."""

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from sqlalchemy import Engine

from fakesweep.schema.ledger.connection import open_engine
from fakesweep.schema.migrations import upgrade
from fakesweep.schema.settings import Settings
from fakesweep.workers.pipeline.resources import Work
from fakesweep.workers.process.startup import open_work
from tests.fuzz.mutators import broken
from tests.fuzz.seeds import seeds
from tests.fuzz.sweep import Tally, sweep, time_each
from tests.support.servers import postgres_server

BATCH_FILES = 500


def main() -> int:
    """Run batches of broken files until the time is up; exit with 1 after an error."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    asked = parser.parse_args()
    click.echo(f"seed {asked.seed}, {asked.minutes:g} minutes")
    folder = Path(tempfile.mkdtemp(prefix=f"fuzz-{asked.seed}-"))
    tally, sound = Tally(), seeds()
    ends_at, number = time.monotonic() + 60 * asked.minutes, 0
    with opened(folder) as (engine, work):
        while time.monotonic() < ends_at:
            contents = [broken(asked.seed, number + n, sound) for n in range(BATCH_FILES)]
            batch = folder / f"{number:07}"
            lately = sweep(batch, contents, engine, work)
            time_each(batch, work, lately)
            tally.add(lately)
            if not (lately.faults or lately.losses):
                shutil.rmtree(batch)
            number += BATCH_FILES
            click.echo(f"{number} broken files, {dict(lately.endings)}")
    _report(tally, number)
    if not (tally.faults or tally.losses):
        shutil.rmtree(folder)
    return int(bool(tally.faults))


def _report(tally: Tally, broken_files: int) -> None:
    click.echo(f"\n{tally.files} files ({broken_files} broken), each in one row unless said below")
    for ending, count in tally.endings.most_common():
        click.echo(f"  {count:8} {ending}")
    click.echo(f"loaders lost: {tally.losses.total()}")
    for reason, count in tally.losses.most_common():
        click.echo(f"  {count:8} {reason}")
    seconds, path = tally.slowest
    click.echo(f"slowest: {seconds:.2f} s, {path}")
    click.echo("\n  ".join([f"promises broken: {len(tally.faults)}", *tally.faults]))


@contextmanager
def opened(folder: Path) -> Iterator[tuple[Engine, Work]]:
    """Yield a worker's resources on a fresh PostgreSQL server."""
    with postgres_server() as database_url:
        settings = Settings(
            database_url=database_url,
            broker_url="redis://127.0.0.1:1/0",
            device="cpu",
            loaders=2,
            file_roots=(folder,),
        )
        engine = open_engine(database_url, "fuzz", pool_size=4)
        with engine.begin() as connection:
            upgrade(connection)
        with open_work(settings) as work:
            yield engine, work
        engine.dispose()


if __name__ == "__main__":
    sys.exit(main())
