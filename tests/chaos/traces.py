"""Traces of processes: log lines, deaths, and repeated work."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fakesweep.stack.processes import wait_for
from tests.chaos.checks import Check
from tests.chaos.cluster import BATCH_IMAGES, Cluster
from tests.chaos.processes import Death

LINES_A_MINUTE = 500
TELL_SECONDS = 3.0
BACK_SECONDS = 10.0
FENCED = "batch_lost_to_another_worker"
_OURS = re.compile(r"[a-z_]+")

_WORK = """
    SELECT (SELECT coalesce(sum((stages_total #>> '{stages,device,images}')::bigint), 0)
            FROM ledger.workers),
           (SELECT count(*) FROM ledger.predictions),
           (SELECT coalesce(sum(attempt - 1), 0) FROM ledger.batches WHERE attempt > 1),
           (SELECT count(*) FROM ledger.batches)
"""


@dataclass(frozen=True)
class Logs:
    """Summary of a run's logs; `busiest` is a process' largest number of lines in a minute."""

    busiest: int
    busiest_process: str
    events: dict[str, int]


@dataclass(frozen=True)
class Work:
    """Repeated work; the last second of killed workers is not counted."""

    scored: int
    needed: int
    taken_again: int
    batches: int
    fetched_again: int
    deaths: int


def read_logs(folder: Path) -> Logs:
    """Count the lines by process and minute, and the events by name."""
    minutes: Counter[tuple[str, str]] = Counter()
    events: Counter[str] = Counter()
    for log in folder.glob("*.[0-9]*.log"):
        process, minute = log.name.partition(".")[0], ""
        for line in log.read_text("utf-8", "replace").splitlines():
            with suppress(ValueError, TypeError, KeyError):
                said = json.loads(line)
                minute = said["timestamp"][:16]
                if _OURS.fullmatch(said["event"]):
                    events[said["event"]] += 1
            minutes[process, minute] += 1
    [((process, _), busiest)] = minutes.most_common(1) or [(("nobody", ""), 0)]
    return Logs(busiest, process, dict(events.most_common()))


def read_work(cluster: Cluster) -> Work:
    """Count the scores, claims and fetches beyond those of a run without faults."""
    wait_for(lambda: _scored_enough(cluster), TELL_SECONDS)
    [(scored, needed, taken_again, batches)] = cluster.ledger.insist(_WORK)
    scans = Counter(
        dict(cluster.ledger.insist("SELECT uri, count(*) FROM ledger.images GROUP BY uri"))
    )
    fetched = Counter(cluster.storage.delivered())
    return Work(
        scored=int(scored),
        needed=needed,
        taken_again=int(taken_again),
        batches=batches,
        fetched_again=(fetched - scans).total(),
        deaths=sum(len(worker.deaths) for worker in cluster.workers),
    )


def _scored_enough(cluster: Cluster) -> bool:
    """Return whether the surviving workers have reported all of their work."""
    [(scored, needed, _, _)] = cluster.ledger.insist(_WORK)
    return bool(scored >= needed)


def uncalled(cluster: Cluster, since: float) -> list[Death]:
    """Return the deaths since `since` that no fault caused."""
    deaths = [death for one in cluster.everybody for death in one.deaths]
    return [death for death in deaths if not death.was_told and death.at > since]


def check_traces(cluster: Cluster, logs: Logs, work: Work) -> Iterator[Check]:
    """Compare the traces with the promises."""
    yield Check(
        f"no process logs more than {LINES_A_MINUTE} lines in a minute",
        logs.busiest <= LINES_A_MINUTE,
        f"the busiest, {logs.busiest_process}, {logs.busiest}",
    )
    again = max(0, work.scored - work.needed)
    aside = logs.events.get("batch_set_aside", 0)
    yield Check(
        "less than one batch is classified again for each death of a worker, and one set aside",
        again - aside * BATCH_IMAGES < max(1, work.deaths * BATCH_IMAGES),
        f"{again} images again after {work.deaths} deaths and {aside} set aside; "
        f"{work.needed} were needed, batches hold {BATCH_IMAGES}",
    )
    found = wait_for(lambda: all(one.pid for one in cluster.everybody), BACK_SECONDS)
    silent = [one.name for one in cluster.everybody if one.pid is None]
    yield Check("no process is lost for good", found, ", ".join(silent) or "all of them run")
