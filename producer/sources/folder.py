"""Folder source: all images below a folder, in byte order of their paths."""

import errno
import os
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, unquote_to_bytes

from fakesweep.producer.sources.names import ANY_NAME, NameRule, NameSays, shown
from fakesweep.producer.watchdog import progressed
from fakesweep.schema.errors import SourceError
from fakesweep.schema.failures import FailureCode
from fakesweep.schema.formats import SIGNATURE_BYTES, format_of
from fakesweep.schema.ledger.scans.scans import Entry, LeftOut, ListedImage
from fakesweep.schema.net.storage import one_line
from fakesweep.schema.uris import MAX_PATH_BYTES
from fakesweep.schema.words import LeftOutReason

_SHUT = {
    errno.EACCES: FailureCode.ACCESS_DENIED,
    errno.EPERM: FailureCode.ACCESS_DENIED,
    errno.ENAMETOOLONG: FailureCode.INVALID_URI,
    errno.ELOOP: FailureCode.NOT_FOUND,
}
"""Failure codes of subfolders that cannot be read permanently, by `errno`."""

_TOO_LONG = f"the path is longer than {MAX_PATH_BYTES} bytes"

_GONE = {errno.ENOENT, errno.ENOTDIR}
_LEADS_NOWHERE = _GONE | {errno.ELOOP, errno.ENAMETOOLONG}


class _Place(NamedTuple):
    """Directory entry: path relative to the root, and file type by `stat`, or 0."""

    relative: bytes
    kind: int


def list_folder(folder: Path, cursor: str | None, names: NameRule = ANY_NAME) -> Iterator[Entry]:
    """List the images and excluded entries below a folder; a cursor is an encoded relative path.

    A file counts by its name, or by its first bytes where the name says nothing; hidden files count
    too. Links to files are files; links to folders are not followed. A broken link with an image's
    name, an unreadable folder and an overlong path are failed images. Memory holds one folder at a
    time.

    Raises:
        SourceError: reading a folder fails temporarily; entries listed before stay valid.
    """
    walk = _Walk(os.fsencode(folder), names)
    after = unquote_to_bytes(cursor) if cursor else b""
    waiting = [_Place(b"", stat.S_IFDIR)]
    while waiting:
        place = waiting.pop()
        if place.kind != stat.S_IFDIR:
            if (entry := walk.entry_of(place)) is not None:
                yield entry
            continue
        progressed()
        try:
            waiting.extend(sorted(walk.children_of(place.relative, after), reverse=True))
        except OSError as error:
            if (image := walk.shut(place.relative, error)) is not None:
                yield image


def list_file(path: Path | str, cursor: str | None, behind: str = "1") -> Iterator[ListedImage]:
    """List one file as one image, independent of its name; its cursor is `behind`."""
    if cursor is None:
        encoded = os.fsencode(path)
        yield _listed(encoded, _uri(encoded), behind)


