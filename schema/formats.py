"""The image formats that are read: their names, suffixes and first bytes, in this place alone.

A listing takes a file by its suffix; where that says nothing, by its first bytes. Workers read what
`READERS` names, in this order. What is added here is listed and read.
"""

import re
from dataclasses import dataclass

SIGNATURE_BYTES = 64
"""First bytes of a file that tell its format."""


@dataclass(frozen=True, slots=True)
class ImageFormat:
    """A format: the name of its reader, how names of its files end, how its bytes begin."""

    reader: str
    suffixes: tuple[str, ...]
    begins: re.Pattern[bytes]


def _begins(pattern: bytes) -> re.Pattern[bytes]:
    return re.compile(pattern, re.DOTALL)


def _branded(brands: bytes) -> re.Pattern[bytes]:
    """Return how a file of the ISO base media format begins that names one of these brands."""
    return _begins(rb".{4}ftyp(?:" + brands + rb"|.{8}(?:.{4})*?(?:" + brands + rb"))")


# AVIF stands before HEIF, because both claim the generic container brands and only Pillow's AVIF
# reader turns a file of the other kind away while opening it.
FORMATS = (
    ImageFormat(
        "JPEG",
        ("jpg", "jpeg", "jpe", "jfif", "jif", "jfi", "pjpeg", "pjp", "mpo"),
        _begins(rb"\xff\xd8\xff"),
    ),
    ImageFormat("PNG", ("png", "apng"), _begins(rb"\x89PNG\r\n\x1a\n")),
    ImageFormat("WEBP", ("webp",), _begins(rb"RIFF.{4}WEBP")),
    ImageFormat("GIF", ("gif",), _begins(rb"GIF8[79]a")),
    ImageFormat("TIFF", ("tif", "tiff"), _begins(rb"II[*+]\0|MM\0[*+]|II\0\*|MM\*\0")),
    ImageFormat("BMP", ("bmp", "dib"), _begins(rb"BM.{12}[\x0c\x10\x28\x34\x38\x40\x6c\x7c]\0{3}")),
    ImageFormat("AVIF", ("avif", "avifs"), _branded(rb"avi[fs]")),
    ImageFormat(
        "HEIF",
        ("heif", "heifs", "heic", "heics", "hif"),
        _branded(rb"hei[cxms]|hev[cxms]|mif[12]|msf1"),
    ),
)

READERS = tuple(one.reader for one in FORMATS)
IMAGE_SUFFIXES = frozenset(suffix for one in FORMATS for suffix in one.suffixes)

_OTHERS = {
    "text, lists and documents": "txt text md rst log csv tsv json jsonl ndjson xml yaml yml toml ini cfg conf "
    "properties pdf doc docx odt rtf tex bib xls xlsx ods ppt pptx odp epub mobi html "
    "htm xhtml css svg svgz eml mbox srt vtt nfo url webloc lnk manifest",
    "sound and moving pictures": "mp4 m4v mov avi mkv webm mpg mpeg mts m2ts 3gp flv wmv ogv mp3 m4a aac wav flac "
    "ogg oga opus wma aif aiff mid midi",
    "archives, disks and packages": "zip tar gz tgz bz2 tbz xz txz zst 7z rar jar war iso dmg img vmdk deb rpm apk "
    "msi cab whl",
    "programs and their parts": "py pyc pyi ipynb js mjs ts jsx tsx c h cc cpp hpp java class kt go rs rb php pl "
    "sh bash bat cmd ps1 sql exe dll so dylib o a lib lua swift",
    "data and weights": "db sqlite sqlite3 parquet orc avro arrow feather h5 hdf5 npy npz mat pkl pickle "
    "pt pth ckpt safetensors onnx gguf",
    "sidecars, fonts, and what programs leave beside files": "xmp aae thm ttf otf woff woff2 ds_store gitignore gitattributes gitkeep keep "
    "lock pid md5 sha1 sha256 sha512 sig asc pem crt key bak old orig tmp temp swp "
    "part crdownload",
}
OTHER_SUFFIXES = frozenset(suffix for said in _OTHERS.values() for suffix in said.split())
"""Suffixes that say of a file that it holds something else than an image."""


def format_of(begin: bytes) -> ImageFormat | None:
    """Return the format that a file's first `SIGNATURE_BYTES` bytes are of, None where of none."""
    return next((one for one in FORMATS if one.begins.match(begin)), None)
