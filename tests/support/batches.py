"""Batches for workers: recorded, published, and read back."""

from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import Connection, Engine

from fakesweep.schema.ledger.batches.publishing import take_recorded
from fakesweep.schema.ledger.registry.policies import policy_id
from fakesweep.schema.ledger.reports.results import results
from fakesweep.schema.ledger.scans.listing import Page, end_listing, record_page
from fakesweep.schema.ledger.scans.scans import ListedImage, add_scan
from fakesweep.schema.ledger.scans.source_parts import Part, end_part
from fakesweep.schema.message import BatchMessage
from fakesweep.schema.uris import from_path
from fakesweep.schema.words import Lane


def record_batch(
    connection: Connection, scan_id: int, position: int, images: Sequence[ListedImage]
) -> int | None:
    """Record images as one batch; return their number, None for a halted scan."""
    page = Page(images, images[-1].cursor)
    recorded = record_page(connection, scan_id, Part(position, 0, "test"), page, len(images))
    return None if recorded is None else recorded.added


def end_source(connection: Connection, scan_id: int, position: int) -> None:
    """Record a source of one part as listed."""
    end_part(connection, scan_id, Part(position, 0, "test"))


def publish_scan(
    engine: Engine,
    uris: list[str],
    models: tuple[str, ...] = ("vit-tiny-cifake",),
    size: int = 256,
    lane: Lane = Lane.BULK,
) -> list[BatchMessage]:
    """Record a listed scan of these URIs; return its messages, marked as published."""
    with engine.begin() as connection:
        scan_id = add_scan(
            connection,
            name=None,
            lane=lane,
            policy_id=policy_id(connection, "default", None),
            model_keys=models,
            sources=[("test", None)],
        )
        for start in range(0, len(uris), size):
            listed = [ListedImage(uri, str(start)) for uri in uris[start : start + size]]
            record_batch(connection, scan_id, 0, listed)
        end_listing(connection, scan_id)
    with engine.begin() as connection:
        return take_recorded(connection, lane, 1_000)


def uris_of(folder: Path) -> list[str]:
    return [from_path(path) for path in sorted(folder.iterdir())]


def result_rows(engine: Engine, scan_id: int) -> list[dict[str, object]]:
    with engine.connect() as connection:
        return [dict(row) for row in results(connection, scan_id)]
