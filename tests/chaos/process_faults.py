"""Faults of processes: workers, their loaders, producers."""

import math
import os
import time
from random import Random
from signal import SIGCONT, SIGKILL, SIGSTOP, SIGTERM

import psycopg2

from fakesweep.stack.processes import wait_for
from fakesweep.workers.sandbox.pool import FETCH_SLACK_SECONDS
from tests.chaos.cluster import FETCH_DEADLINE_SECONDS, GRACE_SECONDS, LEASE_SECONDS, Cluster
from tests.chaos.faults import LIMIT_SECONDS, Injected, fault
from tests.chaos.probes import both, finished, moves, published
from tests.chaos.processes import Supervised, children_of, lives, push

LEAVE_SLACK_SECONDS = 5.0
LOADER_SECONDS = FETCH_DEADLINE_SECONDS + FETCH_SLACK_SECONDS
"""Time after which a worker abandons an unresponsive loader."""


@fault(share=6)
def worker_killed(cluster: Cluster, draw: Random) -> Injected:
    worker = draw.choice(cluster.workers)
    pid = worker.push(SIGKILL)
    held = cluster.ledger.held_by(pid)
    return Injected(worker.name, finished(cluster, held), detail=f"held {len(held)} batches")


@fault(share=3)
def worker_terminated(cluster: Cluster, draw: Random) -> Injected:
    worker = draw.choice(cluster.workers)
    held = cluster.ledger.held_by(worker.pid)
    left = _left(worker, worker.push(SIGTERM), GRACE_SECONDS + LEAVE_SLACK_SECONDS)
    return Injected(
        worker.name,
        finished(cluster, held),
        detail=f"held {len(held)} batches, left after {left:.1f} s",
        complaint=lambda: _late(left, GRACE_SECONDS + LEAVE_SLACK_SECONDS),
    )


@fault(share=2)
def worker_terminated_twice(cluster: Cluster, draw: Random) -> Injected:
    worker = draw.choice(cluster.workers)
    held = cluster.ledger.held_by(worker.pid)
    pid = worker.push(SIGTERM)
    time.sleep(draw.uniform(0.1, 1.0))
    if pid is not None:
        push(pid, SIGTERM)
    left = _left(worker, pid, GRACE_SECONDS + LEAVE_SLACK_SECONDS)
    return Injected(
        worker.name,
        finished(cluster, held),
        detail=f"held {len(held)} batches, left {left:.1f} s after the second signal",
        complaint=lambda: _late(left, LEAVE_SLACK_SECONDS),
    )


@fault(share=4)
def worker_frozen(cluster: Cluster, draw: Random) -> Injected:
    """Freeze a worker for longer than its lease, then thaw it."""
    worker = draw.choice(cluster.workers)
    worker.thawed_at = math.inf
    pid = worker.push(SIGSTOP)
    held = cluster.ledger.held_by(pid)
    seconds = LEASE_SECONDS + draw.uniform(4.0, 20.0)
    time.sleep(seconds)
    if pid is not None:
        push(pid, SIGCONT)
    worker.thawed_at = time.monotonic()
    detail = f"held {len(held)} batches, for {seconds:.0f} s"
    return Injected(worker.name, finished(cluster, held), detail=detail)


@fault(share=5)
def loader_killed(cluster: Cluster, draw: Random) -> Injected:
    worker = draw.choice(cluster.workers)
    pid = worker.pid
    loaders = _loaders(pid)
    if loaders:
        push(draw.choice(loaders), SIGKILL)
    held = cluster.ledger.held_by(pid)
    return Injected(
        worker.name,
        finished(cluster, held),
        detail=f"one of {len(loaders)} loaders, {len(held)} batches held",
        complaint=lambda: _ended(worker, pid),
    )


@fault(share=2)
def loader_frozen(cluster: Cluster, draw: Random) -> Injected:
    """Freeze a bulk loader until its worker abandons it."""
    worker = draw.choice(cluster.workers)
    pid = worker.pid
    loaders = [loader for loader in _loaders(pid) if _niceness(loader) > _niceness(pid or 0)]
    chosen = draw.choice(loaders) if loaders else None
    if chosen is not None:
        push(chosen, SIGSTOP)
    held = cluster.ledger.held_by(pid)
    return Injected(
        worker.name,
        both(lambda: not lives(chosen), finished(cluster, held)),
        limit_seconds=LOADER_SECONDS + LIMIT_SECONDS,
        detail=f"given up after {LOADER_SECONDS:g} s at most",
        complaint=lambda: _ended(worker, pid),
    )


@fault(share=4)
def producer_killed(cluster: Cluster, draw: Random) -> Injected:
    """Kill one producer or all of them."""
    chosen = cluster.producers if draw.random() < 0.5 else [draw.choice(cluster.producers)]
    for producer in chosen:
        producer.push(SIGKILL)
    return Injected(_names(chosen), published(cluster))


@fault(share=4)
def producer_killed_mid_listing(cluster: Cluster, draw: Random) -> Injected:
    """Kill all producers in the middle of a listing."""
    scan_id = cluster.scan_next()
    wanted = draw.randrange(1, cluster.size.prefix_images // 2)
    wait_for(lambda: _listed(cluster, scan_id) >= wanted, LIMIT_SECONDS)
    for producer in cluster.producers:
        producer.push(SIGKILL)
    recorded = _listed(cluster, scan_id)

    def whole() -> bool:
        return _listed(cluster, scan_id) == cluster.size.prefix_images

    return Injected(
        _names(cluster.producers),
        both(whole, moves(cluster)),
        detail=f"after {recorded} of {cluster.size.prefix_images} images of scan {scan_id}",
    )


def _left(worker: Supervised, pid: int | None, seconds: float) -> float:
    """Wait for a process to end; return the seconds since it could receive the signal."""
    told = time.monotonic()
    if not wait_for(lambda: not lives(pid), seconds + LEAVE_SLACK_SECONDS):
        worker.push(SIGKILL)  # like Kubernetes
    return max(0.0, time.monotonic() - max(told, worker.thawed_at))


def _late(took: float, allowed: float) -> str | None:
    return f"left after {took:.1f} s, {allowed:g} s are allowed" if took > allowed else None


def _ended(worker: Supervised, pid: int | None) -> str | None:
    if pid is None or worker.pid == pid or worker.was_told(pid):
        return None
    return f"{worker.name} ended with its loader"


def _loaders(pid: int | None) -> list[int]:
    return [] if pid is None else children_of(pid, b"fakesweep.workers.sandbox.process")


def _niceness(pid: int) -> int:
    try:
        return os.getpriority(os.PRIO_PROCESS, pid)
    except ProcessLookupError:
        return 0


def _listed(cluster: Cluster, scan_id: int) -> int:
    query = "SELECT count(*) FROM ledger.images WHERE scan_id = %s"
    try:
        [(count,)] = cluster.ledger.ask(query, scan_id)
    except psycopg2.Error:
        return 0
    return int(count)


def _names(chosen: list[Supervised]) -> str:
    return ", ".join(one.name for one in chosen)
