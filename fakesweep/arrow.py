"""Results in Arrow: column types, a table in memory, a Parquet file in row groups."""

import itertools
from collections.abc import Iterable, Mapping
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from fakesweep.schema.ledger.reports.results import RESULT_COLUMNS

GROUP_ROWS = 20_000

_MOMENT = pa.timestamp("us", tz="UTC")
_TYPES = {
    "p_fake": pa.float64(),
    "scores": pa.map_(pa.string(), pa.float64()),
    "width": pa.int32(),
    "height": pa.int32(),
    "frame_count": pa.int32(),
    "model_id": pa.int32(),
    "scan_id": pa.int64(),
    "image_id": pa.int64(),
    "content_id": pa.int64(),
    "size_bytes": pa.int64(),
    "revision_is_current": pa.bool_(),
    "classified_at": _MOMENT,
    "judged_at": _MOMENT,
}

SCHEMA = pa.schema([(name, _TYPES.get(name, pa.string())) for name in RESULT_COLUMNS])
"""Columns that `_TYPES` does not name are text."""


def table_of(rows: Iterable[Mapping[Any, Any]]) -> pa.Table:
    """Return rows of results as a table; `scores` is a map from label to score."""
    shown = [{**row, "scores": row["scores"] and list(row["scores"].items())} for row in rows]
    return pa.Table.from_pylist(shown, schema=SCHEMA)


def write_parquet(rows: Iterable[Mapping[Any, Any]], out: BinaryIO) -> None:
    """Write rows as one Parquet file, `GROUP_ROWS` at a time; `out` need not be seekable."""
    remaining = iter(rows)
    with pq.ParquetWriter(_CountingStream(out), SCHEMA) as writer:
        while group := list(itertools.islice(remaining, GROUP_ROWS)):
            writer.write_table(table_of(group))


class _CountingStream:
    """A stream that counts its bytes: the Parquet writer needs `tell`, which a pipe lacks."""

    closed = False

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._written = 0

    def write(self, chunk: bytes) -> int:
        self._written += self._out.write(chunk)
        return len(chunk)

    def tell(self) -> int:
        return self._written

    def flush(self) -> None:
        self._out.flush()
