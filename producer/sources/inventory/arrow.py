"""Parquet and ORC files of an S3 Inventory, in pieces; imported on demand."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import repeat
from typing import Any, BinaryIO

import pyarrow as pa
from pyarrow import orc, parquet

from fakesweep.producer.sources.inventory.fields import FIELDS, Row, places_of
from fakesweep.producer.sources.inventory.manifest import InventoryFormat

PIECE_ROWS = 8_192
BUFFER_BYTES = 1024 * 1024
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECONDS = {"s": 1_000_000, "ms": 1_000, "us": 1, "ns": 0.001}


def arrow_pieces(
    stream: BinaryIO, written_as: InventoryFormat, after: int
) -> Iterator[Sequence[Row]]:
    """Yield the rows of a file behind row `after`, in pieces of `PIECE_ROWS`.

    Raises:
        ValueError: the file is not of this format, or has no column `key`.
    """
    batches = _parquet_batches if written_as is InventoryFormat.PARQUET else _orc_batches
    try:
        for batch in batches(stream, after):
            for start in range(0, batch.num_rows, PIECE_ROWS):
                yield _rows_of(batch.slice(start, PIECE_ROWS))
    except pa.ArrowException as error:
        raise ValueError(str(error)) from error


def _parquet_batches(stream: BinaryIO, after: int) -> Iterator[Any]:
    file = parquet.ParquetFile(stream, pre_buffer=False, buffer_size=BUFFER_BYTES)
    first, counts = 0, file.metadata
    while first < counts.num_row_groups and after >= counts.row_group(first).num_rows:
        after -= counts.row_group(first).num_rows
        first += 1
    for batch in file.iter_batches(
        PIECE_ROWS,
        row_groups=list(range(first, counts.num_row_groups)),
        columns=_wanted(file.schema_arrow.names),
        use_threads=False,
    ):
        yield batch.slice(after)
        after = max(0, after - batch.num_rows)


def _orc_batches(stream: BinaryIO, after: int) -> Iterator[Any]:
    file = orc.ORCFile(stream)
    wanted = _wanted(file.schema.names)
    for number in range(file.nstripes):
        batch = file.read_stripe(number, columns=wanted)
        yield batch.slice(after)
        after = max(0, after - batch.num_rows)


def _wanted(columns: Sequence[str]) -> list[str]:
    places = places_of(columns)
    if "key" not in places:
        raise ValueError("it has no column `key`")
    return [columns[place] for place in places.values()]


def _rows_of(batch: Any) -> list[Row]:
    places = places_of(batch.schema.names)
    columns = [
        _values(batch.column(places[field])) if field in places else repeat(None)
        for field in FIELDS
    ]
    return list(zip(*columns, strict=False))


def _values(column: Any) -> list[Any]:
    """Return a column's values, times in UTC and bytes as text."""
    if pa.types.is_timestamp(column.type):
        microseconds = _MICROSECONDS[column.type.unit]
        return [_moment(ticks, microseconds) for ticks in column.cast("int64").to_pylist()]
    if pa.types.is_string(column.type) or pa.types.is_binary(column.type):
        return [_text(raw) for raw in column.cast("binary").to_pylist()]
    values: list[Any] = column.to_pylist()
    return values


def _moment(ticks: int | None, microseconds: float) -> datetime | None:
    try:
        return None if ticks is None else _EPOCH + timedelta(microseconds=ticks * microseconds)
    except OverflowError:
        return None


def _text(raw: bytes | None) -> str | None:
    return None if raw is None else raw.decode("utf-8", "surrogateescape")
