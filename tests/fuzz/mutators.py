"""Mutators of files, like accidents and attacks; seed and number determine the bytes."""

import random
from collections.abc import Callable, Sequence

from tests.fuzz.pieces import pieces, with_checksums

LARGEST_BYTES = 2_000_000

_MAGIC = (
    b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"II*\x00", b"MM\x00*", b"II+\x00",
    b"BM", b"RIFF", b"WEBP", b"VP8 ", b"VP8L", b"VP8X", b"ANMF", b"ftypavif", b"ftypheic",
    b"ftypmif1", b"8BPS", b"jP  ", b"\xff\x4f\xff\x51", b"JXL ", b"\xff\x0a", b"jxlc",
    b"TRUEVISION-XFILE.\x00",
    b"\x00\x00\x01\x00", b"\x00\x00\x02\x00", b"P6 9 9 255\n", b"MM\x00+\x00\x08\x00\x00", b"ipma",
    b"IHDR", b"IDAT", b"IEND", b"acTL", b"fcTL", b"fdAT", b"tRNS", b"PLTE", b"iCCP",
    b"zTXt", b"iTXt", b"eXIf", b"Exif\x00\x00", b"\xff\xda", b"\xff\xc0", b"\xff\xc2", b"\xff\xc4",
    b"\xff\xdb", b"\xff\xd9", b"\xff\xdd", b"\xff\xe1", b"\xff\xe2MPF\x00", b"ICC_PROFILE\x00",
    b"\x21\xf9\x04", b"\x21\xfe", b"\x2c", b"\x3b", b"iloc", b"ispe", b"grid", b"meta",
    b"PK\x03\x04", b"%PDF-1.7", b"<script>", b"%!PS-Adobe", b"\x1f\x8b\x08",
    b"\x00" * 16, b"\xff" * 16,
)  # fmt: skip

_NUMBERS = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)

Breaker = Callable[[random.Random, bytes, Sequence[bytes]], bytes]


def broken(seed: int, number: int, sound: Sequence[bytes]) -> bytes:
    """Return the file of this number: a sound one after one to four mutations."""
    source = random.Random(f"{seed}/{number}")
    content = source.choice(sound)
    for _ in range(source.choice((1, 1, 2, 4))):
        content = source.choice(BREAKERS)(source, content, sound)[:LARGEST_BYTES]
    return with_checksums(content) if source.random() < 0.7 else content


def _flip_bits(source: random.Random, content: bytes, _sound: Sequence[bytes]) -> bytes:
    changed = bytearray(content)
    for _ in range(source.choice((1, 2, 8, 64)) if changed else 0):
        changed[_place(source, content)] ^= 1 << source.randrange(8)
    return bytes(changed)


def _overwrite(source: random.Random, content: bytes, _sound: Sequence[bytes]) -> bytes:
    at, size = _place(source, content), source.choice((1, 4, 30, 500))
    run = source.choice((source.randbytes(size), b"\x00" * size, b"\xff" * size))
    return content[:at] + run + content[at + size :]


def _insert(source: random.Random, content: bytes, _sound: Sequence[bytes]) -> bytes:
    at = _place(source, content)
    run = source.choice((source.choice(_MAGIC), source.randbytes(source.choice((1, 9, 300)))))
    return content[:at] + run * source.choice((1, 1, 50)) + content[at:]


def _plant_magic(source: random.Random, content: bytes, _sound: Sequence[bytes]) -> bytes:
    at, magic = _place(source, content), source.choice(_MAGIC)
    return content[:at] + magic + content[at + len(magic) :]


def _delete(source: random.Random, content: bytes, _sound: Sequence[bytes]) -> bytes:
    at = _place(source, content)
    return content[:at] + content[at + source.choice((1, 4, 40, 2_000)) :]


def _truncate(source: random.Random, content: bytes, _sound: Sequence[bytes]) -> bytes:
    return content[: _place(source, content)]


def _edit_number(source: random.Random, content: bytes, _sound: Sequence[bytes]) -> bytes:
    """Overwrite a length, count or size with a plausible one."""
    changed, size = bytearray(content), source.choice((1, 2, 4, 8))
    at = _place(source, content)
    number = source.choice((*_NUMBERS, len(content), source.getrandbits(32))) % 256**size
    changed[at : at + size] = number.to_bytes(size, source.choice(("big", "little")))
    return bytes(changed)


def _move_pieces(source: random.Random, content: bytes, _sound: Sequence[bytes]) -> bytes:
    parts = pieces(content)
    if not parts:
        return content
    first, second = source.randrange(len(parts)), source.randrange(len(parts))
    match source.randrange(4):
        case 0:
            parts[first], parts[second] = parts[second], parts[first]
        case 1:
            parts[first:first] = [parts[second]] * source.choice((1, 2, 300))
        case 2:
            del parts[first]
        case _:
            parts = parts[: first + 1]
    return b"".join(parts)


def _borrow_piece(source: random.Random, content: bytes, sound: Sequence[bytes]) -> bytes:
    parts, others = pieces(content), pieces(source.choice(sound))
    parts.insert(source.randrange(len(parts) + 1), source.choice(others))
    return b"".join(parts)


def _splice(source: random.Random, content: bytes, sound: Sequence[bytes]) -> bytes:
    other = source.choice(sound)
    return content[: _place(source, content)] + other[_place(source, other) :]


def _swap_header(source: random.Random, content: bytes, sound: Sequence[bytes]) -> bytes:
    size = source.choice((2, 4, 12, 32, 200))
    return source.choice(sound)[:size] + content[size:]


BREAKERS: tuple[Breaker, ...] = (
    _flip_bits, _overwrite, _insert, _plant_magic, _delete, _truncate, _edit_number, _edit_number,
    _move_pieces, _move_pieces, _borrow_piece, _splice, _swap_header,
)  # fmt: skip


def _place(source: random.Random, content: bytes) -> int:
    """Choose an offset, half of the time near the start, in the headers."""
    if not content:
        return 0
    if source.random() < 0.5:
        return min(int(source.expovariate(1 / 80)), len(content) - 1)
    return source.randrange(len(content))
