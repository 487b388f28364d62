"""HEIF and AVIF boxes: finds the primary picture and extracts it alone."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from fakesweep.workers.sandbox.readers.claims import boxes

MAX_ITEMS = 10_000
_INFO_VERSIONS = {2: 2, 3: 4}  # to the bytes of an item's number
_FULL = 4  # bytes of version and flags before a full box's contents


@dataclass(slots=True)
class Meta:
    """The `meta` box: its items' kinds, locations, properties and parts."""

    primary: int | None = None
    kinds: dict[int, bytes] = field(default_factory=dict)
    bodies: dict[int, bytes] = field(default_factory=dict)
    properties: list[bytes] = field(default_factory=list)
    links: dict[int, list[int]] = field(default_factory=dict)
    parts: dict[int, list[int]] = field(default_factory=dict)

    @property
    def primary_kind(self) -> bytes | None:
        """Coding of the primary picture, such as `av01`, `hvc1`, `grid`."""
        kind = self.kinds.get(-1 if self.primary is None else self.primary)
        if kind == b"grid" and self.primary in self.parts:
            return self.kinds.get(self.parts[self.primary][0], kind)
        return kind

    def largest_size(self) -> tuple[int, int] | None:
        """Return the largest size claimed by any of its pictures."""
        sizes = [
            struct.unpack_from(">II", one, 12)
            for one in self.properties
            if one[4:8] == b"ispe" and len(one) >= 20  # noqa: PLR2004
        ]
        return max(sizes, key=lambda size: size[0] * size[1], default=None)


def meta_of(content: bytes) -> Meta | None:
    """Return the readable part of the file's `meta` box, None without one."""
    for kind, start, end in boxes(content):
        if kind == b"meta":
            meta = Meta()
            inner = {name: (at, stop) for name, at, stop in boxes(content, start + _FULL, end)}
            try:
                _fill(meta, content, inner)
            except (struct.error, IndexError):
                return meta
            return meta
    return None


def primary_alone(content: bytes) -> bytes | None:
    """Return an AVIF of the primary picture and its tiles alone, None where it cannot be found.

    Alpha is dropped anyway; damaged depth maps or thumbnails must not spoil the picture.
    """
    meta = meta_of(content)
    if meta is None or meta.primary is None:
        return None
    kept = list(dict.fromkeys([meta.primary, *meta.parts.get(meta.primary, ())]))
    if not all(meta.bodies.get(item) and item in meta.kinds for item in kept):
        return None
    head = _box(b"ftyp", b"avif\0\0\0\0avifmif1miaf")
    bare = _meta_box(meta, kept, 0)
    places = len(head) + len(bare) + 8
    bodies = b"".join(meta.bodies[item] for item in kept)
    return head + _meta_box(meta, kept, places) + _box(b"mdat", bodies)


def _fill(meta: Meta, content: bytes, inner: dict[bytes, tuple[int, int]]) -> None:
    nowhere = (len(content), len(content))
    _properties(meta, content, *inner.get(b"iprp", nowhere))
    if b"pitm" in inner:
        at = inner[b"pitm"][0]
        meta.primary = _number(content, at + _FULL, 2 if content[at] == 0 else 4)
    if b"iinf" in inner:
        _kinds(meta, content, *inner[b"iinf"])
    if b"iref" in inner:
        at, stop = inner[b"iref"]
        for name, start, end in boxes(content, at + _FULL, stop):
            if name == b"dimg":
                item, parts = _reference(content[start:end], 2 if content[at] == 0 else 4)
                meta.parts[item] = parts
    if b"iloc" in inner:
        at, stop = inner[b"iloc"]
        meta.bodies = dict(_bodies(content, content[at:stop], inner.get(b"idat", nowhere)[0]))


def _properties(meta: Meta, content: bytes, start: int, end: int) -> None:
    for name, at, stop in boxes(content, start, end):
        if name == b"ipco":
            meta.properties = [
                _box(kind, content[first:last]) for kind, first, last in boxes(content, at, stop)
            ]
        elif name == b"ipma":
            _links(meta, content[at:stop])


def _kinds(meta: Meta, content: bytes, at: int, stop: int) -> None:
    first = at + _FULL + (2 if content[at] == 0 else 4)
    for name, start, _ in boxes(content, first, stop):
        version = content[start]
        if name == b"infe" and version in _INFO_VERSIONS:
            width = _INFO_VERSIONS[version]
            item = _number(content, start + _FULL, width)
            kind = start + _FULL + width + 2
            meta.kinds[item] = content[kind : kind + 4]


