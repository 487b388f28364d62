import codecs
import io
import json
import sys
import tempfile
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakesweep.producer.sources import check_source, list_images
from fakesweep.producer.sources.manifest.lines import MAX_LINE_BYTES
from fakesweep.schema.errors import SourceError
from fakesweep.schema.ledger.scans.scans import ListedImage
from fakesweep.schema.settings import read_settings
from fakesweep.schema.uris import from_path


def listed(path: Path, content: bytes | str, cursor: str | None = None) -> list[ListedImage]:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(list_images(str(path), cursor, read_settings()))


def uris(images: list[ListedImage]) -> list[str]:
    return [image.uri for image in images]


def faults(images: list[ListedImage]) -> list[str]:
    return [image.unreadable for image in images if image.unreadable is not None]


def test_lines_are_uris_or_paths_from_the_manifests_own_folder(tmp_path: Path) -> None:
    content = "s3://bucket/a b.jpg\n/photos/b.jpg\nsub/c.jpg\n./#d.jpg\n  ../e.jpg  \n"
    assert uris(listed(tmp_path / "list.txt", content)) == [
        "s3://bucket/a b.jpg",
        "file:///photos/b.jpg",
        from_path(tmp_path / "sub" / "c.jpg"),
        from_path(tmp_path / "#d.jpg"),
        from_path(tmp_path.parent / "e.jpg"),
    ]


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8])
def test_line_endings_a_mark_comments_and_blanks_mean_nothing(
    tmp_path: Path, ending: str, mark: bytes
) -> None:
    lines = ["# mine", "", "s3://bucket/a.jpg", "   ", "  # more", "s3://bucket/b.jpg"]
    images = listed(tmp_path / "list.txt", mark + ending.join(lines).encode())
    assert uris(images) == ["s3://bucket/a.jpg", "s3://bucket/b.jpg"]
    assert [image.cursor for image in images] == ["3", "6"]
    rows = listed(tmp_path / "t.csv", mark + ending.join(["uri", "", "s3://bucket/a.jpg"]).encode())
    assert uris(rows) == ["s3://bucket/a.jpg"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"gs://bucket/a.jpg", "scheme 'gs' is not known"),
        (b"http://me:hush@host/a.jpg?sig=hush", "credentials"),
        (b"s3://bucket", "no object"),
        (b"s3://bucket/\xff.jpg", "not UTF-8"),
        (b"s3://bucket/\x00.jpg", "NUL"),
        (b"s3://bucket/" + b"a" * 9_000, "longer than 8192 bytes"),
        (b"s3://bucket/" + b"a" * MAX_LINE_BYTES, f"longer than {MAX_LINE_BYTES} bytes"),
        (b"http://host/a b.jpg", "white space"),
        (b"gs://bucket/\x1b[2J.jpg", "\\x1b"),
    ],
)
def test_a_bad_line_is_a_failed_image_with_its_number_and_stops_nothing(
    tmp_path: Path, line: bytes, words: str
) -> None:
    manifest = tmp_path / "list.txt"
    images = listed(manifest, b"s3://bucket/a.jpg\n" + line + b"\ns3://bucket/b.jpg\n")
    assert uris(images) == [
        "s3://bucket/a.jpg", f"{from_path(manifest)}#line-2", "s3://bucket/b.jpg",
    ]  # fmt: skip
    [fault] = faults(images)
    assert fault.startswith("line 2: ")
    assert words in fault
    assert fault.isprintable()
    assert len(fault) < 300
    assert "hush" not in fault


def test_the_uri_column_of_a_table_is_found_by_its_name(tmp_path: Path) -> None:
    content = 'id, URI ,note\n1,s3://bucket/a.jpg,x\n2,"s3://bucket/b,c.jpg","two\nlines"\n'
    images = listed(tmp_path / "table.csv", content + "3,d.jpg,\n,,\n")
    assert uris(images) == [
        "s3://bucket/a.jpg", "s3://bucket/b,c.jpg", from_path(tmp_path / "d.jpg"),
    ]  # fmt: skip
    assert [image.cursor for image in images] == ["2", "4", "5"]


def test_an_open_quote_spoils_its_own_row_only(tmp_path: Path) -> None:
    rows = ["uri,note", "s3://bucket/a.jpg,x", 's3://bucket/b.jpg,"open']
    rows += [f"s3://bucket/{number}.jpg,y" for number in range(300)]
    images = listed(tmp_path / "table.csv", "\n".join(rows))
    assert len(images) == 302
    assert [image.cursor for image in images] == [str(number) for number in range(2, 304)]
    [fault] = faults(images)
    assert fault.startswith("line 3: ")


def test_rows_that_make_no_sense_are_failed_images(tmp_path: Path) -> None:
    content = b'id,uri\n1\n2,\n3,"s3://bucket/a.jpg"x\n4,\xff.jpg\n5,s3://bucket/b.jpg\n'
    images = listed(tmp_path / "table.csv", content)
    assert uris(images)[-1] == "s3://bucket/b.jpg"
    found = faults(images)
    assert [fault.partition(":")[0] for fault in found] == [f"line {n}" for n in (2, 3, 4, 5)]
    assert "too short" in found[0]
    assert "empty" in found[1]
    assert "CSV" in found[2]
    assert "UTF-8" in found[3]


def test_a_table_without_a_uri_column_is_refused(tmp_path: Path) -> None:
    manifest = tmp_path / "table.csv"
    manifest.write_text("name,size\na.jpg,3\n")
    with pytest.raises(SourceError, match=r"no column named `uri`.*name,size"):
        check_source(str(manifest), read_settings())


