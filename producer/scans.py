"""Asking for a scan: what the producer holds open, and how a request becomes a row."""

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

from sqlalchemy import Engine

from producer.publisher import Publisher
from producer.sources import check_source, resolve_source
from schema.catalogue import Catalogue
from schema.database import check_migration, explained, open_engine
from schema.ledger import add_scan as record_scan
from schema.registry import policy_id
from schema.settings import Settings
from schema.words import Lane


@dataclass(frozen=True, slots=True)
class ScanRequest:
    """What a person asks for; sources and models as they were written."""

    sources: tuple[str, ...]
    models: tuple[str, ...]
    lane: Lane
    policy: str
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Producer:
    """Everything the asking side holds open; `recorded` is set when a batch waits to be sent."""

    settings: Settings
    catalogue: Catalogue
    engine: Engine
    publisher: Publisher
    recorded: threading.Event = field(default_factory=threading.Event)


@contextmanager
def open_producer(settings: Settings, catalogue: Catalogue) -> Iterator[Producer]:
    """Open database and broker, check that both answer, and close them at the end.

    Raises:
        DatabaseError: the database does not answer, or is at another migration.
        BrokerError: the broker does not answer.
    """
    database_url = settings.database_url or ""
    engine = open_engine(database_url, "producer", pool_size=6)
    try:
        with explained(database_url), engine.connect() as connection:
            check_migration(connection)
        with closing(Publisher(settings)) as publisher:
            publisher.check()
            yield Producer(settings, catalogue, engine, publisher)
    finally:
        engine.dispose()


def add_scan(producer: Producer, request: ScanRequest) -> int:
    """Check everything a request names, then record it; nothing is written where a part is wrong.

    Raises:
        CatalogueError: a model or the policy is not known.
        SourceError: a source cannot be listed, or holds nothing.
    """
    entries = [producer.catalogue.model(reference) for reference in request.models]
    sources = [resolve_source(text) for text in request.sources]
    for source in sources:
        check_source(source.source, producer.settings)
    with producer.engine.begin() as connection:
        return record_scan(
            connection,
            name=request.name,
            lane=request.lane,
            policy_id=policy_id(
                connection, request.policy, producer.catalogue.policies.get(request.policy)
            ),
            model_keys=list(dict.fromkeys(entry.key for entry in entries)),
            sources=[(source.source, source.hostname) for source in sources],
        )
