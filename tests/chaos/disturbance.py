"""Injection of faults in sequence, with a wait for recovery after each."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg2
import redis

from tests.chaos.cluster import Cluster, NoScan
from tests.chaos.faults import KINDS, Fault, Injected
from tests.chaos.probes import moves

LOOK_SECONDS = 0.1
Say = Callable[[str], None]


@dataclass(frozen=True)
class Record:
    """Record of one fault; `recovered_seconds` is None without a recovery."""

    number: int
    kind: str
    target: str
    detail: str
    at_seconds: float
    lasted_seconds: float
    limit_seconds: float
    recovered_seconds: float | None
    overlapped: bool
    complaint: str | None

    @property
    def is_kept(self) -> bool:
        """Whether the fault's promise held."""
        in_time = (
            self.recovered_seconds is not None and self.recovered_seconds <= self.limit_seconds
        )
        return in_time and self.complaint is None


@dataclass(frozen=True)
class _Done:
    fault: Fault
    injected: Injected
    began: float
    ended: float


def disturb(cluster: Cluster, faults: Iterable[Fault], say: Say) -> list[Record]:
    """Inject faults into a busy cluster; return the record of each."""
    records: list[Record] = []
    started = time.monotonic()
    with _work_enough(cluster), ThreadPoolExecutor(4) as threads:
        for group in _grouped(faults):
            time.sleep(group[0].gap_seconds)
            done = list(threads.map(lambda fault: _inject(cluster, fault), group))
            for record in _recoveries(done, started):
                records.append(record)
                say(line(record, cluster.ledger.outcomes()))
    return records


def line(record: Record, images: int) -> str:
    """Return a line about a fault."""
    seconds = record.recovered_seconds
    came = "NEVER RECOVERED" if seconds is None else f"{seconds:5.1f} s"
    words = f"{record.at_seconds:6.0f} s  #{record.number:<3} {record.kind:<28} {record.target:<10}"
    beside = " (with the one before)" if record.overlapped else ""
    complaint = f"  BUT {record.complaint}" if record.complaint else ""
    return f"{words} {came}  {images} images  {record.detail}{beside}{complaint}"


def _grouped(faults: Iterable[Fault]) -> Iterator[Sequence[Fault]]:
    """Yield the faults in groups that start together, mostly of one."""
    group: list[Fault] = []
    for fault in faults:
        group.append(fault)
        if not fault.overlaps:
            yield group
            group = []
    if group:
        yield group


def _inject(cluster: Cluster, fault: Fault) -> _Done:
    began = time.monotonic()
    try:
        injected = KINDS[fault.kind].inject(cluster, fault.draw)
    except (psycopg2.Error, redis.RedisError) as error:  # another fault interfered
        detail = f"cut short: {type(error).__name__}"
        injected = Injected("", moves(cluster), detail=detail)
    return _Done(fault, injected, began, time.monotonic())


def _recoveries(group: Sequence[_Done], started: float) -> Iterator[Record]:
    """Wait for each fault's recovery; overlapping faults count from the last end."""
    ended = max(done.ended for done in group)
    left = list(group)
    while left:
        for done in list(left):
            has_recovered = done.injected.recovered()
            waited = time.monotonic() - ended
            if has_recovered or waited > 2 * done.injected.limit_seconds:
                left.remove(done)
                yield _record(
                    done, waited if has_recovered else None, started, done is not group[0]
                )
        time.sleep(LOOK_SECONDS)


def _record(done: _Done, seconds: float | None, started: float, overlapped: bool) -> Record:
    return Record(
        number=done.fault.number,
        kind=done.fault.kind,
        target=done.injected.target,
        detail=done.injected.detail,
        at_seconds=round(done.began - started, 1),
        lasted_seconds=round(done.ended - done.began, 1),
        limit_seconds=done.injected.limit_seconds,
        recovered_seconds=None if seconds is None else round(seconds, 1),
        overlapped=overlapped,
        complaint=done.injected.complaint(),
    )


@contextmanager
def _work_enough(cluster: Cluster) -> Iterator[None]:
    """Request further scans when little work is left."""
    stop = threading.Event()

    def ask() -> None:
        while not stop.wait(1.0):
            try:
                if cluster.ledger.pending() < cluster.size.prefix_images:
                    cluster.scan_next()
            except (psycopg2.Error, NoScan):
                continue  # the ledger outlasts the query's retries

    thread = threading.Thread(target=ask, name="asking")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
