"""Contents: the bytes that several images may share."""

from dataclasses import dataclass

from fakesweep.schema.words import ReadAs


@dataclass(frozen=True, slots=True)
class Content:
    """The bytes of an image; dimensions are None where they were never decoded.

    `sha256` has 32 bytes. `width` and `height` are in pixels after EXIF orientation.
    """

    sha256: bytes
    size_bytes: int
    width: int | None = None
    height: int | None = None
    format: str | None = None
    frame_count: int | None = None
    read_as: ReadAs | None = None
