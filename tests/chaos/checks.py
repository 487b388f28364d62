"""Invariants after a run, checked on the rows of the ledger."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fakesweep.schema.queues import QUEUES
from tests.chaos.broker import UNACKNOWLEDGED
from tests.chaos.cluster import WINDOW_BATCHES, Cluster
from tests.chaos.disturbance import Record
from tests.chaos.watch import Watch

BROKER_BYTES = 64 * 1024 * 1024
_SHOWN = 3

# Each query finds forbidden rows.
_MUST_BE_EMPTY = {
    "every image has exactly one outcome": """
        SELECT i.image_id FROM ledger.images i LEFT JOIN ledger.outcomes o USING (image_id)
        WHERE o.image_id IS NULL UNION ALL
        SELECT o.image_id FROM ledger.outcomes o LEFT JOIN ledger.images i USING (image_id)
        WHERE i.image_id IS NULL OR i.scan_id <> o.scan_id""",
    "every classified image has one verdict for each model, a failed one fewer": """
        SELECT o.image_id, o.status, count(v.image_id) FROM ledger.outcomes o
        JOIN ledger.scans s USING (scan_id) LEFT JOIN ledger.verdicts v USING (image_id)
        GROUP BY o.image_id, o.status, s.model_keys
        HAVING CASE o.status WHEN 'failed' THEN count(v.image_id) >= cardinality(s.model_keys)
            ELSE count(v.image_id) <> cardinality(s.model_keys) END""",
    "no verdict without its outcome, its content and its scores": """
        SELECT v.image_id FROM ledger.verdicts v
        LEFT JOIN ledger.outcomes o ON o.image_id = v.image_id AND o.content_id = v.content_id
        LEFT JOIN ledger.predictions p
            ON p.content_id = v.content_id AND p.model_id = v.model_id AND p.p_fake = v.p_fake
        WHERE o.image_id IS NULL OR p.content_id IS NULL""",
    "no batch is unfinished": "SELECT batch_id, state FROM ledger.batches WHERE state <> 'done'",
    "the counts of the batches are their rows": """
        SELECT b.batch_id FROM ledger.batches b
        JOIN ledger.images i USING (batch_id) LEFT JOIN ledger.outcomes o USING (image_id)
        GROUP BY b.batch_id HAVING b.image_count <> count(*)
            OR b.classified_count <> count(*) FILTER (WHERE o.status = 'classified')
            OR b.reused_count <> count(*) FILTER (WHERE o.status = 'reused')
            OR b.failed_count <> count(*) FILTER (WHERE o.status = 'failed')""",
    "a URI has the same score in every scan": """
        SELECT i.uri FROM ledger.verdicts v JOIN ledger.images i USING (image_id)
        GROUP BY i.uri, v.model_id HAVING count(DISTINCT v.p_fake) > 1""",
}

_LISTED = """
    SELECT s.scan_id, x.source, array_agg(i.uri) FROM ledger.scans s
    JOIN ledger.scan_sources x USING (scan_id) LEFT JOIN ledger.images i USING (scan_id)
    GROUP BY s.scan_id, x.source
"""


@dataclass(frozen=True)
class Check:
    """An invariant and its violations."""

    name: str
    passed: bool
    found: str


def check_rows(cluster: Cluster) -> Iterator[Check]:
    """Compare the rows with each other and with storage."""
    for name, query in _MUST_BE_EMPTY.items():
        found = cluster.ledger.insist(query)
        yield Check(name, not found, f"{len(found)} exceptions{_some(found)}")
    listed = cluster.ledger.insist(_LISTED)
    wrong = [
        scan_id
        for scan_id, source, uris in listed
        if sorted(uris) != sorted(cluster.storage.images_of(source))
    ]
    said = f"{len(listed)} scans, {sum(len(uris) for _, _, uris in listed)} images"
    yield Check("every object is listed exactly once a scan", not wrong, said + _some(wrong))


def check_watch(watch: Watch) -> Iterator[Check]:
    """Compare the observations during the run with the promises."""
    looks = f"{watch.looks} looks, {watch.blind} more while the ledger was away"
    yield Check(
        "submitted = classified + reused + failed + pending at every moment",
        not watch.broken and watch.looks > 0,
        looks + _some(watch.broken),
    )
    yield Check("submitted never shrinks", not watch.shrunk, looks + _some(watch.shrunk))
    widest = max(watch.widest.values(), default=0)
    yield Check(
        f"at most {WINDOW_BATCHES} batches a lane are published and unfinished",
        widest <= WINDOW_BATCHES,
        ", ".join(f"{lane} {count}" for lane, count in sorted(watch.widest.items())),
    )
    megabytes = watch.broker_peak_bytes / 1024**2
    yield Check(
        "the broker stays under 64 MB",
        watch.broker_peak_bytes < BROKER_BYTES,
        f"{megabytes:.1f} MB",
    )


def check_recoveries(records: Sequence[Record]) -> Iterator[Check]:
    """Compare each fault's recovery time with its limit."""
    late = [f"#{one.number} {one.kind}" for one in records if not one.is_kept]
    slowest = max((one.recovered_seconds or 0.0 for one in records), default=0.0)
    yield Check(
        "work goes on in time after every fault, and each fault's own promise is kept",
        not late,
        f"{len(records)} faults, the slowest after {slowest:g} s{_some(late)}",
    )


def check_failures(cluster: Cluster, poison: set[str]) -> Iterator[Check]:
    """Check that only poisoned images have failed."""
    found = cluster.ledger.insist(
        """SELECT DISTINCT uri, failure_code::text FROM ledger.outcomes
           JOIN ledger.images USING (image_id) WHERE status = 'failed'"""
    )
    killers = {uri for uri, code in found if code == "killed_worker"}
    others = [(uri, code) for uri, code in found if code != "killed_worker"]
    innocent = sorted(killers - poison)
    yield Check("no image is left as failed for another reason", not others, _some(others).lstrip())
    yield Check(
        "images that kill their workers are failed as that, and no other image is",
        killers == poison,
        f"{len(killers & poison)} of {len(poison)}; {len(innocent)} innocent{_some(innocent)}",
    )


def check_queues(cluster: Cluster) -> Check:
    """Check that no message circulates in the queues for ever.

    Messages of killed workers return after the visibility timeout and are skipped.
    """
    client = cluster.broker.client
    waiting = {queue: int(client.llen(queue)) for queue in QUEUES}
    said = ", ".join(f"{name} {count}" for name, count in waiting.items())
    kept = client.hlen(UNACKNOWLEDGED)
    return Check(
        "the queues are empty at the end",
        not any(waiting.values()),
        f"{said}; {kept} never acknowledged by workers that were killed",
    )


def _some(found: Sequence[object]) -> str:
    if not found:
        return ""
    shown = "; ".join(str(one) for one in found[:_SHOWN])
    return f" ({shown}{'; …' if len(found) > _SHOWN else ''})"
