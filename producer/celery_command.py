"""Celery's own command, Flower's with it, on the queues and the broker that fakesweep uses."""

from collections.abc import Sequence

from celery import Celery
from kombu.exceptions import OperationalError

from fakesweep.schema.errors import BrokerError
from fakesweep.schema.queues import celery_settings
from fakesweep.schema.settings import Settings

WORKER = "worker"
"""The one subcommand that would do the work, which our own workers do."""


def run_celery(settings: Settings, words: Sequence[str]) -> int:
    """Run `celery WORDS...` in this process and return its exit status.

    Raises:
        BrokerError: the broker does not answer.
    """
    app = Celery("fakesweep")
    app.conf.update(celery_settings(settings))
    try:
        status: object = app.start([*words])
    except OperationalError as error:
        raise BrokerError(f"the broker does not answer: {error}") from error
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    return status if isinstance(status, int) else 0
