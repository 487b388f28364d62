"""Names of sources: image and manifest extensions, and display forms."""

from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from urllib.parse import urlsplit

from fakesweep.schema.formats import IMAGE_SUFFIXES, OTHER_SUFFIXES
from fakesweep.schema.net.storage import one_line
from fakesweep.schema.selection import ALL_SUFFIXES, NO_SUFFIX
from fakesweep.schema.words import LeftOutReason

_ENDINGS = tuple(f".{suffix}" for suffix in sorted(IMAGE_SUFFIXES))


class NameSays(Enum):
    """Kind of a file by its name: image, other, or unknown."""

    IMAGE = auto()
    OTHER = auto()
    NOTHING = auto()


@dataclass(frozen=True, slots=True)
class NameRule:
    """Rule for image names: the chosen suffixes, or the known suffixes of images and other files.

    Without chosen suffixes, an unknown or missing suffix leaves the kind of a file unknown.
    """

    suffixes: tuple[str, ...] = ()

    def said_by(self, name: str) -> NameSays:
        """Return the kind of a file by its name."""
        if not self.suffixes and name.endswith(_ENDINGS):  # the common case first
            return NameSays.IMAGE
        suffix = extension_of(name)
        if self.suffixes:
            chosen = ALL_SUFFIXES in self.suffixes or (suffix or NO_SUFFIX) in self.suffixes
            return NameSays.IMAGE if chosen else NameSays.OTHER
        if suffix in IMAGE_SUFFIXES:
            return NameSays.IMAGE
        return NameSays.OTHER if suffix in OTHER_SUFFIXES else NameSays.NOTHING

    def refusal_of(self, key: str) -> LeftOutReason | None:
        """Return why a bucket's key is excluded, None where it counts as an image.

        A key of unknown kind counts: a look at its bytes would cost one request per object.
        """
        if key.endswith("/"):
            return LeftOutReason.FOLDER_MARKER
        if self.said_by(key) is NameSays.OTHER:
            return LeftOutReason.OTHER_SUFFIX
        return None


ANY_NAME = NameRule()
"""Rule without chosen suffixes."""


class ManifestFormat(StrEnum):
    """Format of a manifest, named as its file extension."""

    TXT = "txt"
    CSV = "csv"
    TSV = "tsv"
    JSONL = "jsonl"


LISTS_READ = ".txt, .csv, .tsv, .jsonl (or .ndjson, .manifest), each also packed as .gz"
"""Supported list extensions, for error messages."""

_MANIFESTS = {
    **{written_as.value: written_as for written_as in ManifestFormat},
    "ndjson": ManifestFormat.JSONL,
    "manifest": ManifestFormat.JSONL,
}
_UNREAD = frozenset(
    {
        "json",
        "xml",
        "yaml",
        "yml",
        "toml",
        "list",
        "lst",
        "text",
        "jsonlines",
        "parquet",
        "orc",
        "avro",
        "xls",
        "xlsx",
    }
    | {"ods", "gz", "bz2", "xz", "zst", "zip", "tar", "tgz", "7z", "rar", "sqlite", "db"}
)


def extension_of(name: str) -> str:
    """Return the extension of a path's last part in lower case, without the dot; may be empty."""
    last = name.rpartition("/")[2]
    return last.rpartition(".")[2].lower() if "." in last else ""


def has_image_extension(name: str) -> bool:
    """Return whether a name has an image extension."""
    return extension_of(name) in IMAGE_SUFFIXES


def may_be_image(key: str) -> bool:
    """Return whether a key counts as an image by its name."""
    return ANY_NAME.refusal_of(key) is None


def manifest_format(source: str) -> ManifestFormat | None:
    """Return the manifest format of a path or URI by its extension, None for another extension."""
    name = _name_of(source)
    extension = extension_of(name)
    return _MANIFESTS.get(extension_of(name[: -len(".gz")]) if extension == "gz" else extension)


def is_list(source: str) -> bool:
    """Return whether a source is a list, table or archive by its name, supported or not."""
    extension = extension_of(_name_of(source))
    return extension in _MANIFESTS or extension in _UNREAD


def is_unread_list(source: str) -> bool:
    """Return whether a source is an unsupported list, table or archive by its name."""
    return is_list(source) and manifest_format(source) is None


def shown(source: str) -> str:
    """Return the display form of a source: printable, short, a URL without its secrets."""
    if not _is_url(source):
        return one_line(source)
    address, _, _ = source.partition("?")
    scheme, _, rest = address.partition("://")
    host, slash, path = rest.partition("/")
    return one_line(f"{scheme}://{host.rpartition('@')[2]}{slash}{path}")


def _name_of(source: str) -> str:
    return urlsplit(source).path if _is_url(source) else source


def _is_url(source: str) -> bool:
    return not source.startswith("/") and source[:8].lower().startswith(("http://", "https://"))
