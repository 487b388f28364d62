"""`fakesweep celery`: Celery's own command, with the right queues and broker."""

import click

from fakesweep.reading import existing_stack
from schema.settings import read_settings


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("words", metavar="COMMAND [ARGUMENT]...", nargs=-1, type=click.UNPROCESSED)
def celery(words: tuple[str, ...]) -> int:
    """Run Celery's own command on our queues.

    As `fakesweep celery status`, `fakesweep celery inspect active` or, where Flower is installed,
    `fakesweep celery flower`. Workers and producer answer it where they were started with
    FAKESWEEP_CELERY_EVENTS=true.
    """
    if not words:
        raise click.UsageError("say what of Celery's to run, as `status`")
    from producer.celery_command import WORKER, run_celery  # noqa: PLC0415 - loads Celery

    if words[0] == WORKER:
        raise click.UsageError("a worker of ours is run by `fakesweep worker`")
    settings = read_settings()
    if not settings.names_cluster:
        settings = existing_stack(settings)
    return run_celery(settings, words)
