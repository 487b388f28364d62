"""`fakesweep producer`: run the producer's service until it is told to stop."""

from typing import Any

import click


@click.command()
@click.option(
    "--listen",
    "queues",
    metavar="sqs://QUEUE",
    multiple=True,
    help="Queue of SQS that S3's events come by: what they tell of is judged at once. "
    "Repeat it to listen to several.",
)
def producer(**asked: Any) -> None:
    """Run the producer: it lists and queues.

    It goes on with every scan whose sources this machine can list, publishes recorded batches
    and publishes again what got lost. SIGTERM and Ctrl-C stop it.
    """
    from fakesweep.actions.producer import producer as run

    run(**asked)
