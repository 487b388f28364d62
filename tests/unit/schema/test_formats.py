import io

import pytest
from PIL import Image

from schema.formats import (
    FORMATS,
    IMAGE_SUFFIXES,
    OTHER_SUFFIXES,
    READERS,
    SIGNATURE_BYTES,
    format_of,
)
from workers import decode


def written(reader: str) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (16, 16), "red").save(stream, reader)
    return stream.getvalue()


def test_what_is_listed_is_what_workers_read() -> None:
    assert decode.FORMATS == READERS


@pytest.mark.parametrize("reader", READERS)
def test_a_file_of_each_format_is_known_by_its_first_bytes(reader: str) -> None:
    found = format_of(written(reader)[:SIGNATURE_BYTES])
    assert found is not None
    assert found.reader == reader


def test_no_suffix_says_two_things() -> None:
    suffixes = [suffix for one in FORMATS for suffix in one.suffixes]
    assert len(suffixes) == len(IMAGE_SUFFIXES)
    assert not IMAGE_SUFFIXES & OTHER_SUFFIXES
    assert all(suffix == suffix.lower().strip() for suffix in IMAGE_SUFFIXES | OTHER_SUFFIXES)


@pytest.mark.parametrize(
    "begin",
    [b"", b"BMW, a maker of cars, and more", b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41",
     b"RIFF\0\0\0\0WAVEfmt ", b"%PDF-1.7", b"<svg", b"II am text", b"\xff\xd8"],
)  # fmt: skip
def test_what_is_no_image_is_of_no_format(begin: bytes) -> None:
    assert format_of(begin) is None
