"""Publisher: the only sender of messages to the broker's queues."""

import json
from collections.abc import Callable
from typing import Any

import redis
from celery import Celery
from kombu.exceptions import OperationalError

from fakesweep.schema import broker
from fakesweep.schema.errors import BrokerError
from fakesweep.schema.message import BatchMessage
from fakesweep.schema.queues import CLASSIFY_BATCH, celery_settings
from fakesweep.schema.settings import Settings
from fakesweep.schema.words import Lane

BATCH_HEADER = "fakesweep-batch"
"""Header with the batch id; a message's body is encoded."""

_ANSWER_AT_ONCE = {"max_retries": 1, "interval_start": 0, "interval_step": 0, "interval_max": 0}
"""Celery's own retries are off; the producer's backoff retries and logs."""


class Publisher:
    """Sends batches to their lane's queue; each broker failure becomes a BrokerError."""

    def __init__(self, settings: Settings) -> None:
        self._celery = Celery("fakesweep-producer", set_as_current=False)
        self._celery.conf.update(celery_settings(settings))
        self._celery.conf.broker_transport_options |= _ANSWER_AT_ONCE
        self._where = broker.shown(settings.broker_url or "")

    def publish(self, message: BatchMessage) -> None:
        """Put one batch on its lane's queue.

        Raises:
            BrokerError: the broker does not accept it.
        """
        try:
            self._celery.send_task(
                CLASSIFY_BATCH,
                args=[message.to_json()],
                queue=message.lane.value,
                headers={BATCH_HEADER: message.batch_id},
                retry=False,
            )
        except OperationalError as error:
            raise BrokerError(self._no_answer(error)) from error

    def check(self) -> None:
        """Ping the broker.

        Raises:
            BrokerError: it does not answer.
        """
        self._ask(lambda client: client.ping())

    def waiting_batches(self, lane: Lane) -> set[int]:
        """Return the ids of the batches in a lane's queue; no worker has taken these.

        Raises:
            BrokerError: the broker does not answer.
        """
        messages = self._ask(lambda client: client.lrange(lane.value, 0, -1))
        return {found for found in map(_batch_of, messages) if found is not None}

    def _ask(self, question: Callable[[Any], Any]) -> Any:
        try:
            with self._celery.connection_for_write() as connection:
                channel: Any = connection.default_channel  # kombu's, of the Redis transport
                return question(channel.client)
        except (OperationalError, redis.RedisError, OSError) as error:
            raise BrokerError(self._no_answer(error)) from error

    def close(self) -> None:
        """Close the connections."""
        self._celery.close()

    def _no_answer(self, error: BaseException) -> str:
        return (
            f"the broker at {self._where} does not answer: {error}; "
            f"check FAKESWEEP_BROKER_URL and that the server is up"
        )


def _batch_of(message: bytes) -> int | None:
    """Return the batch id of a message in Redis, None for a foreign message."""
    try:
        batch_id = json.loads(message)["headers"][BATCH_HEADER]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return batch_id if isinstance(batch_id, int) else None
