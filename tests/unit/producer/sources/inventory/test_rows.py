"""Rows of inventory files, valid and invalid."""

import gzip
import io
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import orc, parquet

from fakesweep.producer.sources.inventory import arrow
from fakesweep.producer.sources.inventory import rows as inventory_rows
from fakesweep.producer.sources.inventory.fields import Row
from fakesweep.producer.sources.inventory.listing import is_inventory
from fakesweep.producer.sources.inventory.manifest import InventoryFormat
from fakesweep.producer.sources.inventory.rows import MAX_LINE_LETTERS, BrokenRow, read_rows
from fakesweep.schema.errors import SourceError

COLUMNS = ("Bucket", "Key", "Size")
MOMENT = datetime(2024, 5, 6, 7, 8, 9, 123_000, tzinfo=UTC)


def csv_rows(
    text: str | bytes, columns: Sequence[str] = COLUMNS, after: int = 0
) -> list[Row | BrokenRow]:
    packed = gzip.compress(text.encode() if isinstance(text, str) else text)
    rows = read_rows(io.BytesIO(packed), InventoryFormat.CSV, columns, after, "a.csv.gz")
    return list(rows)


def keys(rows: Sequence[Row | BrokenRow]) -> list[str | None]:
    """Return each row's key, or its fault."""
    return [row.reason if isinstance(row, BrokenRow) else row[1] for row in rows]


@pytest.mark.parametrize(
    ("source", "is_one"),
    [
        ("s3://lists/photos/daily/2024-05-06T01-00Z/manifest.json", True),
        ("s3://lists/manifest.json", True),
        ("S3://lists/manifest.json", True),
        ("s3://lists;versionId=3/manifest.json", True),
        ("s3://lists/old-manifest.json", False),
        ("s3://lists/manifest.json/", False),
        ("s3://manifest.json", False),
        ("https://example.org/manifest.json", False),
        ("/photos/manifest.json", False),
        ("-", False),
    ],
)
def test_an_inventory_is_known_by_the_name_of_its_manifest(source: str, is_one: bool) -> None:
    assert is_inventory(source) is is_one


def test_fields_are_found_by_the_names_of_their_columns() -> None:
    columns = ("ETag", "LastModifiedDate", "VersionId", "Unknown", "Key", "Bucket")
    [row] = csv_rows('"e","2024","v","?","a.jpg","photos"\n', columns)
    assert row == ("photos", "a.jpg", "v", "", "", "", "2024", "e")


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_the_last_line_may_end_or_not(end: str) -> None:
    assert keys(csv_rows(f'"b","a","1"{end or chr(10)}"b","c","2"{end}')) == ["a", "c"]


@pytest.mark.parametrize("text", ["", "\n"])
def test_an_empty_file_has_no_sound_row(text: str) -> None:
    assert [row for row in csv_rows(text) if not isinstance(row, BrokenRow)] == []
    assert list(read_rows(io.BytesIO(b""), InventoryFormat.CSV, COLUMNS, 0, "a")) == []


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('"b","never closed', "no row of CSV"),
        ('"b","a"x,"1"', "no row of CSV"),
        ('"b","a"', "2 columns and not 3"),
        ('"b","a","1","2"', "4 columns and not 3"),
        ("", "0 columns and not 3"),
        ('"b","' + "k" * MAX_LINE_LETTERS + '","1"', "longer than 65536 letters"),
        ('"b","' + "k" * 3_000_000 + '","1"', "longer than 65536 letters"),
        ('"b","' + "é" * 1_000_000 + '","1"', "longer than 65536 letters"),
    ],
    ids=lambda text: text[:12],
)
def test_a_broken_row_spoils_no_other(line: str, why: str) -> None:
    first, broken, last = keys(csv_rows(f'"b","a","1"\n{line}\n"b","c","2"\n'))
    assert (first, last) == ("a", "c")
    assert broken is not None
    assert why in broken


def test_bytes_that_are_no_text_reach_their_own_row_only() -> None:
    rows = csv_rows(b'"b","a\xff","1"\n"b","c","2"\n')
    assert keys(rows) == ["a\udcff", "c"]


LINES = st.lists(
    st.sampled_from(['"b","a","1"', '"b","', '"b"', "", '"b","c,""d","2"', "b,e,3"]), max_size=9
)


@given(LINES, st.integers(0, 10), st.integers(1, 40))
def test_reading_on_gives_what_is_left_wherever_pieces_end(
    lines: list[str], after: int, piece_bytes: int
) -> None:
    text = "".join(f"{line}\n" for line in lines)
    whole = csv_rows(text)
    assert len(whole) == len(lines)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inventory_rows, "PIECE_BYTES", piece_bytes)
        assert csv_rows(text, after=after) == whole[after:]


