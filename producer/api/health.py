"""Whether what the API rests on answers; looked at once a second at most, whoever asks."""

import asyncio
import time
from collections.abc import Callable, Mapping

import anyio
import structlog
from anyio.to_thread import run_sync
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from fakesweep.producer.publisher import Publisher
from fakesweep.schema.database import first_line, ping
from fakesweep.schema.errors import BrokerError

GOOD_FOR_SECONDS = 1.0
ANSWER_SECONDS = 5.0

log = structlog.get_logger(__name__)


class HealthCheck:
    """Asks the ledger and the broker for a sign of life, for one caller and all others at once."""

    def __init__(self, engine: Engine, publisher: Publisher) -> None:
        self._asked: Mapping[str, Callable[[], str | None]] = {
            "ledger": lambda: _ledger_trouble(engine),
            "broker": lambda: _broker_trouble(publisher),
        }
        self._missed: list[str] = []
        self._looked_at = float("-inf")
        self._lock = asyncio.Lock()
        self._threads = anyio.CapacityLimiter(4)

    async def missed(self) -> list[str]:
        """Return what does not answer in time: `ledger`, `broker`, both or none."""
        async with self._lock:
            if time.monotonic() - self._looked_at > GOOD_FOR_SECONDS:
                names = list(self._asked)
                troubles = await asyncio.gather(*map(self._trouble, names))
                self._missed = [name for name, said in zip(names, troubles, strict=True) if said]
                self._looked_at = time.monotonic()
            return self._missed

    async def _trouble(self, name: str) -> str | None:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                reason = await run_sync(
                    self._asked[name], abandon_on_cancel=True, limiter=self._threads
                )
        except TimeoutError:
            reason = f"no answer within {ANSWER_SECONDS:g} s"
        if reason:
            log.warning("health_missed", awaited=name, reason=reason)
        return reason


def _ledger_trouble(engine: Engine) -> str | None:
    try:
        with engine.connect() as connection:
            ping(connection)
    except SQLAlchemyError as error:
        return first_line(error)
    return None


def _broker_trouble(publisher: Publisher) -> str | None:
    try:
        publisher.check()
    except BrokerError as error:
        return str(error)
    return None
