"""`fakesweep celery`: Celery's own command on our broker and queues."""

from typing import Any

import click


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("words", metavar="COMMAND [ARGUMENT]...", nargs=-1, type=click.UNPROCESSED)
def celery(**asked: Any) -> int:
    """Run Celery's own command on our queues.

    Examples are `status`, `inspect active` and, with Flower installed, `flower`. Workers answer
    only if they were started with FAKESWEEP_CELERY_EVENTS=true.
    """
    from fakesweep.actions.celery import celery as run

    return run(**asked)