@pytest.mark.parametrize(
    ("raw", "written_as"),
    [
        (b"Bucket,Key,Size\n", InventoryFormat.CSV),
        (gzip.compress(b'"b","a","1"\n' * 50, mtime=0)[:-9], InventoryFormat.CSV),
        (gzip.compress(b'"b","a","1"\n', mtime=0)[:-8] + bytes(8), InventoryFormat.CSV),
        (b"PAR1 and no more", InventoryFormat.PARQUET),
        (b"", InventoryFormat.PARQUET),
        (b"ORC and no more", InventoryFormat.ORC),
        (b"", InventoryFormat.ORC),
    ],
)
def test_a_file_of_another_format_is_refused_by_name(
    raw: bytes, written_as: InventoryFormat
) -> None:
    with pytest.raises(SourceError, match=rf"^data/1 cannot be read as {written_as}: .+; scan"):
        list(read_rows(io.BytesIO(raw), written_as, COLUMNS, 0, "data/1"))


def table(count: int, **columns: Any) -> pa.Table:
    named = {"bucket": ["photos"] * count, "key": [f"{number:03}.jpg" for number in range(count)]}
    return pa.table(named | columns)


def arrow_rows(
    written: pa.Table, written_as: InventoryFormat, after: int = 0
) -> list[Row | BrokenRow]:
    stream = io.BytesIO()
    if written_as is InventoryFormat.PARQUET:
        parquet.write_table(written, stream, row_group_size=7)
    else:
        orc.write_table(written, stream, stripe_size=1, batch_size=7)
    stream.seek(0)
    return list(read_rows(stream, written_as, (), after, "a"))


@pytest.fixture(params=[InventoryFormat.PARQUET, InventoryFormat.ORC])
def written_as(request: pytest.FixtureRequest) -> InventoryFormat:
    found: InventoryFormat = request.param
    return found


@pytest.fixture
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrow, "PIECE_ROWS", 3)


@pytest.mark.usefixtures("_small_pieces")
def test_columns_are_read_on_from_any_row(written_as: InventoryFormat) -> None:
    written = table(40)
    whole = arrow_rows(written, written_as)
    assert keys(whole) == [f"{number:03}.jpg" for number in range(40)]
    for after in range(42):
        assert arrow_rows(written, written_as, after) == whole[after:]


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_columns_hold_values_or_nothing(written_as: InventoryFormat, unit: str) -> None:
    columns = {
        "version_id": pa.array(["v", None, ""]),
        "is_latest": [True, False, None],
        "is_delete_marker": [False, True, None],
        "size": pa.array([0, 2**40, None], pa.int64()),
        "last_modified_date": pa.array([MOMENT, None, MOMENT], pa.timestamp(unit, "UTC")),
        "e_tag": ["e", None, '"q"'],
        "object_owner": ["somebody"] * 3,
    }
    assert arrow_rows(table(3, **columns), written_as) == [
        ("photos", "000.jpg", "v", True, False, 0, MOMENT, "e"),
        ("photos", "001.jpg", None, False, True, 2**40, None, None),
        ("photos", "002.jpg", "", None, None, None, MOMENT, '"q"'),
    ]


def test_a_time_without_a_zone_is_utc(written_as: InventoryFormat) -> None:
    times = pa.array([MOMENT.replace(tzinfo=None)], pa.timestamp("ms"))
    [row] = arrow_rows(table(1, last_modified_date=times), written_as)
    assert not isinstance(row, BrokenRow)
    assert row[6] == MOMENT


def test_a_time_beyond_every_calendar_is_unknown() -> None:
    times = pa.array([2**62], pa.int64()).view(pa.timestamp("ms", "UTC"))
    [row] = arrow_rows(table(1, last_modified_date=times), InventoryFormat.PARQUET)
    assert not isinstance(row, BrokenRow)
    assert row[6] is None


def test_a_key_may_be_bytes_that_are_no_text() -> None:
    written = pa.table({"key": pa.array([b"a\xff.jpg", "ü.jpg".encode(), None], pa.binary())})
    assert keys(arrow_rows(written, InventoryFormat.PARQUET)) == ["a\udcff.jpg", "ü.jpg", None]


def test_columns_without_keys_are_refused(written_as: InventoryFormat) -> None:
    with pytest.raises(SourceError, match="no column `key`"):
        arrow_rows(pa.table({"bucket": ["photos"]}), written_as)
