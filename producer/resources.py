"""The producer's resources: settings, catalogue, database and publisher, opened once."""

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

from sqlalchemy import Engine

from fakesweep.producer.publisher import Publisher
from fakesweep.schema.judging.catalogue import Catalogue
from fakesweep.schema.ledger.connection import explained, open_engine
from fakesweep.schema.migrations import check_migration
from fakesweep.schema.settings import Settings


@dataclass(frozen=True, slots=True)
class Producer:
    """Open resources; `recorded` is set when a recorded batch can be published."""

    settings: Settings
    catalogue: Catalogue
    engine: Engine
    publisher: Publisher
    recorded: threading.Event = field(default_factory=threading.Event)


@contextmanager
def open_producer(settings: Settings, catalogue: Catalogue) -> Iterator[Producer]:
    """Open database and broker, check that both answer, and close them on exit.

    Raises:
        DatabaseError: the database does not answer, or its migration differs.
        BrokerError: the broker does not answer.
    """
    database_url = settings.database_url or ""
    engine = open_engine(database_url, "producer", pool_size=12 + 3 * settings.listers)
    try:
        with explained(database_url), engine.connect() as connection:
            check_migration(connection)
        with closing(Publisher(settings)) as publisher:
            publisher.check()
            yield Producer(settings, catalogue, engine, publisher)
    finally:
        engine.dispose()