def test_objects_name_their_image_by_uri_or_source_ref(tmp_path: Path) -> None:
    content = "\n".join(
        map(json.dumps, [
            {"uri": "s3://bucket/a.jpg", "more": {"x": [1]}},
            {"source-ref": "s3://bucket/b.jpg"},
            {"uri": "c.jpg", "source-ref": "s3://bucket/other.jpg"},
        ])
    )  # fmt: skip
    assert uris(listed(tmp_path / "list.jsonl", content)) == [
        "s3://bucket/a.jpg", "s3://bucket/b.jpg", from_path(tmp_path / "c.jpg"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ('"s3://bucket/a.jpg"', "no JSON object"),
        ('{"url": "s3://bucket/a.jpg"}', "neither `uri` nor `source-ref`"),
        ('{"uri": 3}', "`uri` that is no text"),
        ('{"uri": ""}', "empty"),
        ('{"uri": "s3://bucket/\\ud800"}', "Unicode"),
        ('{"uri": "s3://bucket/\\u0000"}', "NUL"),
    ],
)
def test_an_object_that_names_no_image_is_a_failed_image(
    tmp_path: Path, line: str, words: str
) -> None:
    images = listed(tmp_path / "list.jsonl", f'{line}\n{{"uri": "s3://bucket/b.jpg"}}\n')
    assert uris(images)[1] == "s3://bucket/b.jpg"
    [fault] = faults(images)
    assert fault.startswith("line 1: ")
    assert words in fault


def test_a_line_without_end_takes_no_memory(tmp_path: Path) -> None:
    manifest = tmp_path / "list.txt"
    with manifest.open("wb") as file:
        file.truncate(64 * 1024 * 1024)
        file.seek(0, io.SEEK_END)
        file.write(b"\ns3://bucket/a.jpg")
    tracemalloc.start()
    images = list(list_images(str(manifest), None, read_settings()))
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert uris(images)[1] == "s3://bucket/a.jpg"
    assert peak_bytes < 8 * 1024 * 1024


@pytest.mark.parametrize("content", [b"", b"\n\n# nothing\n", codecs.BOM_UTF8])
def test_a_manifest_that_names_nothing_is_refused(tmp_path: Path, content: bytes) -> None:
    manifest = tmp_path / "list.txt"
    manifest.write_bytes(content)
    with pytest.raises(SourceError, match="names no image"):
        check_source(str(manifest), read_settings())


def test_a_table_of_a_header_alone_names_nothing(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("uri\n")
    with pytest.raises(SourceError, match="names no image"):
        check_source(str(tmp_path / "table.csv"), read_settings())


@pytest.mark.parametrize("name", ["list.txt", "table.csv", "list.jsonl"])
def test_utf_16_is_refused_with_the_way_out(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("uri\ns3://bucket/a.jpg\n", encoding="utf-16")
    with pytest.raises(SourceError, match="save it as UTF-8"):
        check_source(str(tmp_path / name), read_settings())


def test_a_manifest_whose_first_line_is_bad_passes_and_fails_that_image(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("gs://bucket/a.jpg\n")
    check_source(str(tmp_path / "list.txt"), read_settings())


LINES = st.lists(
    st.sampled_from(
        [b"s3://bucket/%d.jpg", b"", b"# %d", b"gs://%d", b"\xff", b'"', b'a,"b\n"', b"{"]
    ),
    max_size=12,
)


@settings(max_examples=40, deadline=None, database=None)
@given(LINES, st.sampled_from(["txt", "csv", "jsonl"]))
def test_listing_from_any_cursor_is_the_rest_of_the_listing(
    lines: list[bytes], extension: str
) -> None:
    content = b"uri\n" + b"\n".join(
        line.replace(b"%d", str(n).encode()) for n, line in enumerate(lines)
    )
    with tempfile.TemporaryDirectory() as folder:
        manifest = Path(folder) / f"list.{extension}"
        images = listed(manifest, content)
        assert len({image.cursor for image in images}) == len(images)
        for number, image in enumerate(images, start=1):
            rest = list(list_images(str(manifest), image.cursor, read_settings()))
            assert rest == images[number:]


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> io.BytesIO:
    """Standard input of a test, in a new current folder."""
    stream = io.BytesIO()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(stream))
    monkeypatch.chdir(tmp_path)
    return stream


def test_standard_input_mixes_uris_paths_and_objects(typed: io.BytesIO, tmp_path: Path) -> None:
    typed.write(b's3://bucket/a.jpg\n# no\n{"uri": "s3://bucket/b.jpg"}\nc.jpg\n{oops\ngs://x/y\n')
    typed.seek(0)
    check_source("-", read_settings())
    images = list(list_images("-", None, read_settings()))
    assert uris(images) == [
        "s3://bucket/a.jpg", "s3://bucket/b.jpg", from_path(tmp_path / "c.jpg"),
        "stdin:#line-5", "stdin:#line-6",
    ]  # fmt: skip
    assert [image.cursor for image in images] == ["1", "3", "4", "5", "6"]
    assert [fault.partition(":")[0] for fault in faults(images)] == ["line 5", "line 6"]


def test_standard_input_goes_on_behind_a_line(typed: io.BytesIO) -> None:
    typed.write(b"s3://bucket/a.jpg\ns3://bucket/b.jpg\n")
    typed.seek(0)
    assert uris(list(list_images("-", "1", read_settings()))) == ["s3://bucket/b.jpg"]


def test_closed_standard_input_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(SourceError, match="standard input is closed"):
        list(list_images("-", None, read_settings()))
