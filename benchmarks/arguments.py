"""Listing time of files given one by one, compared with their folder.

Pairs alternate: the folder as one argument, then each file as its own argument. The result is the
median ratio. No worker runs, and no image is read.
"""

import argparse
import json
import logging
import statistics
import tempfile
import threading
import time
from pathlib import Path

import structlog

from benchmarks.machine import describe
from benchmarks.servers import Stack, fresh_stack
from fakesweep.producer.listing.scan import list_scan
from fakesweep.producer.resources import Producer, open_producer
from fakesweep.producer.scans import ScanRequest, add_scan
from fakesweep.schema.judging.catalogue import read_catalogue
from fakesweep.schema.ledger.reports.progress import progress
from fakesweep.schema.settings import Settings
from fakesweep.schema.words import Lane

FOLDERS = 100


def main() -> None:
    """Measure, print each pair and the median, and write JSON on request."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--json", help="file to write the figures to")
    asked = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    machine = describe()
    print(f"{machine['cpu']}, {machine['cores']} cores, load {machine['load_average'][0]}")
    with fresh_stack() as stack, tempfile.TemporaryDirectory(prefix="fs-files-") as folder:
        names = _files(Path(folder), asked.files)
        pairs = _pairs(stack, folder, names, asked.pairs)
    ratios = [named / whole for whole, named in pairs]
    print(f"median of the ratios {statistics.median(ratios):.2f} "
          f"({min(ratios):.2f}-{max(ratios):.2f})")  # fmt: skip
    if asked.json:
        Path(asked.json).write_text(json.dumps({"machine": machine, "seconds": pairs}), "utf-8")


def _files(folder: Path, count: int) -> list[str]:
    paths = [folder / f"{n % FOLDERS:03}" / f"{n:06}.jpg" for n in range(count)]
    for number in range(FOLDERS):
        (folder / f"{number:03}").mkdir()
    for path in paths:
        path.touch()
    return sorted(map(str, paths))


def _pairs(stack: Stack, folder: str, names: list[str], count: int) -> list[tuple[float, float]]:
    settings = Settings(database_url=stack.database_url, broker_url=stack.broker_url)
    found = []
    with open_producer(settings, read_catalogue(None)) as producer:
        _seconds(producer, (folder,), len(names))  # warm-up
        for _ in range(count):
            whole = _seconds(producer, (folder,), len(names))
            named = _seconds(producer, tuple(names), len(names))
            print(f"folder {whole:.2f} s, its files as arguments {named:.2f} s", flush=True)
            found.append((whole, named))
    return found


def _seconds(producer: Producer, sources: tuple[str, ...], images: int) -> float:
    began = time.monotonic()
    request = ScanRequest(sources, ("vit-tiny-cifake",), Lane.BULK, "default")
    scan_id = add_scan(producer, request)
    list_scan(producer, scan_id, threading.Event())
    seconds = time.monotonic() - began
    with producer.engine.connect() as connection:
        listed = progress(connection, scan_id).submitted
    if listed != images:
        raise RuntimeError(f"{listed} of {images} files were listed")
    return seconds


if __name__ == "__main__":
    main()