class _Walk:
    """Walk through a folder, with the rule for names."""

    def __init__(self, root: bytes, names: NameRule) -> None:
        self._root = root
        self._uri = _uri(root).rstrip("/") + "/"
        self._names = names

    def children_of(self, relative: bytes, after: bytes) -> Iterator[_Place]:
        """Yield a folder's entries behind `after`.

        Folders sort with a trailing slash: the walk then follows the order of whole paths, and a
        path alone is a cursor.
        """
        with os.scandir(self._path(relative)) as entries:
            for entry in entries:
                path = relative + entry.name
                kind = _kind(entry)
                if kind == stat.S_IFDIR:
                    path += b"/"
                    if path > after or (after.startswith(path) and after != path):
                        yield _Place(path, kind)
                elif path > after:
                    yield _Place(path, kind)

    def entry_of(self, place: _Place) -> Entry | None:
        """Return a file or link as image or excluded entry, None where it is gone."""
        path, cursor = self._path(place.relative), quote(place.relative)
        says = self._names.said_by(os.fsdecode(place.relative))
        kind = _kind_behind(path, says) if place.kind == stat.S_IFLNK else place.kind
        if isinstance(kind, LeftOutReason):
            return LeftOut(cursor, kind)
        if kind != stat.S_IFREG:
            return LeftOut(cursor, LeftOutReason.SPECIAL_FILE)
        if says is NameSays.OTHER:
            return LeftOut(cursor, LeftOutReason.OTHER_SUFFIX)
        if says is NameSays.NOTHING:
            try:
                if not _begins_like_image(path):
                    return LeftOut(cursor, LeftOutReason.NOT_AN_IMAGE)
            except OSError as error:
                if error.errno in _GONE:
                    return None
        return _listed(path, self._uri + cursor, cursor)

    def shut(self, relative: bytes, error: OSError) -> ListedImage | None:
        """Return a failed image in place of an unreadable folder, None where the folder is gone.

        Raises:
            SourceError: the folder is the root, or the error is temporary.
        """
        path, code = self._path(relative), _SHUT.get(error.errno or 0)
        if relative and error.errno in _GONE:
            return None
        if not relative or code is None:
            raise SourceError(_unreadable(path, error)) from error
        why = f"this folder cannot be read ({error.strerror})"
        if error.errno == errno.ENAMETOOLONG:
            why = _TOO_LONG
        reason = f"{_shown(path)}: {why}; nothing in it was listed"
        cursor = quote(relative)
        return ListedImage(self._uri + cursor, cursor, unreadable=reason, code=code)

    def _path(self, relative: bytes) -> bytes:
        return os.path.join(self._root, relative)  # noqa: PTH118 - bytes


def _kind(entry: "os.DirEntry[bytes]") -> int:
    """Return an entry's own file type; an unknown type counts as a link."""
    try:
        if entry.is_file(follow_symlinks=False):
            return stat.S_IFREG
        if entry.is_dir(follow_symlinks=False):
            return stat.S_IFDIR
        return stat.S_IFLNK if entry.is_symlink() else 0
    except OSError:
        return stat.S_IFLNK


def _kind_behind(path: bytes, says: NameSays) -> int | LeftOutReason:
    """Return the file type of a link's target; a broken link with an image's name is a file."""
    try:
        kind = stat.S_IFMT(os.stat(path).st_mode)  # noqa: PTH116 - bytes
    except OSError as error:
        if says is NameSays.IMAGE or error.errno not in _LEADS_NOWHERE:
            return stat.S_IFREG
        return LeftOutReason.BROKEN_LINK
    return LeftOutReason.LINKED_FOLDER if kind == stat.S_IFDIR else kind


def _begins_like_image(path: bytes) -> bool:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return format_of(os.read(descriptor, SIGNATURE_BYTES)) is not None
    finally:
        os.close(descriptor)


def _listed(path: bytes, uri: str, cursor: str) -> ListedImage:
    if len(path) > MAX_PATH_BYTES:
        return ListedImage(
            uri, cursor, unreadable=f"{_shown(path)}: {_TOO_LONG}; move it further up"
        )
    try:
        found = os.stat(path)  # noqa: PTH116 - bytes
        modified_at = datetime.fromtimestamp(found.st_mtime, UTC)
    except (OSError, OverflowError, ValueError):
        return ListedImage(uri, cursor)
    return ListedImage(uri, cursor, size_bytes=found.st_size, modified_at=modified_at)


def _uri(path: bytes) -> str:
    return "file:///" + quote(path.lstrip(b"/"))


def _shown(path: bytes) -> str:
    return one_line(os.fsdecode(path), 120)


def _unreadable(folder: bytes, error: OSError) -> str:
    name = shown(os.fsdecode(folder))
    reason = "it does not exist" if error.errno in _GONE else error.strerror
    return f"folder {name} cannot be read: {reason}; make it readable, then go on with the scan"
