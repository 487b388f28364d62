"""Sources: resolved, checked, and listed image by image."""

import os
import socket
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from stat import S_ISREG

from fakesweep.producer.sources.folder import list_file, list_folder
from fakesweep.producer.sources.inventory.listing import (
    check_inventory,
    is_inventory,
    list_inventory,
)
from fakesweep.producer.sources.manifest.listing import (
    STDIN,
    list_manifest,
    list_remote_head,
    list_remote_manifest,
    list_stdin,
)
from fakesweep.producer.sources.members import is_readable_file
from fakesweep.producer.sources.names import (
    LISTS_READ,
    NameRule,
    is_unread_list,
    manifest_format,
    shown,
)
from fakesweep.producer.sources.s3.prefix import list_prefix
from fakesweep.producer.sources.s3.versions import list_version, list_versions
from fakesweep.producer.sources.web import list_url
from fakesweep.schema.errors import SourceError
from fakesweep.schema.failures import InvalidUri
from fakesweep.schema.ledger.scans.scans import Entry, LeftOut, ListedImage, NamedSource
from fakesweep.schema.redaction import without_credentials
from fakesweep.schema.selection import Selection
from fakesweep.schema.settings import Settings
from fakesweep.schema.uris import normalise, scheme_of, to_path, to_s3

_LOCAL = (None, "file")
_EXAMPLES = ".jpg, .png, .webp, .heic and the like"


ResolvedSource = NamedSource
"""Source in its normal form, as the ledger records it."""


def resolve_source(text: str) -> ResolvedSource:
    """Return the normal form of a source, without a check of its existence.

    Local paths become absolute, with symbolic links as written; a path that is not UTF-8 becomes a
    `file://` URI. The extensions .txt, .csv and .jsonl mean a manifest, also in S3 and at a URL.
    Other `s3://` URIs are prefixes, other URLs single images. `s3://bucket;versionId=ID/key` is
    one version, `manifest.json` in S3 an S3 Inventory, and `-` standard input.

    Raises:
        SourceError: the text is no source.
    """
    try:
        return _resolved(text)
    except InvalidUri as error:
        name = shown(without_credentials(text))
        raise SourceError(f"source {name!r} cannot be used: {error}") from error


def check_source(
    source: str,
    settings: Settings,
    selection: Selection = Selection(),  # noqa: B008 - frozen
) -> None:
    """Refuse a source that cannot be listed, or that has no image.

    Of the selection only suffixes and versions count: an audit by age may find images later.

    Raises:
        SourceError: the source is refused; the message says what to do.
    """
    scheme, written_as = scheme_of(source), manifest_format(source)
    if source == STDIN:
        return
    if scheme in _LOCAL:
        _check_local(_path(source), selection, settings)
    elif not is_inventory(source) and is_unread_list(source):
        _refuse_unread(source)
    elif is_inventory(source):
        check_inventory(source, settings, versions=selection.versions)
    elif written_as is not None:
        _check_any(list_remote_head(source, written_as, settings), _names_nothing(source))
    elif is_prefix(source):
        _check_any(
            list_entries(source, None, settings, selection),
            f"{shown(source)} matches no image; check bucket and prefix (images end in "
            f"{_EXAMPLES}, or in nothing that is known)",
        )


def check_named(
    named: NamedSource,
    settings: Settings,
    selection: Selection = Selection(),  # noqa: B008 - frozen
) -> None:
    """Check a source, or each of its members, as `check_source` does.

    Raises:
        SourceError: a source is refused; the message says what to do.
    """
    for source in named.members or (named.source,):
        if not (named.members and is_readable_file(source)):
            check_source(source, settings, selection)


def is_prefix(source: str) -> bool:
    """Return whether a source is a prefix of a bucket."""
    return (
        scheme_of(source) == "s3"
        and manifest_format(source) is None
        and not is_inventory(source)
        and to_s3(source).version is None
    )


def list_images(
    source: str, cursor: str | None, settings: Settings, *, versions: bool = False
) -> Iterator[ListedImage]:
    """List the images of a source lazily, from its start or behind a cursor.

    With `versions`, each version of an object is an image, where the source has versions.

    Raises:
        SourceError: reading fails; images listed before stay valid.
    """
    entries = list_entries(source, cursor, settings, Selection(versions=versions))
    return (entry for entry in entries if isinstance(entry, ListedImage))


