"""Waiting for verdicts: one question to the ledger now and then, for all who wait."""

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
ASK_SECONDS = 0.2

log = structlog.get_logger(__name__)


class LongPoll:
    """Lets requests wait until images have ended; those for whom there is no room do not wait."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._left: dict[asyncio.Event, set[int]] = {}
        self._tokens: Counter[int] = Counter()
        self._asking: asyncio.Task[None] | None = None
        self._is_over = False

    async def ended(
        self,
        token_id: int,
        image_ids: Sequence[int],
        seconds: float,
        left: Callable[[], Awaitable[None]],
    ) -> None:
        """Return once all of these images have ended, after so many seconds, or at once.

        So it does when `left` returns: then nobody is there any more who could be answered.
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
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask())
        leaving = asyncio.create_task(_set_after(left, event))
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await event.wait()
        finally:
            leaving.cancel()
            del self._left[event]
            self._tokens[token_id] -= 1
            if not self._tokens[token_id]:
                del self._tokens[token_id]

    def end(self) -> None:
        """Let nobody wait any longer."""
        self._is_over = True
        for event in self._left:
            event.set()

    async def _ask(self) -> None:
        """Ask for as long as somebody waits. What the ledger does not answer is asked again."""
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
            await asyncio.sleep(ASK_SECONDS)

    def _ended(self, image_ids: set[int]) -> set[int]:
        with self._engine.connect() as connection:
            return ended_images(connection, image_ids)


async def _set_after(left: Callable[[], Awaitable[None]], event: asyncio.Event) -> None:
    await left()
    event.set()
