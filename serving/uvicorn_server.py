"""uvicorn with guarded connections: serves an app until a signal."""

import asyncio
import logging
import socket
from collections.abc import Callable, Sequence
from functools import partial
from ipaddress import IPv4Network, IPv6Network
from types import FrameType

import structlog
import uvicorn
from starlette.types import ASGIApp

from fakesweep.serving.connections import Connections
from fakesweep.serving.listening import Listening, most_connections
from fakesweep.serving.protocol import GuardedProtocol

LEAVE_SECONDS = 10
"""Time for requests in progress at a shutdown."""

log = structlog.get_logger(__name__)


class _Server(uvicorn.Server):
    """uvicorn with a task that closes overdue connections."""

    def __init__(
        self, config: uvicorn.Config, table: Connections, on_shutdown: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._table = table
        self._on_shutdown = on_shutdown

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Shut down after a signal, and call `on_shutdown` first."""
        super().handle_exit(sig, frame)
        asyncio.get_running_loop().call_soon_threadsafe(self._on_shutdown)

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        watching = asyncio.create_task(self._table.watch())
        try:
            await super().serve(sockets)
        finally:
            watching.cancel()


def serve_app(
    app: ASGIApp,
    listening: Listening,
    proxies: Sequence[IPv4Network | IPv6Network],
    on_shutdown: Callable[[], None],
) -> None:
    """Serve requests until SIGTERM or SIGINT, then answer those in progress.

    `on_shutdown` is called in the event loop right after the signal.
    """
    table = listening.table = Connections(most_connections(), proxies)
    config = uvicorn.Config(
        app,
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
    address, taken = listening.getsockname()[:2]
    log.info("api_listening", host=address, port=taken)
    _Server(config, table, on_shutdown).run([listening])
    log.info("api_stopped")
