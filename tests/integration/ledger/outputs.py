"""Scans with an output for tests: ended batches and cut parts."""

from sqlalchemy import Engine

from fakesweep.schema.ledger.outputs.parts import (
    add_output,
    make_part,
    outputs_to_write,
    part_rows,
    record_written,
    standing,
)
from fakesweep.schema.ledger.scans.control import RETRYABLE, begin_retry, retry_failures
from fakesweep.schema.message import BatchMessage
from tests.integration.ledger.rows import ask, claimed, end, failed, record, store
from tests.integration.ledger.scan_control import steer

HERE = "here"
NEVER = 1e9


def output_scan(engine: Engine, batches: int = 0, images: int = 3, *, listed: bool = True) -> int:
    """Return a scan with an output, and batches of `images` images each."""
    scan_id = ask(engine)
    with engine.begin() as connection:
        add_output(connection, scan_id, f"s3://out/{scan_id}/", None)
    for number in range(batches):
        record(engine, scan_id, [f"s3://photos/{number}/{n}" for n in range(images)])
    if listed:
        end(engine, scan_id)
    return scan_id


def finish(engine: Engine, message: BatchMessage) -> None:
    """End a batch by a failure of each image."""
    held = claimed(engine, message.batch_id)
    assert store(engine, held, [failed(image) for image in message.images])


def cut(engine: Engine, scan_id: int, lines: int = 1_000, seconds: float = NEVER) -> int | None:
    with engine.begin() as connection:
        now = standing(connection, scan_id)
        return make_part(connection, now, scan_id, part_lines=lines, part_seconds=seconds)


def images_of(engine: Engine, scan_id: int, part: int) -> list[int]:
    with engine.begin() as connection:
        return [row["image_id"] for row in part_rows(connection, scan_id, part)]


def mark(engine: Engine, scan_id: int, part: int) -> None:
    """Record a part as written."""
    with engine.begin() as connection:
        record_written(connection, scan_id, part, lines=1, size_bytes=1, sha256=b"\0" * 32)


def cut_all(engine: Engine, scan_id: int, lines: int = 1_000) -> list[list[int]]:
    """Cut all parts, and return the images of each."""
    parts = []
    while (part := cut(engine, scan_id, lines, seconds=0)) is not None:
        parts.append(images_of(engine, scan_id, part))
        mark(engine, scan_id, part)
    return parts


def has_ended(engine: Engine, scan_id: int) -> bool:
    with engine.connect() as connection:
        return standing(connection, scan_id).has_ended


def to_write(engine: Engine, hostname: str = HERE) -> list[int]:
    with engine.connect() as connection:
        return outputs_to_write(connection, hostname)


def retry(engine: Engine, scan_id: int) -> int:
    asked_at = steer(engine, begin_retry, scan_id)
    with engine.begin() as connection:
        return retry_failures(connection, scan_id, RETRYABLE, 1_000, asked_at)
