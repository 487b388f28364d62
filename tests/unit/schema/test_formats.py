"""The format of a file by its name and first bytes."""

import io

import pillow_heif
import pytest
from PIL import Image

from fakesweep.schema.formats import (
    FORMATS,
    IMAGE_SUFFIXES,
    NAMED,
    OTHER_SUFFIXES,
    READ,
    SIGNATURE_BYTES,
    Reader,
    format_of,
)

pillow_heif.register_heif_opener()

BY_PILLOW = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF", "HEIF", "JPEG2000", "PPM",
             "ICO", "DIB")  # fmt: skip


def written(name: str) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (16, 16), "red").save(stream, name)
    return stream.getvalue()


@pytest.mark.parametrize("name", BY_PILLOW)
def test_a_file_of_each_format_is_known_by_its_first_bytes(name: str) -> None:
    assert format_of(written(name)[:SIGNATURE_BYTES]) is NAMED[name]


@pytest.mark.parametrize(
    ("begin", "name"),
    [
        (b"\0\0\0\x0cJXL \r\n\x87\n\0\0\0\x14ftypjxl ", "JXL"),
        (b"\xff\x0a\x7f", "JXL"),
        (b"\xff\x4f\xff\x51\0\x2f", "JPEG2000"),
        (b"8BPS\0\1" + bytes(20), "PSD"),
        (b"II*\0\x10\0\0\0CR\x02\0", "RAW"),
        (b"II*\0\x10\0\0\0BB", "TIFF"),
        (b"FUJIFILMCCD-RAW 0201", "RAW"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom", "RAW"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1avif", "AVIF"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "HEIF"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1miaf", "HEIF"),
        (b"\0\0\0\x10ftypmif1\0\0\0\0avif", "HEIF"),  # the box ends before the word
        (b"v/1\x01\2\0\0\0", "OpenEXR"),
        (b'\xef\xbb\xbf<?xml version="1.0"?>\n<!-- x -->\n<svg xmlns="x">', "SVG"),
    ],
)
def test_a_format_is_known_by_its_first_bytes(begin: bytes, name: str) -> None:
    assert format_of(begin) is NAMED[name]


def test_no_suffix_says_two_things() -> None:
    suffixes = [suffix for one in FORMATS for suffix in one.suffixes]
    assert len(suffixes) == len(set(suffixes))
    assert not IMAGE_SUFFIXES & OTHER_SUFFIXES
    assert all(suffix == suffix.lower().strip() for suffix in {*suffixes, *OTHER_SUFFIXES})


def test_what_is_listed_are_the_suffixes_of_what_is_read() -> None:
    assert {
        suffix for one in FORMATS if one.reader is not Reader.NOTHING for suffix in one.suffixes
    } == IMAGE_SUFFIXES
    assert set(READ) == {one.name for one in FORMATS if one.reader is not Reader.NOTHING}


@pytest.mark.parametrize(
    "begin",
    [b"", b"BMW, a maker of cars, and more", b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41",
     b"RIFF\0\0\0\0WAVEfmt ", b"%PDF-1.7", b"<svg", b"II am text", b"\xff\xd8", b"P5x",
     b"<!doctype html><body><svg >"],
)  # fmt: skip
def test_files_that_are_no_images_have_no_format(begin: bytes) -> None:
    assert format_of(begin) is None
