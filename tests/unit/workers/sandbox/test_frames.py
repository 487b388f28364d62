import io
import struct
import time
import zlib
from typing import Any

import pytest
from PIL import Image

from fakesweep.workers.sandbox.frames import MAX_STEPS, count_frames
from tests.support.samples import picture, written


@pytest.mark.parametrize(
    ("format_name", "options"),
    [
        ("GIF", {}),
        ("GIF", {"optimize": True, "comment": b"hello" * 100, "loop": 0}),
        ("TIFF", {}),
        ("TIFF", {"big_tiff": True}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("PNG", {}),
        ("WEBP", {}),
        ("AVIF", {}),
        ("HEIF", {}),
    ],
)
def test_frames_are_counted_as_pillow_counts_them(
    format_name: str, options: dict[str, Any]
) -> None:
    later = [picture(index) for index in range(1, 7)]
    content = written(picture(0), format_name, save_all=True, append_images=later, **options)

    assert _count(content) == _pillows_count(content) == 7


def test_a_file_cut_off_within_its_animation_counts_what_is_there() -> None:
    later = [picture(index) for index in range(1, 7)]
    for format_name in ("GIF", "TIFF"):
        content = written(picture(0), format_name, save_all=True, append_images=later)

        assert 1 <= _count(content[: len(content) // 2]) < 7


def test_an_endless_gif_is_counted_in_bounded_time() -> None:
    frame = struct.pack("<BHHHHBB", 0x2C, 0, 0, 1, 1, 0, 2) + b"\x02\x4c\x01\x00"
    content = b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0, 0, 0) + frame * 3_000_000

    started = time.perf_counter()
    count = _count(content)

    assert 100_000 < count < MAX_STEPS
    assert time.perf_counter() - started < 5


def test_tiff_pages_that_lead_in_a_circle_are_counted_once() -> None:
    content = bytearray(written(picture(0), "TIFF", save_all=True, append_images=[picture(1)]))
    (first,) = struct.unpack_from("<I", content, 4)
    (entries,) = struct.unpack_from("<H", content, first)
    struct.pack_into("<I", content, first + 2 + 12 * entries, first)

    assert _count(bytes(content)) == 1


def test_an_animation_that_claims_more_frames_than_a_row_can_hold_is_clipped() -> None:
    content = bytearray(written(picture(0), "PNG", save_all=True, append_images=[picture(1)]))
    at = content.index(b"acTL") + 4
    content[at : at + 4] = b"\x80\x00\x00\x00"

    with Image.open(io.BytesIO(_with_checksum(bytes(content), at))) as image:
        assert count_frames(image, bytes(content)) == 2**31 - 1


def _with_checksum(content: bytes, at: int) -> bytes:
    end = at + 8
    return content[:end] + struct.pack(">I", zlib.crc32(content[at - 4 : end])) + content[end + 4 :]


def _count(content: bytes) -> int:
    with Image.open(io.BytesIO(content)) as image:
        return count_frames(image, content)


def _pillows_count(content: bytes) -> int:
    with Image.open(io.BytesIO(content)) as image:
        return int(getattr(image, "n_frames", 1))
