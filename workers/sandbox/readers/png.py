"""PNGs reduced to the chunks of their pixels, so that long texts and profiles are harmless."""

import zlib

from fakesweep.schema.formats import NAMED

_SIGNATURE_BYTES = 8
_LONGEST_TEXT = 2**20
"""Pillow's limit of a decompressed text; longer texts are dropped."""

_TEXTS = frozenset({b"tEXt", b"zTXt", b"iTXt"})
_SHOWN = frozenset(
    {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"eXIf", b"acTL", b"fcTL", b"fdAT"}
)


def without_spare_chunks(content: bytes) -> bytes | None:
    """Return a PNG with its pixels' chunks and short texts alone; None for other formats.

    Damaged ancillary chunks are dropped, as in browsers. Short texts stay, since some programs
    write the orientation into one.
    """
    signature = NAMED["PNG"].signature
    if signature is None or not signature.match(content):
        return None
    kept, at, room = [content[:_SIGNATURE_BYTES]], _SIGNATURE_BYTES, _LONGEST_TEXT
    while at + 12 <= len(content):
        length, kind = int.from_bytes(content[at : at + 4], "big"), content[at + 4 : at + 8]
        chunk = content[at : at + 12 + length]
        if kind in _TEXTS:
            size = _unfolded(kind, chunk[8:-4], room)
            is_kept, room = size < room, room - min(size, room)
        else:
            is_kept = kind in _SHOWN
        if _is_ancillary(kind) and not _is_sound(chunk):
            is_kept = False
        if is_kept:
            kept.append(chunk)
        at += 12 + length
    return b"".join(kept)


def _is_ancillary(kind: bytes) -> bool:
    return bool(kind[0] & 0x20)


def _is_sound(chunk: bytes) -> bool:
    return zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:], "big")


def _unfolded(kind: bytes, text: bytes, most: int) -> int:
    """Return a text's decompressed length, at most `most`; also `most` for invalid texts."""
    _, _, rest = text.partition(b"\0")
    if kind == b"tEXt" or (kind == b"iTXt" and rest[:1] == b"\0"):
        return min(len(text), most)
    method, stream = rest[:1], rest[1:]
    if kind == b"iTXt":
        method, stream = rest[1:2], rest[2:].split(b"\0", 2)[-1]
    if method != b"\0":
        return most
    try:
        return len(zlib.decompressobj().decompress(stream, most)) or 1
    except zlib.error:
        return most
