"""`fakesweep producer`: the producer's service, until a signal stops it."""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import click

from fakesweep.foreground.signals import told_to_stop
from fakesweep.producer.resources import Producer, open_producer
from fakesweep.producer.service import serve
from fakesweep.producer.uploads.event_listener import listen, read_queue
from fakesweep.schema.errors import SourceError
from fakesweep.schema.judging.catalogue import read_catalogue
from fakesweep.schema.settings import read_settings
from fakesweep.schema.telemetry.logs import set_up_logging
from fakesweep.stack.keeping import kept_stack


def producer(queues: tuple[str, ...]) -> None:
    """Run a producer: it lists sources and queues batches."""
    settings = read_settings()
    set_up_logging(settings)
    catalogue = read_catalogue(settings.catalogue)
    for queue in queues:
        try:
            read_queue(queue, settings)
        except SourceError as error:
            raise click.BadParameter(str(error), param_hint="'--listen'") from error
    with (
        kept_stack(settings, "producer") as settings,
        open_producer(settings, catalogue) as opened,
        told_to_stop() as told,
        _listening(opened, queues, told),
    ):
        serve(opened, told)


@contextmanager
def _listening(producer: Producer, queues: Sequence[str], told: threading.Event) -> Iterator[None]:
    """Listen to each queue in a thread; one that fails stops the producer."""
    with ThreadPoolExecutor(max(1, len(queues)), thread_name_prefix="listening") as threads:
        listeners = [threads.submit(_listen, producer, queue, told) for queue in queues]
        try:
            yield
        finally:
            told.set()
    for listener in listeners:
        listener.result()


def _listen(producer: Producer, queue: str, told: threading.Event) -> None:
    try:
        listen(producer, queue, told)
    finally:
        told.set()
