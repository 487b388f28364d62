"""Sends broken files through the worker's whole pipeline and holds each to its one row."""

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
"""Among the broken files stands a sound one here and there, which must be classified."""

ENDINGS = {
    None, FailureCode.EMPTY, FailureCode.NOT_AN_IMAGE, FailureCode.CORRUPT,
    FailureCode.UNSUPPORTED, FailureCode.TOO_MANY_PIXELS, FailureCode.MODEL_FAILED,
}  # fmt: skip
"""What may become of a file that is there, and can be read, whatever its bytes are."""


@dataclass(slots=True)
class Tally:
    """What became of the files so far.

    `faults` are files that broke a promise, in words.

    `losses` are loaders that died or hung, by what is known of it: one in the chunk, and one where
    the file stood alone.
    """

    endings: Counter[str] = field(default_factory=Counter)
    losses: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    slowest: tuple[float, str] = (0.0, "none")

    @property
    def files(self) -> int:
        """How many there were."""
        return self.endings.total()

    def add(self, other: "Tally") -> None:
        """Count another tally in."""
        self.endings.update(other.endings)
        self.losses.update(other.losses)
        self.faults.extend(other.faults)
        self.slowest = max(self.slowest, other.slowest)


def sweep(folder: Path, contents: Sequence[bytes], engine: Engine, work: Work) -> Tally:
    """Write files into a new folder, run them as one batch, and tell what became of them."""
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
    """Decode each file by itself, to say which one is the slowest."""
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