def _links(meta: Meta, ipma: bytes) -> None:
    version, flags = ipma[0], ipma[3]
    (count,) = struct.unpack_from(">I", ipma, _FULL)
    at = _FULL + 4
    for _ in range(min(count, MAX_ITEMS)):
        item = _number(ipma, at, 4 if version else 2)
        at += 4 if version else 2
        links = meta.links.setdefault(item, [])
        width = 2 if flags & 1 else 1
        for place in range(at + 1, at + 1 + width * ipma[at], width):
            value = _number(ipma, place, width)
            essential, index = value >> (8 * width - 1), value & (0x7FFF if width == 2 else 0x7F)  # noqa: PLR2004
            links.append(essential << 15 | index)
        at += 1 + width * ipma[at]


def _reference(body: bytes, width: int) -> tuple[int, list[int]]:
    count = _number(body, width, 2)
    return _number(body, 0, width), [
        _number(body, width + 2 + width * number, width) for number in range(count)
    ]


def _bodies(content: bytes, iloc: bytes, idat: int) -> Iterator[tuple[int, bytes]]:
    """Yield each item's bytes, joined from its extents, until an extent leaves the file."""
    version = iloc[0]
    offset_bytes, length_bytes = iloc[4] >> 4, iloc[4] & 15
    base_bytes, index_bytes = iloc[5] >> 4, (iloc[5] & 15 if version else 0)
    wide = 4 if version == 2 else 2  # noqa: PLR2004
    count, at = _number(iloc, 6, wide), 6 + wide
    taken = 0
    for _ in range(min(count, MAX_ITEMS)):
        item = _number(iloc, at, wide)
        at += wide
        method = iloc[at + 1] & 15 if version else 0
        at += (2 if version else 0) + 2
        base = _number(iloc, at, base_bytes)
        extents, at = _number(iloc, at + base_bytes, 2), at + base_bytes + 2
        body = bytearray()
        for _ in range(extents):
            at += index_bytes
            start = base + _number(iloc, at, offset_bytes) + (idat if method == 1 else 0)
            length = _number(iloc, at + offset_bytes, length_bytes)
            at += offset_bytes + length_bytes
            taken += length
            if method > 1 or start + length > len(content) or taken > 2 * len(content):
                return
            body += content[start : start + length]
        yield item, bytes(body)


def _meta_box(meta: Meta, kept: list[int], places: int) -> bytes:
    """Return a `meta` box of the items, whose bytes are consecutive from `places` on."""
    renamed = {item: number for number, item in enumerate(kept, 1)}
    used = sorted({link & 0x7FFF for item in kept for link in meta.links.get(item, ())})
    used = [index for index in used if 0 < index <= len(meta.properties)]
    order = {index: number for number, index in enumerate(used, 1)}
    infos, locations, links = b"", b"", b""
    for item, number in renamed.items():
        infos += _box(
            b"infe", b"\2\0\0\0" + struct.pack(">HH", number, 0) + meta.kinds[item] + b"\0"
        )
        locations += struct.pack(">HHHII", number, 0, 1, places, len(meta.bodies[item]))
        places += len(meta.bodies[item])
        own = [link for link in dict.fromkeys(meta.links.get(item, ())) if link & 0x7FFF in order]
        links += struct.pack(">HB", number, len(own))
        links += b"".join(struct.pack(">H", link & 0x8000 | order[link & 0x7FFF]) for link in own)
    count = struct.pack(">H", len(kept))
    properties = _box(b"ipco", b"".join(meta.properties[index - 1] for index in used))
    body = (
        bytes(4)
        + _box(b"hdlr", bytes(8) + b"pict" + bytes(13))
        + _box(b"pitm", bytes(4) + struct.pack(">H", 1))
        + _box(b"iloc", bytes(4) + b"\x44\0" + count + locations)
        + _box(b"iinf", bytes(4) + count + infos)
        + _box(
            b"iprp", properties + _box(b"ipma", b"\0\0\0\1" + struct.pack(">I", len(kept)) + links)
        )
    )
    if len(kept) > 1:
        parts = [renamed[part] for part in meta.parts[kept[0]]]
        reference = struct.pack(f">HH{len(parts)}H", 1, len(parts), *parts)
        body += _box(b"iref", bytes(4) + _box(b"dimg", reference))
    return _box(b"meta", body)


def _box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body) + 8) + kind + body


def _number(content: bytes, at: int, size: int) -> int:
    if at + size > len(content):
        raise struct.error("the box ends before its number")
    return int.from_bytes(content[at : at + size], "big")
