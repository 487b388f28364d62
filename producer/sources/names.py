"""Which names are images, which are manifests, and how a source is shown to people."""

from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from urllib.parse import urlsplit

from fakesweep.schema.formats import IMAGE_SUFFIXES, OTHER_SUFFIXES
from fakesweep.schema.net.storage import one_line
from fakesweep.schema.selection import ALL_SUFFIXES, NO_SUFFIX
from fakesweep.schema.words import LeftOutReason

_ENDINGS = tuple(f".{suffix}" for suffix in sorted(IMAGE_SUFFIXES))


class NameSays(Enum):
    """What a name says of a file: that it is an image, that it is none, or nothing."""

    IMAGE = auto()
    OTHER = auto()
    NOTHING = auto()


@dataclass(frozen=True, slots=True)
class NameRule:
    """By which names a listing takes images: by those with the chosen suffixes alone, if any.

    Otherwise suffixes of images and those of other files are known, and any other, or none, says
    nothing of a file.
    """

    suffixes: tuple[str, ...] = ()

    def said_by(self, name: str) -> NameSays:
        """Return what the name of a file says."""
        if not self.suffixes and name.endswith(_ENDINGS):  # nearly all of them
            return NameSays.IMAGE
        suffix = extension_of(name)
        if self.suffixes:
            chosen = ALL_SUFFIXES in self.suffixes or (suffix or NO_SUFFIX) in self.suffixes
            return NameSays.IMAGE if chosen else NameSays.OTHER
        if suffix in IMAGE_SUFFIXES:
            return NameSays.IMAGE
        return NameSays.OTHER if suffix in OTHER_SUFFIXES else NameSays.NOTHING

    def refusal_of(self, key: str) -> LeftOutReason | None:
        """Return why a listing of a bucket takes no image of a key, None where it takes one.

        Where its name says nothing it is taken: to look inside would cost a request for each.
        """
        if key.endswith("/"):
            return LeftOutReason.FOLDER_MARKER
        if self.said_by(key) is NameSays.OTHER:
            return LeftOutReason.OTHER_SUFFIX
        return None


ANY_NAME = NameRule()
"""The rule where nobody chose suffixes."""


class ManifestFormat(StrEnum):
    """How a manifest is written; the same words as its file's extension."""

    TXT = "txt"
    CSV = "csv"
    TSV = "tsv"
    JSONL = "jsonl"


LISTS_READ = ".txt, .csv, .tsv, .jsonl (or .ndjson, .manifest), each also packed as .gz"
"""What is read as a list, in words."""

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
    """Return what follows the last dot of a path's last part, in lower case; may be empty."""
    last = name.rpartition("/")[2]
    return last.rpartition(".")[2].lower() if "." in last else ""


def has_image_extension(name: str) -> bool:
    """Say whether a name ends like an image this system reads."""
    return extension_of(name) in IMAGE_SUFFIXES


def may_be_image(key: str) -> bool:
    """Say whether a key is taken for an image by its name alone."""
    return ANY_NAME.refusal_of(key) is None


def manifest_format(source: str) -> ManifestFormat | None:
    """Return the format that a path's or URI's extension stands for, None where it is none's."""
    name = _name_of(source)
    extension = extension_of(name)
    return _MANIFESTS.get(extension_of(name[: -len(".gz")]) if extension == "gz" else extension)


def is_list(source: str) -> bool:
    """Say whether a source is by its name a list, a table or an archive, read here or not."""
    extension = extension_of(_name_of(source))
    return extension in _MANIFESTS or extension in _UNREAD


def is_unread_list(source: str) -> bool:
    """Say whether a source is by its name a list, a table or an archive of a kind not read here."""
    return manifest_format(source) is None and extension_of(_name_of(source)) in _UNREAD


def shown(source: str) -> str:
    """Return a source for a person's eyes: printable, short, a URL without what it may hide."""
    if not _is_url(source):
        return one_line(source)
    address, _, _ = source.partition("?")
    scheme, _, rest = address.partition("://")
    host, slash, path = rest.partition("/")
    return one_line(f"{scheme}://{host.rpartition('@')[2]}{slash}{path}")


def _name_of(source: str) -> str:
    return urlsplit(source).path if _is_url(source) else source


def _is_url(source: str) -> bool:
    return source[:8].lower().startswith(("http://", "https://"))
