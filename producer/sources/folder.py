"""Folders as sources: every image below one, in the order of the bytes of its path."""

import hashlib
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote, unquote_to_bytes

from producer.sources.names import has_image_extension, shown
from schema.errors import SourceError
from schema.failures import InvalidUri
from schema.ledger import ListedImage
from schema.storage import one_line
from schema.uris import from_path


def list_folder(folder: Path, cursor: str | None) -> Iterator[ListedImage]:
    """List the images below a folder; a cursor is a relative path, percent-encoded.

    Files count by their extension, hidden ones too. Links to files count as files; links to
    folders are not followed, so there are no loops. One folder at a time is held in memory.

    Raises:
        SourceError: a folder cannot be read; what was listed before it stands.
    """
    root = os.fsencode(folder)
    after = unquote_to_bytes(cursor) if cursor else b""
    for relative in _walk(root, after):
        yield _listed(Path(os.fsdecode(os.path.join(root, relative))), quote(relative))  # noqa: PTH118 - bytes


def list_file(path: Path, cursor: str | None) -> Iterator[ListedImage]:
    """List one file as one image, whatever its name."""
    if cursor is None:
        yield _listed(path, "1")


def _walk(root: bytes, after: bytes) -> Iterator[bytes]:
    """Yield relative paths of images greater than `after`, in order.

    A folder's name carries its slash while it is sorted: that makes the order of the walk the
    order of whole paths, so that a path alone says where to go on.
    """
    waiting = [b""]
    while waiting:
        relative = waiting.pop()
        if relative and not relative.endswith(b"/"):
            yield relative
        else:
            waiting.extend(sorted(_children(root, relative, after), reverse=True))


def _children(root: bytes, relative: bytes, after: bytes) -> Iterator[bytes]:
    folder = os.path.join(root, relative)  # noqa: PTH118 - bytes
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                path = relative + entry.name
                if entry.is_dir(follow_symlinks=False):
                    path += b"/"
                    if path > after or after.startswith(path):
                        yield path
                elif path > after and _is_image(entry):
                    yield path
    except FileNotFoundError:
        if not relative:
            raise SourceError(_unreadable(folder, "it does not exist")) from None
    except OSError as error:
        raise SourceError(_unreadable(folder, error.strerror)) from error


def _is_image(entry: "os.DirEntry[bytes]") -> bool:
    # A link that leads nowhere is listed too: it becomes a failed image, not a lost one.
    return has_image_extension(os.fsdecode(entry.name)) and (
        entry.is_file() or (entry.is_symlink() and not entry.is_dir())
    )


def _listed(path: Path, cursor: str) -> ListedImage:
    try:
        uri = from_path(path)
    except InvalidUri as error:
        digest = hashlib.sha256(os.fsencode(path)).hexdigest()
        reason = f"{one_line(str(path), 120)}: {error}"
        return ListedImage(f"file:///#path-{digest}", cursor, unreadable=reason)
    try:
        found = path.stat()
        modified_at = datetime.fromtimestamp(found.st_mtime, UTC)
    except (OSError, OverflowError, ValueError):
        return ListedImage(uri, cursor)
    return ListedImage(uri, cursor, size_bytes=found.st_size, modified_at=modified_at)


def _unreadable(folder: bytes, reason: str | None) -> str:
    name = shown(os.fsdecode(folder))
    return f"folder {name} cannot be read: {reason}; make it readable, then go on with the scan"