def list_entries(
    source: str, cursor: str | None, settings: Settings, selection: Selection
) -> Iterator[Entry]:
    """List the images and excluded entries of a source lazily, from its start or behind a cursor.

    Of the selection only suffixes and versions count.

    Raises:
        SourceError: reading fails; entries listed before stay valid.
    """
    names, versions = NameRule(selection.suffixes), selection.versions
    scheme, written_as = scheme_of(source), manifest_format(source)
    if source == STDIN:
        return list_stdin(cursor, settings)
    if scheme in _LOCAL:
        return _list_local(_path(source), cursor, names, settings)
    if written_as is not None:
        return list_remote_manifest(source, written_as, cursor, settings)
    if is_inventory(source):
        return list_inventory(source, cursor, settings, versions=versions, names=names)
    if is_prefix(source):
        listed = list_versions if versions else list_prefix
        return listed(source, cursor, settings, names)
    return list_version(source, cursor) if scheme == "s3" else list_url(source, cursor)


def _resolved(text: str) -> ResolvedSource:
    if text == STDIN:
        return ResolvedSource(STDIN, socket.gethostname())
    if not text:
        raise InvalidUri("it is empty; name a folder, a file, s3://bucket/prefix or -")
    if "\x00" in text:
        raise InvalidUri("it holds a NUL character")
    scheme = scheme_of(text)
    if scheme is None:
        return _local(os.path.abspath(text))  # noqa: PTH100 - keeps symbolic links
    if not _is_unicode(text):
        raise InvalidUri("it is no valid Unicode")
    if scheme == "file":
        return _local(str(to_path(normalise(text))))
    if scheme == "s3":
        address = to_s3("s3://" + text.partition("://")[2])
        if address.version is not None:
            return ResolvedSource(normalise(text), None)
        return ResolvedSource(f"s3://{address.bucket}/{address.key}", None)
    return ResolvedSource(normalise(text), None)


def _local(path: str) -> ResolvedSource:
    if path.startswith("//"):
        path = "/" + path.lstrip("/")
    source = path if _is_unicode(path) else Path(path).as_uri()
    return ResolvedSource(source, socket.gethostname())


def _is_unicode(text: str) -> bool:
    return text.isascii() or text.encode("utf-8", "replace").decode() == text


def _path(source: str) -> Path:
    return Path(source) if scheme_of(source) is None else to_path(source)


def _list_local(
    path: Path, cursor: str | None, names: NameRule, settings: Settings
) -> Iterator[Entry]:
    written_as = manifest_format(path.name)
    if os.path.isdir(path):  # noqa: PTH112 - False without permission
        return list_folder(path, cursor, names)
    if written_as is not None:
        return list_manifest(path, written_as, cursor, settings)
    return list_file(path, cursor)


def _check_local(path: Path, selection: Selection, settings: Settings) -> None:
    name = shown(str(path))
    try:
        if os.path.isdir(path):  # noqa: PTH112 - False without permission
            nothing = (
                f"folder {name} holds no image, nor does any folder in it; images end in "
                f"{_EXAMPLES}, or begin like one"
            )
        elif S_ISREG(path.stat().st_mode):
            path.open("rb").close()
            _refuse_unread(str(path))
            nothing = _names_nothing(name)
        else:
            raise SourceError(
                f"{name} is neither a folder nor a regular file; pipe what it holds into "
                f"`fakesweep scan -`"
            )
    except FileNotFoundError as error:
        raise SourceError(f"{name} does not exist; check the path") from error
    except OSError as error:
        raise SourceError(f"{name} cannot be read: {error.strerror}") from error
    _check_any(_list_local(path, None, NameRule(selection.suffixes), settings), nothing)


def _refuse_unread(source: str) -> None:
    if is_unread_list(source):
        raise SourceError(
            f"{shown(source)} is no list that is read here: these are {LISTS_READ}; write it as "
            f"one of them"
        )


def _check_any(entries: Iterator[Entry], nothing: str) -> None:
    left_out: Counter[str] = Counter()
    for entry in entries:
        if not isinstance(entry, LeftOut):
            return
        left_out[entry.reason.value] += 1
    if left_out:
        counts = ", ".join(f"{reason} {files}" for reason, files in left_out.most_common())
        nothing += f" (left out: {counts})"
    raise SourceError(nothing)


def _names_nothing(source: str) -> str:
    return f"manifest {shown(source)} names no image; it needs a URI or a path on each line"
