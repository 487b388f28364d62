"""Reads bodies piece by piece, within the size limit and the deadline."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from urllib3 import BaseHTTPResponse
from urllib3.exceptions import HTTPError

from fakesweep.schema.failures import ImageTooLarge
from fakesweep.workers.fetch.errors import broken
from fakesweep.workers.fetch.retry import Deadline

if TYPE_CHECKING:
    from fakesweep.schema.settings import Settings

PIECE_BYTES = 256 * 1024


def read_pieces(read: Callable[[int], bytes], settings: "Settings", deadline: Deadline) -> bytes:
    """Join the pieces of `read` until it returns nothing.

    Raises:
        ImageTooLarge: the body exceeds `max_image_bytes`.
        FetchTimedOut: the deadline passed.
    """
    pieces: list[bytes] = []
    size_bytes = 0
    while piece := read(PIECE_BYTES):
        size_bytes += len(piece)
        check_size(size_bytes, settings)
        deadline.check()
        pieces.append(piece)
    return b"".join(pieces)


def read_response(
    response: BaseHTTPResponse,
    settings: "Settings",
    deadline: Deadline,
    who: str,
    *,
    unpack: bool = True,
) -> bytes:
    """Read the body of an HTTP response.

    `read1` returns the bytes at hand, so that a dripping server meets the deadline. `unpack`
    applies the `Content-Encoding`; the size limit then counts unpacked bytes.

    Raises:
        Transient: the body broke off or stalled.
        FetchFailure: the body is too large, too slow, or cannot be unpacked.
    """
    try:
        read = partial(response.read1, decode_content=unpack)
        return read_pieces(read, settings, deadline)
    except HTTPError as error:
        raise broken(error, settings, who) from error


def check_size(size_bytes: int, settings: "Settings") -> None:
    """Refuse bodies above `max_image_bytes`.

    Raises:
        ImageTooLarge: the message names the setting.
    """
    if size_bytes > settings.max_image_bytes:
        raise ImageTooLarge(
            f"the image has {size_bytes} bytes or more, {settings.max_image_bytes} are allowed "
            f"(FAKESWEEP_MAX_IMAGE_BYTES)"
        )
