"""Health checks of the services behind an HTTP process, cached for a second."""

import asyncio
import time
from collections.abc import Callable, Mapping

import anyio
import structlog
from anyio.to_thread import run_sync
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from fakesweep.schema.ledger.connection import first_line, ping

GOOD_FOR_SECONDS = 1.0
ANSWER_SECONDS = 5.0

log = structlog.get_logger(__name__)


class HealthCheck:
    """Runs the checks once for all concurrent callers.

    Each check returns why its service does not answer, or None.
    """

    def __init__(self, checks: Mapping[str, Callable[[], str | None]]) -> None:
        self._checks = checks
        self._missed: list[str] = []
        self._looked_at = float("-inf")
        self._lock = asyncio.Lock()
        self._threads = anyio.CapacityLimiter(4)

    async def missed(self) -> list[str]:
        """Return the names of the checks that fail or time out."""
        async with self._lock:
            if time.monotonic() - self._looked_at > GOOD_FOR_SECONDS:
                names = list(self._checks)
                troubles = await asyncio.gather(*map(self._trouble, names))
                self._missed = [name for name, said in zip(names, troubles, strict=True) if said]
                self._looked_at = time.monotonic()
            return self._missed

    async def _trouble(self, name: str) -> str | None:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                reason = await run_sync(
                    self._checks[name], abandon_on_cancel=True, limiter=self._threads
                )
        except TimeoutError:
            reason = f"no answer within {ANSWER_SECONDS:g} s"
        if reason:
            log.warning("health_missed", awaited=name, reason=reason)
        return reason


def ledger_trouble(engine: Engine) -> str | None:
    """Return why the ledger does not answer, or None."""
    try:
        with engine.connect() as connection:
            ping(connection)
    except SQLAlchemyError as error:
        return first_line(error)
    return None
