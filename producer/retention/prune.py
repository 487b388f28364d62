"""Forgetting scans that ended long ago: what is to go, and the walk over it in small transactions.

Each transaction leaves a whole ledger, so the walk may end at any moment and be begun again.
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
    """What is to be forgotten: scans that ended `before`, and how many images of each.

    `kept_whole` are scans that ended as long ago, and later audits refer to all that they have.
    `last_sighting` is up to where audits were asked.
    """

    before: datetime
    scans: Sequence[tuple[ended_scans.EndedScan, int]]
    kept_whole: int
    last_sighting: int

    @property
    def images(self) -> int:
        """Images that are to be forgotten."""
        return sum(images for _, images in self.scans)


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What went so far; `contents_stay` says that workers were too busy to let contents go."""

    scans: int = 0
    images: int = 0
    verdicts: int = 0
    contents: int = 0
    contents_stay: bool = False


def plan_forgetting(connection: Connection, before: datetime, chosen: Sequence[int]) -> Plan:
    """Choose what may go, and keep it in mind for as long as this connection lasts.

    Raises:
        ScanError: a chosen scan does not exist.
        RetentionError: this user may not, another process forgets, or a chosen scan has to stay.
    """
    if not ended_scans.may_forget(connection):
        raise RetentionError(
            "this user may not forget, only the owner of the ledger's tables may: set "
            "FAKESWEEP_DATABASE_URL to the user that runs `fakesweep db upgrade`"
        )
    if not ended_scans.lock_forgetting(connection):
        raise RetentionError("another `fakesweep prune` is at work; stop it or wait for its end")
    for scan_id in chosen:
        reason = ended_scans.why_it_stays(connection, scan_id, before)
        if reason is not None:
            raise RetentionError(f"scan {scan_id} stays: {reason}")
    last_sighting = _committed(connection, ended_scans.settled_sightings)
    found = ended_scans.ended_scans(connection, before, chosen or None)
    scan_ids = [scan.scan_id for scan in found]
    _committed(connection, partial(ended_scans.doom, scan_ids=scan_ids))
    doomed = [(scan, ended_scans.doomed_images(connection, scan.scan_id)) for scan in found]
    connection.rollback()
    going = [(scan, images) for scan, images in doomed if images or scan.has_more_than_images]
    return Plan(before, going, len(doomed) - len(going), last_sighting)


def forget(connection: Connection, plan: Plan, stop: threading.Event) -> Iterator[Forgotten]:
    """Forget what was planned and what nobody refers to then; tell how much after each step.

    What an audit has come to refer to stays, and so does a scan that runs again.
    """
    told = Forgotten()
    for scan_id in _begun(connection, plan, stop):
        for images, verdicts in _images(connection, scan_id, plan, stop):
            told = replace(told, images=told.images + images, verdicts=told.verdicts + verdicts)
            yield told
        if stop.is_set():
            return
        wanted = partial(ended_scans.forget_scan, scan_id=scan_id, before=plan.before)
        told = replace(told, scans=told.scans + _committed(connection, wanted))
        yield told
    if stop.is_set():
        return
    _committed(connection, partial(orphans.forget_old, before=plan.before))
    for contents in _contents(connection, stop):
        if contents is None:
            yield replace(told, contents_stay=True)
            return
        told = replace(told, contents=told.contents + contents)
        yield told


def _begun(connection: Connection, plan: Plan, stop: threading.Event) -> list[int]:
    """Begin with every scan before any image goes, so that no audit refers to one that is gone."""
    begun = []
    for scan, _ in plan.scans:
        if stop.is_set():
            return []
        wanted = partial(ended_scans.begin_forgetting, scan_id=scan.scan_id, before=plan.before)
        if _committed(connection, wanted):
            begun.append(scan.scan_id)
        else:
            _committed(connection, partial(ended_scans.spare, audit=scan.scan_id))
    return begun


def _images(
    connection: Connection, scan_id: int, plan: Plan, stop: threading.Event
) -> Iterator[tuple[int, int]]:
    """Forget a scan's images; yield how many went in each transaction, and how many verdicts."""
    step = ended_scans.Forgotten(0, plan.last_sighting)
    while step.last_batch_id is not None and not stop.is_set():
        wanted = partial(ended_scans.forget_images, scan_id=scan_id, before=plan.before, after=step)
        step = _committed(connection, wanted)
        yield step.images, step.verdicts


def _contents(connection: Connection, stop: threading.Event) -> Iterator[int | None]:
    """Forget contents that no image has, at moments when no worker is in the middle of a batch.

    Yields how many went in each transaction, and None at the end where there is no such moment.
    """
    last = _committed(connection, orphans.last_content)
    after = tries = 0
    while after < last and not stop.is_set():
        gone = _committed(connection, partial(orphans.forget_contents, after=after))
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
    """Do a step in a transaction of its own, again where it only met another one."""
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
