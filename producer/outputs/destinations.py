"""Destinations of outputs: resolved, checked and opened."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fakesweep.producer.outputs.bucket import open_bucket
from fakesweep.producer.outputs.draft import OutputPlace
from fakesweep.producer.outputs.folder import Folder
from fakesweep.schema.errors import OutputError
from fakesweep.schema.failures import InvalidUri
from fakesweep.schema.net.storage import one_line
from fakesweep.schema.settings import Settings
from fakesweep.schema.uris import normalise, scheme_of, to_path, to_s3

MAX_PREFIX_BYTES = 900
"""Limit of a prefix: S3's keys have up to 1,024 bytes, file names included."""


@dataclass(frozen=True, slots=True)
class Destination:
    """Destination of an output; `hostname` is the only machine that can write it, None for S3.

    `place` is an absolute path without symbolic links, or `s3://bucket/prefix/` as plain text.
    """

    place: str
    hostname: str | None


def resolve_destination(text: str) -> Destination:
    """Return the normal form of a destination, unchecked.

    Raises:
        OutputError: the text is neither a folder nor s3://bucket/prefix.
    """
    try:
        return _resolved(text)
    except InvalidUri as error:
        raise OutputError(f"output {one_line(text)!r} cannot be used: {error}") from error


def check_destination(destination: Destination, settings: Settings) -> None:
    """Refuse a destination that is not empty or not writable; a missing folder is created.

    Raises:
        OutputError: the destination is refused; the message says what to do.
    """
    with open_place(destination, settings) as place:
        place.check_new()


@contextmanager
def open_place(destination: Destination, settings: Settings) -> Iterator[OutputPlace]:
    """Open the place of a destination.

    Raises:
        OutputError: the place cannot be reached.
    """
    if scheme_of(destination.place) == "s3":
        with open_bucket(to_s3(destination.place), settings) as bucket:
            yield bucket
    else:
        yield Folder(Path(destination.place))


def _resolved(text: str) -> Destination:
    if not text or text == "-" or "\x00" in text:
        raise InvalidUri("name a folder or s3://bucket/prefix")
    if text.encode("utf-8", "replace").decode() != text:
        raise InvalidUri("it is no valid Unicode")
    match scheme_of(text):
        case "s3":
            address = to_s3("s3://" + text.partition("://")[2])
            prefix = (
                address.key if address.key.endswith("/") or not address.key else (address.key + "/")
            )
            if len(prefix.encode()) > MAX_PREFIX_BYTES:
                raise InvalidUri(f"the prefix is longer than {MAX_PREFIX_BYTES} bytes")
            return Destination(f"s3://{address.bucket}/{prefix}", None)
        case "file":
            return _folder(str(to_path(normalise(text))))
        case None:
            return _folder(text)
        case scheme:
            raise InvalidUri(f"{scheme}:// cannot be written; name a folder or s3://bucket/prefix")


def _folder(path: str) -> Destination:
    return Destination(os.path.realpath(path), socket.gethostname())
