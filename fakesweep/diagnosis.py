"""Blockers of a scan: why no image moves, as a word for programs and a line for people."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum

from fakesweep.schema import broker
from fakesweep.schema.ledger.registry.model_errors import ModelTrouble
from fakesweep.schema.ledger.registry.processes import LIVE_SECONDS
from fakesweep.schema.ledger.reports.progress import Progress
from fakesweep.schema.ledger.reports.stalls import Movement
from fakesweep.schema.settings import Settings
from fakesweep.schema.words import BROKER, ScanState
from fakesweep.server_errors import away_in_words
from fakesweep.stack import find_stack
from fakesweep.summary import moment
from fakesweep.text import program

STILL_AFTER = timedelta(seconds=10)
BROKER_ANSWER_SECONDS = 2.0


class Reason(StrEnum):
    """Reasons why a scan does not move: missing parts first, then slow ones."""

    PAUSED = "paused"
    NO_WORKER = "no_worker"
    NO_PRODUCER = "no_producer"
    NO_BROKER = "no_broker"
    SET_ASIDE = "set_aside"
    SOURCE = "source"
    IN_WORK = "in_work"
    IN_QUEUE = "in_queue"
    NO_MODEL = "no_model"
    LISTING = "listing"

    @property
    def is_blocking(self) -> bool:
        """Whether a person has to act; then no time left can be estimated."""
        return self not in (
            Reason.SET_ASIDE, Reason.SOURCE, Reason.IN_WORK, Reason.IN_QUEUE, Reason.NO_MODEL,
            Reason.LISTING,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Blocker:
    """A reason, with its cause and remedy in one line."""

    reason: Reason
    said: str


def blockers_of(
    now: Progress, found: Movement, settings: Settings, troubles: Sequence[ModelTrouble] = ()
) -> Sequence[Blocker]:
    """Return the blockers of a scan, none if it moves.

    Missing parts are reported at once. Slow ones are reported, and the broker is pinged, after
    `STILL_AFTER` without progress.
    """
    if ScanState(now.state).is_last or not (now.pending or now.listed_at is None):
        return []
    if now.paused_at is not None:
        go_on = f"go on with: {program()} resume {now.scan_id}"
        return [Blocker(Reason.PAUSED, f"paused since {moment(now.paused_at)}; {go_on}")]
    is_still = found.at - now.progressed_at > STILL_AFTER
    blockers = [*missing_of(now, found, settings), *_set_aside(found), *_unlisted(found)]
    blockers += (_model_missing(trouble) for trouble in troubles if trouble.next_try_at is not None)
    if is_still:
        blockers += _broker_missing(settings)
    if is_still and not blockers:
        blockers.append(_slow(now, found))
    return blockers


def missing_of(now: Progress, found: Movement, settings: Settings) -> list[Blocker]:
    """Return the missing workers and producers of an unfinished scan, with the command to run.

    On the local stack `fakesweep resume` runs both.
    """
    is_still = found.at - now.progressed_at > STILL_AFTER
    blockers = [*_missing(now, found, is_still=is_still)]
    if settings.names_cluster or not blockers:
        return blockers
    go_on = f"; or finish the scan with: {program()} resume {now.scan_id}"
    return [replace(blocker, said=blocker.said + go_on) for blocker in blockers]


def _model_missing(trouble: ModelTrouble) -> Blocker:
    again = f", next try {moment(trouble.next_try_at)}" if trouble.next_try_at else ""
    return Blocker(
        Reason.NO_MODEL,
        f"{trouble.hostname} cannot load {trouble.model} since {moment(trouble.since)} "
        f"({trouble.tries} tries{again}): {trouble.reason}",
    )


def _missing(now: Progress, found: Movement, *, is_still: bool) -> Iterator[Blocker]:
    if now.pending and not found.workers:
        yield Blocker(
            Reason.NO_WORKER,
            f"no worker has been seen for {LIVE_SECONDS:.0f} s; start one: {program()} worker",
        )
    start_producer = f"start one: {program()} producer"
    unlisted = sorted(set(found.listed_by) - set(found.producers))
    if not found.producers:
        if now.listed_at is None:
            yield Blocker(Reason.NO_PRODUCER, f"no producer lists its sources; {start_producer}")
        elif found.recorded:
            yield Blocker(
                Reason.NO_PRODUCER,
                f"{found.recorded} batches wait to be queued and no producer is seen; "
                f"{start_producer}",
            )
        elif found.expired or (is_still and found.published):
            yield Blocker(
                Reason.NO_PRODUCER,
                f"{found.expired + found.published} batches may be lost and no producer is seen "
                f"that would queue them again; {start_producer}",
            )
    elif unlisted and now.listed_at is None and is_still:
        yield Blocker(
            Reason.NO_PRODUCER,
            f"only {', '.join(unlisted)} can list what is left; {start_producer} there",
        )


def _set_aside(found: Movement) -> Iterator[Blocker]:
    if found.troubled:
        yield Blocker(Reason.SET_ASIDE, troubles_in_words(found.troubled, found.trouble))


def troubles_in_words(batches: int, reason: str | None) -> str:
    """Return why batches are set aside, and the query that shows them."""
    what = "1 batch" if batches == 1 else f"{batches} batches"
    query = "SELECT * FROM batch_troubles"
    return (
        f"{what} could not be stored or brought back ({reason}) and will be tried again; "
        f'look: {program()} sql "{query}"'
    )


def _unlisted(found: Movement) -> Iterator[Blocker]:
    since = found.listing_troubled_since
    if found.listing_trouble is not None and since is not None:
        said = f"its sources cannot be listed since {moment(since)}: {found.listing_trouble}"
        yield Blocker(Reason.SOURCE, said)


def _broker_missing(settings: Settings) -> Iterator[Blocker]:
    """Ping the broker, if the settings or the local stack name one."""
    broker_url = settings.broker_url
    if broker_url is None:
        if settings.database_url is None and find_stack(settings) is None:
            yield Blocker(Reason.NO_BROKER, f"the broker does not answer; start it: {program()} up")
        return
    if (reason := _why_silent(broker_url)) is not None:
        yield Blocker(Reason.NO_BROKER, away_in_words(BROKER, reason, settings))


def _why_silent(broker_url: str) -> str | None:
    """Return why the broker does not answer, None if it does."""
    from redis import Redis, RedisError  # noqa: PLC0415 - loaded only for a scan that does not move
    from redis.backoff import NoBackoff  # noqa: PLC0415
    from redis.retry import Retry  # noqa: PLC0415

    try:
        with Redis.from_url(
            broker.client_url(broker_url),
            socket_timeout=BROKER_ANSWER_SECONDS,
            socket_connect_timeout=BROKER_ANSWER_SECONDS,
            retry=Retry(NoBackoff(), 0),
        ) as client:
            client.ping()
    except (RedisError, OSError) as error:
        return str(error)
    return None


def _slow(now: Progress, found: Movement) -> Blocker:
    if found.running:
        since = f", the oldest since {moment(found.running_since)}" if found.running_since else ""
        return Blocker(Reason.IN_WORK, f"{found.running} batches are in work{since}")
    if now.pending:
        waiting = found.recorded + found.published
        return Blocker(Reason.IN_QUEUE, f"{waiting} batches wait in the queue")
    return Blocker(Reason.LISTING, f"nothing was listed since {moment(now.progressed_at)}")
