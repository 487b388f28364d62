"""`fakesweep celery`: Celery's own command, with the right queues and broker."""

import click

from fakesweep.ledger_access import existing_stack
from fakesweep.schema.settings import read_settings


def celery(words: tuple[str, ...]) -> int:
    """Run Celery's own command on our queues."""
    if not words:
        raise click.UsageError("say what of Celery's to run, as `status`")
    from fakesweep.producer.celery_command import WORKER, run_celery  # noqa: PLC0415 - loads Celery

    if words[0] == WORKER:
        raise click.UsageError("a worker of ours is run by `fakesweep worker`")
    settings = read_settings()
    if not settings.names_cluster:
        settings = existing_stack(settings)
    return run_celery(settings, words)
