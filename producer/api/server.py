"""The API's process: what it opens, and serving until it is told to stop."""

import asyncio
import logging
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from types import FrameType

import structlog
import uvicorn

from fakesweep.producer.api.app import make_app
from fakesweep.producer.api.connections import Connections
from fakesweep.producer.api.health import HealthCheck
from fakesweep.producer.api.limits import RateLimits
from fakesweep.producer.api.listening import listen, most_connections
from fakesweep.producer.api.pictures import open_pictures
from fakesweep.producer.api.protocol import GuardedProtocol
from fakesweep.producer.api.resources import Resources
from fakesweep.producer.api.waiting import Waiting
from fakesweep.producer.scans import Producer
from fakesweep.producer.uploads import Uploads
from fakesweep.schema.catalogue import DEFAULT_MODEL
from fakesweep.schema.database import explained, open_engine
from fakesweep.schema.errors import DatabaseError
from fakesweep.schema.tokens import may_look_up

LEAVE_SECONDS = 10
"""How long requests that are under way may take when it is told to stop."""

log = structlog.get_logger(__name__)


class _Server(uvicorn.Server):
    """uvicorn, with somebody who looks after the connections."""

    def __init__(self, config: uvicorn.Config, table: Connections, waiting: Waiting) -> None:
        super().__init__(config)
        self._table = table
        self._waiting = waiting

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Leave, as told by a signal; nobody waits for a verdict any longer."""
        super().handle_exit(sig, frame)
        asyncio.get_running_loop().call_soon_threadsafe(self._waiting.end)

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        watching = asyncio.create_task(self._table.watch())
        try:
            await super().serve(sockets)
        finally:
            watching.cancel()


def serve_api(producer: Producer, host: str, port: int) -> None:
    """Answer requests until SIGTERM or SIGINT; those under way are answered first.

    Raises:
        SettingsError: nobody can listen at that address.
        DatabaseError: the database's user may not do what the API does.
    """
    with (
        closing(listen(host, port)) as listening,
        _opened(producer) as resources,
    ):
        proxies = producer.settings.api_trusted_proxies
        table = listening.table = Connections(most_connections(), proxies)
        config = uvicorn.Config(
            make_app(resources),
            http=partial(GuardedProtocol, table),  # type: ignore[arg-type]  # it makes protocols
            lifespan="off",
            ws="none",
            log_config=None,
            access_log=False,
            proxy_headers=bool(proxies),
            forwarded_allow_ips=[str(network) for network in proxies],
            server_header=False,
            timeout_graceful_shutdown=LEAVE_SECONDS,
        )
        logging.getLogger("uvicorn").setLevel(logging.ERROR)
        if not producer.settings.models:
            log.warning("trial_model_judges", model=DEFAULT_MODEL, setting="FAKESWEEP_MODELS")
        address, taken = listening.getsockname()[:2]
        log.info("api_listening", host=address, port=taken)
        _Server(config, table, resources.waiting).run([listening])
        log.info("api_stopped")


@contextmanager
def _opened(producer: Producer) -> Iterator[Resources]:
    settings = producer.settings
    _check_rights(producer)
    engine = open_engine(settings.database_url or "", "api health", pool_size=1)
    try:
        with (
            Uploads(producer) as uploads,
            closing(RateLimits(settings.broker_url or "")) as limits,
            open_pictures(settings) as pictures,
        ):
            yield Resources(
                producer,
                uploads,
                limits,
                HealthCheck(engine, producer.publisher),
                Waiting(producer.engine),
                pictures,
            )
    finally:
        engine.dispose()


def _check_rights(producer: Producer) -> None:
    with (
        explained(producer.settings.database_url or ""),
        producer.engine.connect() as connection,
    ):
        if not may_look_up(connection):
            raise DatabaseError(
                "the user of FAKESWEEP_DATABASE_URL may not look tokens up; let the API connect as "
                "a member of the role fakesweep_api (SECURITY.md)"
            )
