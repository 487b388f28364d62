"""Files of formats that the worker reads without Pillow, and hostile ones of these."""

import io
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.support.samples import picture, written

Tags = Mapping[int, int | Sequence[int] | bytes]

SHORT, LONG, BYTES = 3, 4, 7


def tiff(
    pixels: bytes,
    width: int,
    height: int,
    tags: Tags,
    *,
    order: str = "<",
    is_big: bool = False,
) -> bytes:
    """Return a TIFF of one strip; `tags` are further tags, integers or bytes."""
    mark = b"II" if order == "<" else b"MM"
    head = mark + struct.pack(
        order + ("HHHQ" if is_big else "HI"), *((43, 8, 0, 16) if is_big else (42, 8))
    )
    inline, entry_bytes = (8, 20) if is_big else (4, 12)
    first = len(head)
    wanted: dict[int, int | Sequence[int] | bytes] = {
        256: width, 257: height, 258: 8, 259: 1, 262: 1, 273: 0, 277: 1, 278: height,
        279: len(pixels), **tags,
    }  # fmt: skip
    table_bytes = (8 + 8 if is_big else 2 + 4) + entry_bytes * len(wanted)
    extra_at = first + table_bytes
    pixels_at = extra_at + sum(
        len(_values(order, wanted[tag])[2])
        for tag in wanted
        if len(_values(order, wanted[tag])[2]) > inline
    )
    wanted[273] = pixels_at if wanted[273] == 0 else wanted[273]
    table, extra = b"", b""
    for tag in sorted(wanted):
        kind, count, body = _values(order, wanted[tag])
        table += struct.pack(order + ("HHQ" if is_big else "HHI"), tag, kind, count)
        if len(body) > inline:
            table += struct.pack(order + ("Q" if is_big else "I"), extra_at + len(extra))
            extra += body
        else:
            table += body.ljust(inline, b"\0")
    entries = struct.pack(order + ("Q" if is_big else "H"), len(wanted))
    end = struct.pack(order + ("Q" if is_big else "I"), 0)
    return head + entries + table + end + extra + pixels


def _values(order: str, value: int | Sequence[int] | bytes) -> tuple[int, int, bytes]:
    if isinstance(value, bytes):
        return BYTES, len(value), value
    numbers = [value] if isinstance(value, int) else list(value)
    kind, code = (SHORT, "H") if max(numbers, default=0) < 2**16 else (LONG, "I")
    return kind, len(numbers), struct.pack(f"{order}{len(numbers)}{code}", *numbers)


def grey(seed: int) -> NDArray[np.uint8]:
    """Return a grey picture of 64 rows and 90 columns with the range 0 to 255."""
    tones = np.asarray(picture(seed).convert("L")).copy()
    tones[0, 0], tones[0, 1] = 0, 255
    return tones


def packed(values: NDArray[Any], bits: int) -> bytes:
    """Return rows of integers packed to `bits` bits, highest bit first."""
    flat = values.reshape(values.shape[0], -1)
    each = (flat[..., None] >> np.arange(bits - 1, -1, -1)) & 1
    return np.packbits(each.reshape(len(flat), -1).astype(np.uint8), axis=1).tobytes()


def dng(seed: int, preview: tuple[int, int] = (160, 120), orientation: int = 1) -> bytes:
    """Return a camera file: sensor values with an embedded JPEG."""
    shown = written(picture(seed).resize(preview), "JPEG", quality=95)
    below = tiff(b"", *preview, {259: 7, 262: 6})  # only for its entries
    sensor = tiff(bytes(40 * 30 * 2), 40, 30, {
        258: 16, 262: 32803, 274: orientation, 330: 1, 50706: b"\1\4\0\0",
    })  # fmt: skip
    start = len(sensor)
    entries = below[8 : 8 + 2 + 12 * 9 + 4]
    entries = _with(entries, 273, start + len(entries))
    entries = _with(entries, 279, len(shown))
    return _with(sensor, 330, start, at=8) + entries + shown


def _with(directory: bytes, tag: int, value: int, at: int = 0) -> bytes:
    """Return a little-endian TIFF with another LONG value of a tag."""
    (count,) = struct.unpack_from("<H", directory, at)
    for place in range(at + 2, at + 2 + 12 * count, 12):
        if struct.unpack_from("<H", directory, place)[0] == tag:
            entry = struct.pack("<HHII", tag, LONG, 1, value)
            return directory[:place] + entry + directory[place + 12 :]
    raise KeyError(tag)


def jxl(image: Image.Image) -> bytes:
    """Return a lossless JPEG XL."""
    return bytes(imagecodecs.jpegxl_encode(np.asarray(image), lossless=True))


def psd(image: Image.Image, bits: int = 8, version: int = 1) -> bytes:
    """Return a layered file without layers: its uncompressed composite."""
    head = struct.pack(">4sH6xHIIHH", b"8BPS", version, 3, image.height, image.width, bits, 3)
    planes = np.moveaxis(np.asarray(image), -1, 0).tobytes() * (bits // 8)
    return head + bytes(4 + 4 + 4) + b"\0\0" + planes


def bitmap(
    masks: tuple[int, int, int], bits: int, compression: int = 3
) -> tuple[bytes, Image.Image]:
    """Return a BMP of full or empty bit fields, and its picture."""
    image = picture(31).quantize(2).convert("RGB").point(lambda value: 255 if value > 99 else 0)
    tones = np.asarray(image)[::-1] > 0
    values = sum(
        np.where(tones[..., channel], np.uint32(mask), np.uint32(0))
        for channel, mask in enumerate(masks)
    )
    rows = np.asarray(values).astype(f"<u{bits // 8}").tobytes()
    info = struct.pack("<IiiHHIIiiII", 40, 90, 64, 1, bits, compression, len(rows), 0, 0, 0, 0)
    head = struct.pack("<2sIHHI", b"BM", 66 + len(rows), 0, 0, 66)
    return head + info + struct.pack("<III", *masks) + rows, image


def avif_with_bad_alpha(seed: int) -> tuple[bytes, Image.Image]:
    """Return an AVIF whose alpha lacks its size, and the picture with a sound alpha."""
    image = picture(seed)
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    content = written(image, "AVIF")
    with Image.open(io.BytesIO(content)) as whole:
        shown = whole.convert("RGB")
    at = content.index(b"ipma") + 12  # past kind, version, flags and count
    count = content[at + 2]
    alpha = at + 3 + count
    assert content[alpha : alpha + 2] == b"\0\2"
    first = alpha + 3
    assert content[first] & 0x7F == 1, "the size is the first property"
    return content[:first] + b"\0" + content[first + 1 :], shown


def icon_with(inner: bytes, kind: int = 1) -> bytes:
    """Return an icon of one picture, which claims 16 x 16 pixels."""
    return (
        struct.pack("<HHH", 0, kind, 1)
        + struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, len(inner), 22)
        + inner
    )
