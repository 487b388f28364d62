"""Hostile files: bombs, loops, false sizes, and polyglots."""

import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator

from tests.support.samples import picture, written

MIB = 1024**2

PNG = b"\x89PNG\r\n\x1a\n"
_VP8L_SIZE_BITS = 14


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    """Return a PNG of these chunks with correct checksums."""
    return PNG + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )


def ihdr(width: int, height: int, bits: int = 8, colour: int = 2) -> tuple[bytes, bytes]:
    return b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)


def zeros(size_bytes: int) -> bytes:
    """Return `size_bytes` zeros, compressed a thousandfold."""
    packer = zlib.compressobj(9)
    piece = bytes(MIB)
    packed = [packer.compress(piece) for _ in range(size_bytes // MIB)]
    return b"".join(packed) + packer.compress(bytes(size_bytes % MIB)) + packer.flush()


def claiming(format_name: str, width: int, height: int) -> bytes:
    """Return a small file that claims a picture of this size."""
    return _CLAIMS[format_name](width, height)


def text_bombs(size_bytes: int) -> Iterator[tuple[str, bytes]]:
    """Yield small PNGs whose texts or colour profile decompress to `size_bytes`."""
    packed = zeros(size_bytes)
    pixels = (b"IDAT", zlib.compress(b"\x00" * 4))
    for name, chunk in {
        "zTXt": (b"zTXt", b"Comment\x00\x00" + packed),
        "iTXt": (b"iTXt", b"Comment\x00\x01\x00en\x00\x00" + packed),
        "iCCP": (b"iCCP", b"profile\x00\x00" + packed),
    }.items():
        yield f"{name} before the pixels", png(ihdr(1, 1), chunk, pixels, (b"IEND", b""))
        yield f"{name} behind the pixels", png(ihdr(1, 1), pixels, chunk, (b"IEND", b""))


def endless_gif(frames: int) -> bytes:
    frame = struct.pack("<BHHHHBB", 0x2C, 0, 0, 1, 1, 0, 2) + b"\x02\x4c\x01\x00"
    return b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0, 0, 0) + frame * frames


def endless_png() -> bytes:
    """Return an APNG that announces the largest number of frames."""
    control = struct.pack(">IIIIIHHBB", 0, 8, 8, 0, 0, 1, 1, 0, 0)
    pixels = zlib.compress((b"\x00" + b"\x80" * 24) * 8)
    announced = (b"acTL", struct.pack(">II", 2**32 - 1, 0))
    return png(ihdr(8, 8), announced, (b"fcTL", control), (b"IDAT", pixels), (b"IEND", b""))


def scan_bomb(side: int, scans: int) -> bytes:
    """Return a progressive JPEG whose scans visit each block of a large picture repeatedly."""
    content = written(picture(3), "JPEG", progressive=True, quality=20)
    content = _with_size(content, content.index(b"\xff\xc2") + 5, ">HH", side, side)
    last = content.rindex(b"\xff\xda")
    return content[:last] + content[last:-2] * scans + b"\xff\xd9"


def looping_tiff() -> bytes:
    content = bytearray(written(picture(0), "TIFF", save_all=True, append_images=[picture(1)]))
    (first,) = struct.unpack_from("<I", content, 4)
    (entries,) = struct.unpack_from("<H", content, first)
    struct.pack_into("<I", content, first + 2 + 12 * entries, first)
    return bytes(content)


def tiff_with(*tags: tuple[int, int, int]) -> bytes:
    """Return a TIFF with these tags, each with a count and a value of 4-byte numbers."""
    content = bytearray(written(picture(1), "TIFF"))
    (first,) = struct.unpack_from("<I", content, 4)
    (entries,) = struct.unpack_from("<H", content, first)
    places = range(first + 2, first + 2 + 12 * entries, 12)
    found = {struct.unpack_from("<H", content, at)[0]: at for at in places}
    for tag, count, value in tags:
        struct.pack_into("<HII", content, found[tag] + 2, 4, count, value)
    return bytes(content)


def polyglots() -> Iterator[tuple[str, bytes]]:
    """Yield pictures that are also valid files of other kinds."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("run.sh", "#!/bin/sh\nreboot\n")
    script = b"*/=1;alert('\x1b[31m');/*"
    page = b"<!doctype html><script>alert(1)</script>"
    yield "gif and script", written(picture(0), "GIF", comment=script) + script
    yield "jpeg and archive", written(picture(1), "JPEG", comment=page) + archive.getvalue()
    yield "png and document", written(picture(2), "PNG") + b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\n"
    yield "bmp and page", written(picture(3), "BMP") + page
    yield "webp and archive", written(picture(4), "WEBP") + archive.getvalue()


def _jpeg(width: int, height: int) -> bytes:
    content = written(picture(0), "JPEG")
    return _with_size(content, content.index(b"\xff\xc0") + 5, ">HH", height, width)


def _gif(width: int, height: int) -> bytes:
    content = _with_size(written(picture(0), "GIF"), 6, "<HH", width, height)
    return _with_size(content, content.index(b"\x2c\x00\x00\x00\x00") + 5, "<HH", width, height)


def _webp(width: int, height: int) -> bytes:
    content = bytearray(written(picture(0), "WEBP", lossless=True))
    at = content.index(b"VP8L") + 9
    (bits,) = struct.unpack_from("<I", content, at)
    bits = bits >> 2 * _VP8L_SIZE_BITS << 2 * _VP8L_SIZE_BITS
    struct.pack_into("<I", content, at, bits | (height - 1) << _VP8L_SIZE_BITS | (width - 1))
    return bytes(content)


def _box(format_name: str) -> Callable[[int, int], bytes]:
    def make(width: int, height: int) -> bytes:
        content = written(picture(0), format_name)
        at = content.index(b"ispe") + 8
        return _with_size(content, at, ">II", width, height)

    return make


def _with_size(content: bytes, at: int, code: str, first: int, second: int) -> bytes:
    changed = bytearray(content)
    struct.pack_into(code, changed, at, first, second)
    return bytes(changed)


_CLAIMS: dict[str, Callable[[int, int], bytes]] = {
    "JPEG": _jpeg,
    "PNG": lambda width, height: png(
        ihdr(width, height), (b"IDAT", zlib.compress(b"\x00" * 100)), (b"IEND", b"")
    ),
    "WEBP": _webp,
    "GIF": _gif,
    "TIFF": lambda width, height: tiff_with((256, 1, width), (257, 1, height)),
    "BMP": lambda width, height: _with_size(written(picture(0), "BMP"), 18, "<ii", width, height),
    "AVIF": _box("AVIF"),
    "HEIF": _box("HEIF"),
}


def long_png(width: int) -> bytes:
    """Return a black one-bit PNG of one row."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, 1, 1, 0, 0, 0, 0)
    row = b"IDAT" + zlib.compress(bytes(1 + (width + 7) // 8), 9)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(one) - 4) + one + struct.pack(">I", zlib.crc32(one))
        for one in (header, row, b"IEND")
    )
