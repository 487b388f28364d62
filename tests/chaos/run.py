"""A run, from its first fault to its last check."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from fakesweep.stack.processes import wait_for
from tests.chaos import message_faults, process_faults, server_faults, source_faults
from tests.chaos.checks import (
    Check,
    check_failures,
    check_queues,
    check_recoveries,
    check_rows,
    check_watch,
)
from tests.chaos.clocks import clock_apart
from tests.chaos.cluster import Cluster, Size, running_cluster
from tests.chaos.comparison import check_scores
from tests.chaos.disturbance import disturb
from tests.chaos.faults import schedule
from tests.chaos.report import Report
from tests.chaos.traces import check_traces, read_logs, read_work, uncalled
from tests.chaos.watch import Watch

KINDS_LIVE_IN = (message_faults, process_faults, server_faults, source_faults)
FINISH_SECONDS = 300.0
SETTLE_SECONDS = 60.0
PASSING = ("unavailable", "timed_out")
"""Failure codes of images whose storage was faulty for longer than their retries."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """Options of a run."""

    size: Size
    faults: int
    images: int
    overlap: float = 0.0
    latency_seconds: float = 1.0
    only: Sequence[str] = ()
    command: str = ""


def run(plan: Plan, say: Say) -> Report:
    """Disturb a cluster as planned, let it finish, and check the promises."""
    with running_cluster(plan.size, say) as cluster:
        watch = Watch(cluster.ledger, cluster.broker)
        watch.start()
        try:
            checks = list(_poisoned(cluster, say)) if plan.size.poison else []
            started, since = time.monotonic(), time.time()
            cluster.storage.tell(latency_seconds=plan.latency_seconds)
            faults = schedule(plan.size.seed, plan.faults, plan.overlap, plan.only)
            records = disturb(cluster, faults, say)
            seconds = time.monotonic() - started
            checks += [*check_recoveries(records), *_finish(cluster, plan, say)]
            notes = [*_clocks(cluster), *_retried(cluster, say)]
        finally:
            watch.stop()
        say("holding the rows against the promises")
        wait_for(lambda: check_queues(cluster).passed, SETTLE_SECONDS)
        work, logs = read_work(cluster), read_logs(cluster.logs)
        poison = cluster.storage.marked(plan.size.poison)
        checks += [*check_watch(watch), *check_rows(cluster), *check_failures(cluster, poison)]
        checks += [check_queues(cluster), *check_traces(cluster, logs, work)]
        deaths = uncalled(cluster, since)
        say("scanning everything again, undisturbed")
        checks += check_scores(cluster)
        images = cluster.ledger.outcomes()
    return Report(
        plan.command, plan.size.seed, round(seconds, 1), images,
        records, checks, deaths, work, logs, notes,
    )  # fmt: skip


def _poisoned(cluster: Cluster, say: Say) -> Iterator[Check]:
    """Finish the scan of the poisoned images first."""
    say("scanning photographs of which some kill every worker they come to")
    began = time.monotonic()
    cluster.scan_next()
    in_time = cluster.ledger.finishes(FINISH_SECONDS)
    deaths = sum(len(worker.deaths) for worker in cluster.workers)
    yield Check(
        f"a scan with {cluster.size.poison} images that kill their workers comes to its end",
        in_time,
        f"after {time.monotonic() - began:.0f} s and {deaths} deaths of workers",
    )


def _clocks(cluster: Cluster) -> Iterator[str]:
    """Yield a line about the clocks' differences."""
    if seconds := cluster.size.apart_seconds:
        is_there = bool(clock_apart(seconds))
        said = f"one worker's clock was {seconds} s ahead and another's {seconds} s behind"
        yield said if is_there else "all clocks were right: libfaketime is not installed"


def _finish(cluster: Cluster, plan: Plan, say: Say) -> Iterator[Check]:
    """Request the remaining images, make storage fast, and wait for the end."""
    cluster.storage.tell(latency_seconds=0.0)
    wait_for(lambda: _all_asked_for(cluster, plan), FINISH_SECONDS)
    say("no more faults; waiting for the scans to finish")
    began = time.monotonic()
    in_time = cluster.ledger.finishes(FINISH_SECONDS)
    yield Check(
        f"every scan finishes within {FINISH_SECONDS:g} s of the last fault",
        in_time,
        f"{time.monotonic() - began:.1f} s",
    )


def _all_asked_for(cluster: Cluster, plan: Plan) -> bool:
    """Request another scan unless the planned number of images is reached."""
    if len(cluster.scanned) * plan.size.prefix_images >= plan.images:
        return True
    cluster.scan_next()
    return False


def _retried(cluster: Cluster, say: Say) -> Iterator[str]:
    """Retry the images that failed by long storage faults."""
    failed = cluster.ledger.insist(
        """SELECT scan_id, count(*) FROM ledger.outcomes
           WHERE failure_code::text = ANY(%s) GROUP BY scan_id ORDER BY scan_id""",
        list(PASSING),
    )
    for scan_id, count in failed:
        words = [word for code in PASSING for word in ("--code", code)]
        done = cluster.run("retry", str(scan_id), *words, "--json")
        said = f"scan {scan_id}: {count} images had run out of attempts, and were run again"
        say(said)
        yield said if done.returncode == 0 else f"{said}: {done.stderr.strip()}"
