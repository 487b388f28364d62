"""Batches as a worker meets them: recorded, published, and read back when they are done."""

from pathlib import Path

from sqlalchemy import Engine

from schema.ledger import ListedImage, add_scan, end_listing, record_batch, take_recorded
from schema.message import BatchMessage
from schema.registry import policy_id
from schema.reports import results
from schema.uris import from_path
from schema.words import Lane


def publish_scan(
    engine: Engine, uris: list[str], models: tuple[str, ...] = ("vit-tiny-cifake",), size: int = 256
) -> list[BatchMessage]:
    """Record a listed scan of these URIs and return its messages, marked as published."""
    with engine.begin() as connection:
        scan_id = add_scan(
            connection,
            name=None,
            lane=Lane.BULK,
            policy_id=policy_id(connection, "default", None),
            model_keys=models,
            sources=[("test", None)],
        )
        for start in range(0, len(uris), size):
            listed = [ListedImage(uri, str(start)) for uri in uris[start : start + size]]
            record_batch(connection, scan_id, 0, listed)
        end_listing(connection, scan_id)
    with engine.begin() as connection:
        return take_recorded(connection, Lane.BULK, 1_000)


def uris_of(folder: Path) -> list[str]:
    return [from_path(path) for path in sorted(folder.iterdir())]


def result_rows(engine: Engine, scan_id: int) -> list[dict[str, object]]:
    with engine.connect() as connection:
        return [dict(row) for row in results(connection, scan_id)]
