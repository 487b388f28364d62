"""`fakesweep celery`: Celery's own command on our broker and queues."""

import click

from fakesweep.ledger_access import existing_stack
from fakesweep.schema.settings import read_settings


def celery(words: tuple[str, ...]) -> int:
    """Run Celery's own command on our queues."""
    if not words:
        raise click.UsageError("name a command of Celery, such as `status`")
    from fakesweep.producer.celery_command import WORKER, run_celery  # noqa: PLC0415 - loads Celery

    if words[0] == WORKER:
        raise click.UsageError("run a worker by `fakesweep worker`")
    settings = read_settings()
    if not settings.names_cluster:
        settings = existing_stack(settings)
    return run_celery(settings, words)
