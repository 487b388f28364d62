"""A producer that delivers webhooks with short retries, on a thread or in a process."""

import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from fakesweep.producer.publisher import Publisher
from fakesweep.producer.resources import Producer
from fakesweep.producer.webhooks.delivery_loop import deliver_webhooks
from fakesweep.producer.webhooks.retry_schedule import RetrySchedule
from fakesweep.schema.judging.catalogue import read_catalogue
from fakesweep.schema.ledger.connection import open_engine
from fakesweep.schema.settings import Settings
from tests.support.webhook_receiver import NETWORK

HASTY = RetrySchedule(
    pauses_seconds=(0.02,) * 8,
    timeout_seconds=2.0,
    lease_seconds=1.0,
    poll_seconds=0.02,
    first_rest_seconds=0.01,
    longest_rest_seconds=0.05,
    shutdown_seconds=2.0,
    at_once=4,
)


def producer_of(database_url: str, **settings: str) -> Producer:
    """Return a producer that may send to this machine, without a broker."""
    chosen = Settings.model_validate(
        {"database_url": database_url, "broker_url": "redis://127.0.0.1:1/0",
         "allow_networks": NETWORK, **settings}
    )  # fmt: skip
    engine = open_engine(database_url, "producer")
    return Producer(chosen, read_catalogue(None), engine, Publisher(chosen))


@contextmanager
def delivering(
    database_url: str, schedule: RetrySchedule = HASTY, **settings: str
) -> Iterator[None]:
    """Run the delivery loop on a thread, and check that it ends in order."""
    stop = threading.Event()
    producer = producer_of(database_url, **settings)
    with ThreadPoolExecutor(1) as threads:
        loop = threads.submit(deliver_webhooks, producer, stop, schedule)
        try:
            yield
        finally:
            stop.set()
            loop.result(30)
            producer.engine.dispose()
            producer.publisher.close()


def deliver_until_told_to_stop(database_url: str) -> None:
    """Run the delivery loop in this process."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    deliver_webhooks(producer_of(database_url), stop, HASTY)
