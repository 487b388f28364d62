"""Long polling for verdicts: one query at an interval serves all waiting requests."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import structlog
from anyio.to_thread import run_sync
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from fakesweep.schema.ledger.connection import first_line
from fakesweep.schema.ledger.reports.images import ended_images

MOST_SECONDS = 30
MOST_WAITING = 256
MOST_WAITING_FOR_TOKEN = 64
MOST_IMAGES = 10_000
POLL_SECONDS = 0.2

log = structlog.get_logger(__name__)


class LongPoll:
    """Lets requests wait for their images; a request beyond the limits does not wait."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._left: dict[asyncio.Event, set[int]] = {}
        self._tokens: Counter[int] = Counter()
        self._polling: asyncio.Task[None] | None = None
        self._is_over = False

    async def ended(
        self,
        token_id: int,
        image_ids: Sequence[int],
        seconds: float,
        disconnected: Callable[[], Awaitable[None]],
    ) -> None:
        """Return once all images have ended, after `seconds`, or at once beyond the limits.

        It returns also when `disconnected` does, as the caller is gone.
        """
        images = sum(map(len, self._left.values())) + len(image_ids)
        if (
            self._is_over
            or len(self._left) >= MOST_WAITING
            or self._tokens[token_id] >= MOST_WAITING_FOR_TOKEN
            or images > MOST_IMAGES
        ):
            return
        event = asyncio.Event()
        self._left[event] = set(image_ids)
        self._tokens[token_id] += 1
        if self._polling is None or self._polling.done():
            self._polling = asyncio.create_task(self._poll())
        watching = asyncio.create_task(_set_after(disconnected, event))
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await event.wait()
        finally:
            watching.cancel()
            del self._left[event]
            self._tokens[token_id] -= 1
            if not self._tokens[token_id]:
                del self._tokens[token_id]

    def end(self) -> None:
        """End all waits."""
        self._is_over = True
        for event in self._left:
            event.set()

    async def _poll(self) -> None:
        """Query the ledger at an interval while a request waits; an outage is retried."""
        while self._left:
            try:
                ended = await run_sync(self._ended, set().union(*self._left.values()))
            except SQLAlchemyError as error:
                log.warning("ledger_away", reason=first_line(error))
                ended = set()
            for event, left in self._left.items():
                left.difference_update(ended)
                if not left:
                    event.set()
            await asyncio.sleep(POLL_SECONDS)

    def _ended(self, image_ids: set[int]) -> set[int]:
        with self._engine.connect() as connection:
            return ended_images(connection, image_ids)


async def _set_after(disconnected: Callable[[], Awaitable[None]], event: asyncio.Event) -> None:
    await disconnected()
    event.set()
