"""The one place that puts messages on the broker's queues."""

from typing import Any

import redis
from celery import Celery
from kombu.exceptions import OperationalError

from schema.errors import BrokerError
from schema.message import BatchMessage
from schema.queues import CLASSIFY_BATCH, celery_settings
from schema.settings import Settings
from schema.words import Lane

_ANSWER_AT_ONCE = {"max_retries": 1, "interval_start": 0, "interval_step": 0, "interval_max": 0}
"""The producer waits and tries again by itself, with a line in its log."""


class Publisher:
    """Sends batches to their lane's queue; every failure of the broker is a BrokerError."""

    def __init__(self, settings: Settings) -> None:
        self._celery = Celery("fakesweep-producer", set_as_current=False)
        self._celery.conf.update(celery_settings(settings))
        self._celery.conf.broker_transport_options |= _ANSWER_AT_ONCE

    def publish(self, message: BatchMessage) -> None:
        """Put one batch on its lane's queue.

        Raises:
            BrokerError: the broker does not take it.
        """
        try:
            self._celery.send_task(
                CLASSIFY_BATCH, args=[message.to_json()], queue=message.lane.value, retry=False
            )
        except OperationalError as error:
            raise BrokerError(self._no_answer(error)) from error

    def waiting(self, lane: Lane) -> int:
        """Return how many messages lie in a lane's queue, taken by no worker yet.

        Raises:
            BrokerError: the broker does not answer.
        """
        try:
            with self._celery.connection_for_write() as connection:
                channel: Any = connection.default_channel  # kombu's, of the Redis transport
                return int(channel.client.llen(lane.value))
        except (OperationalError, redis.RedisError, OSError) as error:
            raise BrokerError(self._no_answer(error)) from error

    def close(self) -> None:
        """Give the connections back."""
        self._celery.close()

    def _no_answer(self, error: BaseException) -> str:
        url = self._celery.connection_for_write().as_uri()
        return (
            f"the broker at {url} does not answer: {error}; "
            f"check FAKESWEEP_BROKER_URL and that the server is up"
        )
