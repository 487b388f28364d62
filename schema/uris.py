"""The grammar of image URIs: each image has one normalised URI.

`file:///absolute/path` is percent-encoded (RFC 8089), so any file name fits on one line.
`s3://bucket/key` has the key as it is, like every S3 tool. One version of an object is
`s3://bucket;versionId=ID/key`, with the ID percent-encoded: the version stands before the key, as a
key may end in any text. `http(s)://` is lower-cased in scheme and host and loses its fragment.
Limits are `MAX_URI_BYTES`, and for a file's path `MAX_PATH_BYTES`. NUL, credentials and keys whose
dots lead out of the bucket are refused.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import (
    SplitResult,
    quote,
    quote_from_bytes,
    unquote_to_bytes,
    urlsplit,
    urlunsplit,
)

from fakesweep.schema.failures import InvalidUri

MAX_URI_BYTES = 8_192
"""Limit for objects and http(s), whose URIs may carry a signature and a session token."""

MAX_PATH_BYTES = 4_095
"""Limit for a file's decoded path, that of the operating system."""

LONGEST_URI_BYTES = max(MAX_URI_BYTES, len("file://") + 3 * MAX_PATH_BYTES)
SCHEMES = ("file", "s3", "http", "https")

_SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*)://")
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{1,253}[A-Za-z0-9]")
_BLANK = re.compile(r"[\s\x00-\x1f\x7f]")
_VERSION = ";versionId="
_DEFAULT_PORTS = {"http": 80, "https": 443}
_NO_KEY = "the URI names a bucket, but no object in it"
_NO_UNICODE = "the URI is not valid Unicode; percent-encode its bytes"
_NUL = "the URI holds a NUL character"
_CREDENTIALS = "the URI holds credentials; they would be stored and logged"
_LEADS_OUT = "the key leads out of its bucket by .., so another one might be read"


@dataclass(frozen=True, slots=True)
class S3Address:
    """A bucket, a key (empty in a prefix), and a version, None for the current one."""

    bucket: str
    key: str
    version: str | None = None


def scheme_of(text: str) -> str | None:
    """Return the lower-cased scheme, or None for a plain path."""
    match = None if text.startswith("/") else _SCHEME.match(text)
    return match.group(1).lower() if match else None


def normalise(text: str) -> str:
    """Return the normalised URI of an image.

    Raises:
        InvalidUri: it is empty, too long, of an unknown scheme, or malformed.
    """
    try:
        return _short(_normalise(text))
    except UnicodeEncodeError as error:
        raise InvalidUri(_NO_UNICODE) from error


def from_path(path: Path) -> str:
    """Return the `file://` URI of a path, made absolute without following links.

    Raises:
        InvalidUri: the result is too long.
    """
    absolute = os.path.abspath(path)  # noqa: PTH100 - links stay as written
    return normalise("file://" + quote_from_bytes(os.fsencode(absolute)))


def from_s3(bucket: str, key: str, version: str | None = None) -> str:
    """Return the URI of an object or of one of its versions, with the key unchanged.

    Raises:
        InvalidUri: the bucket name is invalid, the key or version is empty or holds a NUL, the
            key leads out of the bucket, or the result is too long.
    """
    if not _BUCKET.fullmatch(bucket):
        raise InvalidUri(_no_bucket(bucket))
    if not key:
        raise InvalidUri(_NO_KEY)
    if "\x00" in key:
        raise InvalidUri(_NUL)
    _refuse_leading_out(key)
    try:
        return _short(_spelled(bucket, key, version))
    except UnicodeEncodeError as error:
        raise InvalidUri(_NO_UNICODE) from error


def to_path(uri: str) -> Path:
    """Return the path of a normalised `file://` URI."""
    return Path(os.fsdecode(unquote_to_bytes(uri[len("file://") :])))


def path_of(uri: str) -> str | None:
    """Return the path of a `file://` URI for people, None for others and for lines of lists.

    Bytes that are no UTF-8 appear in octal, as in `ls -b`; the SQL function of that name agrees.
    """
    if not uri.startswith("file:///") or "#" in uri:
        return None
    path = unquote_to_bytes(uri[len("file://") :])
    try:
        return path.decode()
    except UnicodeDecodeError:
        return "".join(
            f"\\{byte:03o}" if byte > 127 else "\\\\" if byte == 92 else chr(byte)  # noqa: PLR2004
            for byte in path
        )


