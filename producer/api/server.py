"""The API's process: what it opens, and serving until it is told to stop."""

import logging
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager

import structlog
import uvicorn

from producer.api.app import make_app
from producer.api.health import HealthCheck
from producer.api.limits import RateLimits
from producer.api.resources import Resources
from producer.scans import Producer
from producer.uploads import Uploads
from schema.catalogue import DEFAULT_MODEL
from schema.database import explained, open_engine
from schema.errors import DatabaseError, SettingsError
from schema.tokens import may_look_up

LEAVE_SECONDS = 10
"""How long requests that are under way may take when it is told to stop."""

log = structlog.get_logger(__name__)


def serve_api(producer: Producer, host: str, port: int) -> None:
    """Answer requests until SIGTERM or SIGINT; those under way are answered first.

    Raises:
        SettingsError: nobody can listen at that address.
        DatabaseError: the database's user may not do what the API does.
    """
    with (
        closing(_listen(host, port)) as listening,
        _opened(producer) as resources,
    ):
        config = uvicorn.Config(
            make_app(resources),
            lifespan="off",
            ws="none",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=LEAVE_SECONDS,
        )
        logging.getLogger("uvicorn").setLevel(logging.WARNING)
        if not producer.settings.models:
            log.warning("trial_model_judges", model=DEFAULT_MODEL, setting="FAKESWEEP_MODELS")
        address, taken = listening.getsockname()[:2]
        log.info("api_listening", host=address, port=taken)
        uvicorn.Server(config).run([listening])
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
        ):
            yield Resources(producer, uploads, limits, HealthCheck(engine, producer.publisher))
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


def _listen(host: str, port: int) -> socket.socket:
    """Return a socket that accepts connections already; port 0 takes any that is free."""
    try:
        [(family, _, _, _, address), *_] = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        return socket.create_server(address[:2], family=family, backlog=2_048)
    except OSError as error:
        raise SettingsError(
            f"the API cannot listen at {host} port {port}: {error.strerror or error}; "
            f"choose others with --host and --port"
        ) from error
