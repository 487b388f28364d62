"""Sends broken files through the worker's pipeline and checks that each has one row."""

import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import structlog
from sqlalchemy import Engine

from fakesweep.schema.failures import FailureCode
from fakesweep.workers.pipeline.batch import run_batch
from fakesweep.workers.pipeline.resources import Work
from fakesweep.workers.sandbox.losses import LoaderLost
from tests.support.batches import publish_scan, result_rows, uris_of
from tests.support.photographs import photograph

SOUND_EVERY = 16
"""Interval of sound files among the broken ones; they must be classified."""

ENDINGS = {
    None, FailureCode.EMPTY, FailureCode.NOT_AN_IMAGE, FailureCode.CORRUPT,
    FailureCode.UNSUPPORTED, FailureCode.TOO_MANY_PIXELS, FailureCode.MODEL_FAILED,
}  # fmt: skip
"""Allowed outcomes of an existing, readable file with any bytes."""


@dataclass(slots=True)
class Tally:
    """Counts of the files' outcomes.

    `faults` describes files that broke a promise. `losses` counts lost loaders by cause: one in
    the chunk, and one for the file alone.
    """

    endings: Counter[str] = field(default_factory=Counter)
    losses: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    slowest: tuple[float, str] = (0.0, "none")

    @property
    def files(self) -> int:
        """Number of files."""
        return self.endings.total()

    def add(self, other: "Tally") -> None:
        """Add another tally."""
        self.endings.update(other.endings)
        self.losses.update(other.losses)
        self.faults.extend(other.faults)
        self.slowest = max(self.slowest, other.slowest)


def sweep(folder: Path, contents: Sequence[bytes], engine: Engine, work: Work) -> Tally:
    """Write files into a new folder, run them as one batch, and count their outcomes."""
    tally = Tally()
    folder.mkdir(parents=True)
    for number, content in enumerate(contents):
        (folder / f"{number:05}").write_bytes(content)
        if number % SOUND_EVERY == 0:
            (folder / f"{number:05}-sound").write_bytes(photograph(number))
    paths, uris = sorted(folder.iterdir()), uris_of(folder)
    [message] = publish_scan(engine, uris, size=len(uris))
    with structlog.testing.capture_logs() as lines:
        run_batch(message, work)
    tally.losses.update(line["reason"] for line in lines if line["event"] == "loader_lost")
    rows = result_rows(engine, message.scan_id)
    if [row["uri"] for row in rows] != uris:
        tally.faults.append(f"{folder}: {len(uris)} files, {len(rows)} rows")
    for path, row in zip(paths, rows, strict=False):
        _judge(path, row, tally)
    return tally


def time_each(folder: Path, work: Work, tally: Tally) -> None:
    """Decode each file alone, to find the slowest."""
    for path, uri in zip(sorted(folder.iterdir()), uris_of(folder), strict=True):
        started = time.perf_counter()
        with suppress(LoaderLost), work.loaders.one() as loader:
            list(loader.fetch([uri]))
            list(loader.decode([0], [None]))
        tally.slowest = max(tally.slowest, (time.perf_counter() - started, str(path)))


def _judge(path: Path, row: dict[str, object], tally: Tally) -> None:
    code, said = row["failure_code"], str(row["failure_message"])
    tally.endings[str(code or row["status"])] += 1
    if code not in ENDINGS:
        tally.faults.append(f"{path} ended as {code}: {said}")
    if path.name.endswith("sound") and code is not None:
        tally.faults.append(f"{path} is sound and ended as {code}: {said}")
    if not said.isprintable():
        tally.faults.append(f"{path} has a message that is no printable line: {said!r}")
