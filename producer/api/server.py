"""API process: opens its resources and serves until SIGTERM or SIGINT."""

from collections.abc import Iterator
from contextlib import closing, contextmanager

import structlog

from fakesweep.producer.api.app import make_app
from fakesweep.producer.api.long_poll import LongPoll
from fakesweep.producer.api.pictures import open_pictures
from fakesweep.producer.api.resources import Resources
from fakesweep.producer.publisher import Publisher
from fakesweep.producer.resources import Producer
from fakesweep.producer.uploads import Uploads
from fakesweep.schema.errors import BrokerError, DatabaseError
from fakesweep.schema.judging.catalogue import DEFAULT_MODEL
from fakesweep.schema.ledger.api_tokens import may_look_up
from fakesweep.schema.ledger.connection import explained, open_engine
from fakesweep.serving.health import HealthCheck, ledger_trouble
from fakesweep.serving.listening import listen
from fakesweep.serving.rate_limits import RateLimits
from fakesweep.serving.uvicorn_server import serve_app

log = structlog.get_logger(__name__)


def serve_api(producer: Producer, host: str, port: int) -> None:
    """Serve requests until SIGTERM or SIGINT; running requests are answered before the end.

    Raises:
        SettingsError: the address cannot be listened at.
        DatabaseError: the database user lacks the API's rights.
    """
    with (
        closing(listen(host, port)) as listening,
        _opened(producer) as resources,
    ):
        if not producer.settings.models:
            log.warning("trial_model_judges", model=DEFAULT_MODEL, setting="FAKESWEEP_MODELS")
        serve_app(
            make_app(resources),
            listening,
            producer.settings.api_trusted_proxies,
            on_shutdown=resources.long_poll.end,
        )


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
                HealthCheck(
                    {
                        "ledger": lambda: ledger_trouble(engine),
                        "broker": lambda: _broker_trouble(producer.publisher),
                    }
                ),
                LongPoll(producer.engine),
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


def _broker_trouble(publisher: Publisher) -> str | None:
    try:
        publisher.check()
    except BrokerError as error:
        return str(error)
    return None
