"""Celery's command line, including Flower, with fakesweep's broker and queues."""

from collections.abc import Sequence

from celery import Celery
from kombu.exceptions import OperationalError

from fakesweep.schema.errors import BrokerError
from fakesweep.schema.queues import celery_settings
from fakesweep.schema.settings import Settings

WORKER = "worker"
"""The subcommand that is refused: `fakesweep worker` starts our workers."""


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
    except SystemExit as exited:
        return exited.code if isinstance(exited.code, int) else int(exited.code is not None)
    return status if isinstance(status, int) else 0
