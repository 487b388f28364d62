"""Which names are images, which are manifests, and how a source is shown to people."""

from enum import StrEnum
from urllib.parse import urlsplit

from schema.formats import IMAGE_SUFFIXES
from schema.storage import one_line

_ENDINGS = tuple(f".{suffix}" for suffix in sorted(IMAGE_SUFFIXES))


class ManifestFormat(StrEnum):
    """How a manifest is written; the same words as its file's extension."""

    TXT = "txt"
    CSV = "csv"
    JSONL = "jsonl"


def extension_of(name: str) -> str:
    """Return what follows the last dot of a path's last part, in lower case; may be empty."""
    last = name.rpartition("/")[2]
    return last.rpartition(".")[2].lower() if "." in last else ""


def has_image_extension(name: str) -> bool:
    """Say whether a name ends like an image this system reads."""
    return extension_of(name) in IMAGE_SUFFIXES


def may_be_image(key: str) -> bool:
    """Say whether a listing takes a key for an image: by its extension, or as it has none."""
    if key.endswith(_ENDINGS):  # nearly all of them
        return True
    return not key.endswith("/") and (has_image_extension(key) or not extension_of(key))


def manifest_format(source: str) -> ManifestFormat | None:
    """Return the format that a path's or URI's extension stands for, None where it is none's."""
    name = urlsplit(source).path if _is_url(source) else source
    try:
        return ManifestFormat(extension_of(name))
    except ValueError:
        return None


def shown(source: str) -> str:
    """Return a source for a person's eyes: printable, short, a URL without what it may hide."""
    if not _is_url(source):
        return one_line(source)
    address, _, _ = source.partition("?")
    scheme, _, rest = address.partition("://")
    host, slash, path = rest.partition("/")
    return one_line(f"{scheme}://{host.rpartition('@')[2]}{slash}{path}")


def _is_url(source: str) -> bool:
    return source.lower().startswith(("http://", "https://"))
