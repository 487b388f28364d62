"""Manifest source: a list of URIs in a file, in S3, at a URL, or on standard input."""

import io
import sys
from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import BinaryIO, cast

from fakesweep.producer.sources import web
from fakesweep.producer.sources.manifest.entries import (
    ManifestEntry,
    read_entries,
    read_mixed_entries,
)
from fakesweep.producer.sources.manifest.lines import read_lines
from fakesweep.producer.sources.manifest.packed import opened_list
from fakesweep.producer.sources.names import ManifestFormat, shown
from fakesweep.producer.sources.s3 import prefix
from fakesweep.producer.sources.spooled import copied, late, limited
from fakesweep.schema.errors import SourceError
from fakesweep.schema.failures import InvalidUri
from fakesweep.schema.ledger.scans.scans import Entry as ListedEntry
from fakesweep.schema.ledger.scans.scans import LeftOut, ListedImage
from fakesweep.schema.settings import Settings
from fakesweep.schema.uris import from_path, normalise, scheme_of
from fakesweep.schema.words import LeftOutReason

STDIN = "-"
HEAD_BYTES = 1024 * 1024


def list_manifest(
    path: Path, written_as: ManifestFormat, cursor: str | None, settings: Settings
) -> Iterator[ListedEntry]:
    """List the images of a local manifest; relative paths start at its folder.

    A cursor is a line number. An invalid line is listed as an unreadable image.

    Raises:
        SourceError: the file cannot be read, or is no manifest of this format.
    """
    name = shown(str(path))
    try:
        place = from_path(path)
    except InvalidUri as error:
        raise SourceError(f"manifest {name} cannot be used: {error}; move it") from error
    try:
        with path.open("rb") as stream:
            lines = read_lines(opened_list(stream, name, settings), name)
            entries = read_entries(lines, written_as, int(cursor or 0), name)
            yield from _listed(entries, place, path.parent)
    except OSError as error:
        raise SourceError(f"manifest {name} cannot be read: {error.strerror}") from error


def list_remote_manifest(
    source: str, written_as: ManifestFormat, cursor: str | None, settings: Settings
) -> Iterator[ListedEntry]:
    """List the images of a manifest in S3 or at a URL; its paths must be absolute.

    The manifest is spooled first: a listing may outlast the server's connection.

    Raises:
        SourceError: the manifest cannot be read, or is not of this format.
    """
    with copied(_read_remote, source, settings) as stream:
        lines = read_lines(opened_list(stream, shown(source), settings), shown(source))
        entries = read_entries(lines, written_as, int(cursor or 0), shown(source))
        yield from _listed(entries, source, None)


def list_remote_head(
    source: str, written_as: ManifestFormat, settings: Settings
) -> Iterator[ListedEntry]:
    """List the images of a remote manifest's first MiB, without the rest.

    Raises:
        SourceError: the manifest cannot be read, or is not of this format.
    """
    head = bytearray()
    with (
        limited(source, settings) as connections,
        closing(_read_remote(source, settings)) as pieces,
    ):
        while len(head) < HEAD_BYTES and (piece := next(pieces, b"")):
            head += piece
        if connections.is_cut:  # an answer without a length ends early unnoticed
            raise late(source, settings)
    stream = opened_list(io.BytesIO(head), shown(source), settings, is_head=True)
    lines = read_lines(stream, shown(source))
    yield from _listed(read_entries(lines, written_as, 0, shown(source)), source, None)


def list_stdin(cursor: str | None, settings: Settings) -> Iterator[ListedEntry]:
    """List the images of standard input, with one URI, path or JSON object per line.

    Relative paths start at the current folder; a cursor is a line number.

    Raises:
        SourceError: standard input is closed.
    """
    if sys.stdin is None:
        raise SourceError("standard input is closed; give `-` a list of URIs to read")
    try:
        stream = opened_list(cast("BinaryIO", sys.stdin.buffer), "standard input", settings)
        lines = read_lines(stream, "standard input")
        yield from _listed(read_mixed_entries(lines, int(cursor or 0)), "stdin:", Path.cwd())
    except OSError as error:
        raise SourceError(f"standard input cannot be read: {error.strerror}") from error


def _listed(
    entries: Iterator[ManifestEntry], place: str, folder: Path | None
) -> Iterator[ListedEntry]:
    for entry in entries:
        if entry.is_comment:
            yield LeftOut(str(entry.last), LeftOutReason.COMMENT)
            continue
        try:
            image = ListedImage(_uri(entry, folder), str(entry.last))
        except InvalidUri as fault:
            number = entry.line.number
            reason = f"line {number}: {fault}: {entry.line.shown}"
            image = ListedImage(f"{place}#line-{number}", str(entry.last), unreadable=reason)
        yield image


def _uri(entry: ManifestEntry, folder: Path | None) -> str:
    reference = entry.reference
    if entry.fault is not None:
        raise InvalidUri(entry.fault)
    if not reference:
        raise InvalidUri("the URI is empty")
    if "\x00" in reference:
        raise InvalidUri("the URI holds a NUL character")
    try:
        reference.encode()
    except UnicodeEncodeError as error:
        raise InvalidUri("the URI is no valid Unicode") from error
    if scheme_of(reference) is not None:
        return normalise(reference)
    if folder is None and not reference.startswith("/"):
        raise InvalidUri("a relative path means nothing in a manifest that is not a local file")
    return from_path(Path(folder or "/", reference))


def _read_remote(source: str, settings: Settings) -> Generator[bytes]:
    return (prefix.read_object if scheme_of(source) == "s3" else web.read_url)(source, settings)