def to_s3(uri: str) -> S3Address:
    """Parse `s3://bucket/key` (the key may be empty, as in a prefix), with or without a version.

    Raises:
        InvalidUri: the bucket name or the version is missing or malformed, or the key leads out
            of the bucket.
    """
    authority, _, key = uri[len("s3://") :].partition("/")
    bucket, is_version, version = authority.partition(_VERSION)
    # A password with a slash would begin like a bucket; only an ARN has a colon.
    if "@" in authority or (":" in bucket and not bucket.startswith("arn:")):
        raise InvalidUri(_CREDENTIALS)
    if not _BUCKET.fullmatch(bucket):
        raise InvalidUri(_no_bucket(bucket))
    _refuse_leading_out(key)
    return S3Address(bucket, key, _version(version) if is_version else None)


def _normalise(text: str) -> str:
    if not text:
        raise InvalidUri("the URI is empty")
    if "\x00" in text:
        raise InvalidUri(_NUL)
    scheme = scheme_of(text)
    match scheme:
        case "file":
            return _normalise_file(text)
        case "s3":
            return _normalise_s3(text)
        case "http" | "https":
            return _normalise_http(scheme, text)
        case None:
            raise InvalidUri("the URI has no scheme; write one of " + _known_schemes())
        case _:
            raise InvalidUri(f"scheme {scheme!r} is not known; use one of " + _known_schemes())


def _normalise_file(text: str) -> str:
    host, _, encoded = text[len("file://") :].partition("/")
    if host.lower() not in ("", "localhost"):
        raise InvalidUri("a file URI names no host; write three slashes, as in file:///a.jpg")
    if "?" in encoded or "#" in encoded:
        raise InvalidUri("in a file URI, ? is written as %3F and # as %23")
    path = b"/" + os.path.normpath(b"/" + unquote_to_bytes(encoded)).lstrip(b"/")
    if path == b"/":
        raise InvalidUri("a file URI needs a path, as in file:///photos/a.jpg")
    if b"\x00" in path:
        raise InvalidUri("the path holds a NUL character")
    if len(path) > MAX_PATH_BYTES:
        raise InvalidUri(f"the path is longer than {MAX_PATH_BYTES} bytes")
    return "file://" + quote_from_bytes(path)


def _normalise_s3(text: str) -> str:
    address = to_s3("s3://" + text.partition("://")[2])
    if not address.key:
        raise InvalidUri(_NO_KEY)
    return _spelled(address.bucket, address.key, address.version)


def _spelled(bucket: str, key: str, version: str | None) -> str:
    if version is None:
        return f"s3://{bucket}/{key}"
    return f"s3://{bucket}{_VERSION}{quote(_storable(version), safe='')}/{key}"


def _version(written: str) -> str:
    try:
        return _storable(unquote_to_bytes(written).decode())
    except UnicodeError as error:
        raise InvalidUri("the version is no valid Unicode") from error


def _storable(version: str) -> str:
    if not version:
        raise InvalidUri("the URI names no version; write s3://bucket;versionId=ID/key")
    if "\x00" in version:
        raise InvalidUri("the version holds a NUL character")
    return version


def _short(uri: str) -> str:
    if len(uri.encode()) > MAX_URI_BYTES and not uri.startswith("file:"):
        raise InvalidUri(f"the URI is longer than {MAX_URI_BYTES} bytes")
    return uri


def _no_bucket(name: str) -> str:
    return f"{name!r} is no bucket name; write s3://bucket/key, or s3://bucket;versionId=ID/key"


def _normalise_http(scheme: str, text: str) -> str:
    parts = _split(text)
    try:
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise InvalidUri("the URI's port is no number below 65536") from error
    if not host:
        raise InvalidUri("the URI names no host")
    if parts.username is not None or parts.password is not None:
        raise InvalidUri(_CREDENTIALS)
    if _BLANK.search(text):
        raise InvalidUri("the URI holds white space or control characters; percent-encode them")
    netloc = f"[{host}]" if ":" in host else host
    if port is not None and port != _DEFAULT_PORTS[scheme]:
        netloc = f"{netloc}:{port}"
    return urlunsplit((scheme, netloc, parts.path or "/", parts.query, ""))


def _refuse_leading_out(key: str) -> None:
    """Refuse a key that names another bucket where a server or proxy resolves its dots.

    Some servers merge slashes, or read a backslash as one. Percent-encoded dots in a key are
    harmless, as they are encoded again on their way.

    Raises:
        InvalidUri: it leads out of the bucket.
    """
    if ".." not in key:
        return
    depth = 0
    for segment in key.replace("\\", "/").split("/"):
        depth += {"": 0, ".": 0, "..": -1}.get(segment, 1)
        if depth < 0:
            raise InvalidUri(_LEADS_OUT)


def _split(text: str) -> SplitResult:
    try:
        return urlsplit(text)
    except ValueError as error:
        raise InvalidUri("the URI's host cannot be read") from error


def _known_schemes() -> str:
    return ", ".join(f"{scheme}://" for scheme in SCHEMES)
