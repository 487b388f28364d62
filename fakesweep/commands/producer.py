"""`fakesweep producer`: the producer's service, until a signal stops it."""

from typing import Any

import click


@click.command()
@click.option(
    "--listen",
    "queues",
    metavar="sqs://QUEUE",
    multiple=True,
    help="SQS queue with S3 event notifications, whose objects are judged at once. Repeat it for "
    "several.",
)
def producer(**asked: Any) -> None:
    """Run a producer: it lists sources and queues batches.

    It lists every unfinished scan whose sources this machine can reach, publishes recorded batches,
    requeues lost ones, starts scheduled scans and sends webhooks. SIGTERM and Ctrl-C stop it.
    """
    from fakesweep.actions.producer import producer as run

    run(**asked)
