"""Pruning of old scans: a plan, and its execution in small transactions.

Each transaction leaves a consistent ledger, so pruning can stop and resume at any point.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from fakesweep.schema.errors import RetentionError
from fakesweep.schema.ledger.connection import is_conflict
from fakesweep.schema.ledger.retention import ended_scans, orphans

BUSY_PAUSE_SECONDS = 0.1
BUSY_TRIES = 100

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Plan:
    """Plan of a pruning: scans that ended `before`, each with its number of images to delete.

    `kept_whole` counts old scans that later audits refer to in full. `last_sighting` is the newest
    sighting that was checked against audits.
    """

    before: datetime
    scans: Sequence[tuple[ended_scans.EndedScan, int]]
    kept_whole: int
    last_sighting: int

    @property
    def images(self) -> int:
        """Number of images to delete."""
        return sum(images for _, images in self.scans)


@dataclass(frozen=True, slots=True)
class Deleted:
    """Rows deleted so far; `contents_stay` is set where busy workers kept contents locked."""

    scans: int = 0
    images: int = 0
    verdicts: int = 0
    contents: int = 0
    contents_stay: bool = False


def plan_forgetting(connection: Connection, before: datetime, chosen: Sequence[int]) -> Plan:
    """Plan a pruning; the plan's temporary tables last as long as the connection.

    Raises:
        ScanError: a chosen scan does not exist.
        RetentionError: the user lacks the right, another pruning runs, or a chosen scan is kept.
    """
    if not ended_scans.may_delete(connection):
        raise RetentionError(
            "this user may not forget, only the owner of the ledger's tables may: set "
            "FAKESWEEP_DATABASE_URL to the user that runs `fakesweep db upgrade`"
        )
    if not ended_scans.lock_retention(connection):
        raise RetentionError("another `fakesweep prune` is at work; stop it or wait for its end")
    for scan_id in chosen:
        reason = ended_scans.why_it_stays(connection, scan_id, before)
        if reason is not None:
            raise RetentionError(f"scan {scan_id} stays: {reason}")
    last_sighting = _committed(connection, ended_scans.settled_sightings)
    found = ended_scans.ended_scans(connection, before, chosen or None)
    scan_ids = [scan.scan_id for scan in found]
    _committed(connection, partial(ended_scans.mark_images, scan_ids=scan_ids))
    doomed = [(scan, ended_scans.marked_images(connection, scan.scan_id)) for scan in found]
    connection.rollback()
    going = [(scan, images) for scan, images in doomed if images or scan.has_more_than_images]
    return Plan(before, going, len(doomed) - len(going), last_sighting)


def forget(connection: Connection, plan: Plan, stop: threading.Event) -> Iterator[Deleted]:
    """Delete the planned scans, then unreferenced rows; yield the totals after each step.

    Rows that a newer audit refers to are kept, and so is a scan that runs again.
    """
    total = Deleted()
    for scan_id in _begun(connection, plan, stop):
        for images, verdicts in _delete_images(connection, scan_id, plan, stop):
            total = replace(total, images=total.images + images, verdicts=total.verdicts + verdicts)
            yield total
        if stop.is_set():
            return
        wanted = partial(ended_scans.delete_scan, scan_id=scan_id, before=plan.before)
        total = replace(total, scans=total.scans + _committed(connection, wanted))
        yield total
    if stop.is_set():
        return
    _committed(connection, partial(orphans.delete_old, before=plan.before))
    for contents in _contents(connection, stop):
        if contents is None:
            yield replace(total, contents_stay=True)
            return
        total = replace(total, contents=total.contents + contents)
        yield total


def _begun(connection: Connection, plan: Plan, stop: threading.Event) -> list[int]:
    """Mark every scan before any image is deleted, so that no audit refers to a deleted one."""
    begun = []
    for scan, _ in plan.scans:
        if stop.is_set():
            return []
        wanted = partial(ended_scans.begin_deletion, scan_id=scan.scan_id, before=plan.before)
        if _committed(connection, wanted):
            begun.append(scan.scan_id)
        else:
            _committed(connection, partial(ended_scans.spare, audit=scan.scan_id))
    return begun


def _delete_images(
    connection: Connection, scan_id: int, plan: Plan, stop: threading.Event
) -> Iterator[tuple[int, int]]:
    """Delete a scan's images; yield the images and verdicts of each transaction."""
    step = ended_scans.Deleted(0, plan.last_sighting)
    while step.last_batch_id is not None and not stop.is_set():
        wanted = partial(ended_scans.delete_images, scan_id=scan_id, before=plan.before, after=step)
        step = _committed(connection, wanted)
        yield step.images, step.verdicts


def _contents(connection: Connection, stop: threading.Event) -> Iterator[int | None]:
    """Delete contents without an image, between the transactions of workers.

    Yields the number of each transaction; None at the end says that workers stayed busy.
    """
    last = _committed(connection, orphans.last_content)
    after = tries = 0
    while after < last and not stop.is_set():
        gone = _committed(connection, partial(orphans.delete_contents, after=after))
        if gone is not None:
            after, tries = after + orphans.STEP_CONTENTS, 0
            yield gone
        elif tries < BUSY_TRIES:
            tries += 1
            stop.wait(BUSY_PAUSE_SECONDS)
        else:
            yield None
            return


def _committed(connection: Connection, step: Callable[[Connection], Result]) -> Result:
    """Run a step in its own transaction; retry it after a conflict."""
    while True:
        try:
            result = step(connection)
            connection.commit()
        except DBAPIError as error:
            connection.rollback()
            if not is_conflict(error):
                raise
        else:
            return result
