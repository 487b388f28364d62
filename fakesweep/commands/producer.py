"""`fakesweep producer`: run the producer's service until it is told to stop."""

import click

from fakesweep.signals import told_to_stop
from fakesweep.stack import start_stack
from producer.scans import open_producer
from producer.service import serve
from schema.catalogue import read_catalogue
from schema.logs import set_up_logging
from schema.settings import read_settings


@click.command()
def producer() -> None:
    """Run the producer: it lists and queues.

    It goes on with every scan whose sources this machine can list, publishes recorded batches
    and publishes again what got lost. SIGTERM and Ctrl-C stop it.
    """
    settings = read_settings()
    set_up_logging(settings)
    catalogue = read_catalogue(settings.catalogue)
    if not settings.names_cluster:
        settings = start_stack(settings)
    with open_producer(settings, catalogue) as opened, told_to_stop() as told:
        serve(opened, told)
