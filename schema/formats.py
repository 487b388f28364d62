"""Image formats: names, suffixes, signatures and readers."""

import re
from dataclasses import dataclass
from enum import StrEnum

SIGNATURE_BYTES = 1024
"""Length of a file's beginning that identifies its format."""


class Reader(StrEnum):
    """The library that decodes a format."""

    PILLOW = "Pillow"
    PILLOW_HEIF = "pillow-heif"
    IMAGECODECS = "imagecodecs"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class ImageFormat:
    """An image format.

    `name` is the format's name in the ledger. A file whose beginning matches `signature` has this
    format, unless an earlier one in `FORMATS` matches; None means that the beginning does not
    identify it.
    """

    name: str
    reader: Reader
    suffixes: tuple[str, ...]
    signature: re.Pattern[bytes] | None


def _format(name: str, reader: Reader, suffixes: str, signature: bytes | None) -> ImageFormat:
    pattern = None if signature is None else re.compile(signature, re.DOTALL)
    return ImageFormat(name, reader, tuple(suffixes.split()), pattern)


_TIFF = rb"II[*+]\0|MM\0[*+]|II\0\*|MM\*\0"
_RAW = rb"II\*\0.{4}CR\x02|IIR[OS]|MMOR|IIU\0|FUJIFILMCCD-RAW|.{4}ftypcrx "
_RAW_SUFFIXES = "3fr arw cr2 cr3 dcr erf fff iiq kdc mef mos nef nrw orf pef raf rw2 rwl sr2 srw"

FORMATS = (
    _format("JPEG", Reader.PILLOW, "jpg jpeg jpe jfif jif jfi pjp pjpeg mpo", rb"\xff\xd8\xff"),
    _format("PNG", Reader.PILLOW, "png apng", rb"\x89PNG\r\n\x1a\n"),
    _format("WEBP", Reader.PILLOW, "webp", rb"RIFF.{4}WEBP"),
    _format("GIF", Reader.PILLOW, "gif", rb"GIF8[79]a"),
    _format("RAW", Reader.PILLOW, _RAW_SUFFIXES, _RAW),
    _format("DNG", Reader.PILLOW, "dng", None),  # a TIFF, identified by a tag
    _format("TIFF", Reader.PILLOW, "tif tiff btf", _TIFF),
    _format("BMP", Reader.PILLOW, "bmp",
            rb"BM(?:.{12}[\x0c\x10\x28\x34\x38\x40\x6c\x7c]\0{3}|.{4}\0{4})"),
    _format("DIB", Reader.PILLOW, "dib", rb"[\x28\x34\x38\x40\x6c\x7c]\0\0\0.{8}\x01\0[\0-\x20]\0"),
    _format("AVIF", Reader.PILLOW, "avif avifs", None),  # identified by its brands, see `format_of`
    _format("HEIF", Reader.PILLOW_HEIF, "heic heics heif heifs hif", None),
    _format("JPEG2000", Reader.PILLOW, "jp2 j2k j2c jpc jpf jpx jph jhc",
            rb"\0\0\0\x0cjP(?:  |\x1a\x1a)\r\n\x87\n|\xff\x4f\xff\x51"),
    _format("JXL", Reader.IMAGECODECS, "jxl", rb"\xff\x0a|\0\0\0\x0cJXL \r\n\x87\n"),
    _format("PSD", Reader.PILLOW, "psd psb", rb"8BPS\0[\x01\x02]"),
    _format("PPM", Reader.PILLOW, "pbm pgm ppm pnm pfm", rb"P[1-6Ff][\s#]"),
    _format("ICO", Reader.PILLOW, "ico", rb"\0\0\x01\0[^\0]\0"),
    _format("CUR", Reader.PILLOW, "cur", rb"\0\0\x02\0[^\0]\0"),
    _format("TGA", Reader.PILLOW, "tga icb vda vst", None),  # has no signature
    # Formats that other programs read, and no decoder here.
    _format("CRW", Reader.NOTHING, "crw", rb"II\x1a\0\0\0HEAPCCDR"),
    _format("MRW", Reader.NOTHING, "mrw", rb"\0MRM"),
    _format("X3F", Reader.NOTHING, "x3f", rb"FOVb"),
    _format("JPEG XR", Reader.NOTHING, "jxr wdp hdp", rb"II\xbc[\0\x01]"),
    _format("QOI", Reader.NOTHING, "qoi", rb"qoif"),
    _format("OpenEXR", Reader.NOTHING, "exr", rb"v/1\x01"),
    _format("Radiance HDR", Reader.NOTHING, "hdr rgbe", rb"#\?(?:RADIANCE|RGBE)"),
    _format("DDS", Reader.NOTHING, "dds", rb"DDS \x7c\0\0\0"),
    _format("BPG", Reader.NOTHING, "bpg", rb"BPG\xfb"),
    _format("FLIF", Reader.NOTHING, "flif", rb"FLIF[1-9A-Z]"),
    _format("ICNS", Reader.NOTHING, "icns", rb"icns\0"),
    _format("XCF", Reader.NOTHING, "xcf", rb"gimp xcf "),
    _format("ILBM", Reader.NOTHING, "iff lbm ilbm", rb"FORM.{4}(?:ILBM|PBM )"),
    _format("DICOM", Reader.NOTHING, "dcm", rb".{128}DICM"),
    _format("PAM", Reader.NOTHING, "pam", rb"P7\n"),
    _format("PCX", Reader.NOTHING, "pcx", rb"\x0a[\0\x02-\x05]\x01[\x01\x02\x04\x08]"),
    _format("SGI", Reader.NOTHING, "sgi rgb bw", rb"\x01\xda[\0\x01][\x01\x02]\0[\x01-\x03]"),
    _format("SVG", Reader.NOTHING, "svg",
            rb"(?:\xef\xbb\xbf)?\s*+(?><\?xml.{,400}?\?>\s*)?"
            rb"(?>(?:<!--.{,400}?-->|<!DOCTYPE svg[^\[>]{,400}+(?:\[.{,400}?\]\s*)?>)\s*){,4}"
            rb"<svg[\s>]"),
)  # fmt: skip
"""Every known format, in the order in which signatures are tried."""

NAMED = {known.name: known for known in FORMATS}

IMAGE_SUFFIXES = frozenset(
    suffix for known in FORMATS if known.reader is not Reader.NOTHING for suffix in known.suffixes
)
"""The suffixes, in lower case, of readable formats."""

READ = tuple(known.name for known in FORMATS if known.reader is not Reader.NOTHING)

_OTHERS = {
    "text, lists and documents": (
        "txt text md rst log csv tsv json jsonl ndjson xml yaml yml toml ini cfg conf "
        "properties pdf doc docx odt rtf tex bib xls xlsx ods ppt pptx odp epub mobi html htm "
        "xhtml css svg svgz eml mbox srt vtt nfo url webloc lnk manifest"
    ),
    "sound and moving pictures": (
        "mp4 m4v mov avi mkv webm mpg mpeg mts m2ts 3gp flv wmv ogv mp3 m4a aac wav flac ogg "
        "oga opus wma aif aiff mid midi"
    ),
    "archives, disks and packages": (
        "zip tar gz tgz bz2 tbz xz txz zst 7z rar jar war iso dmg img vmdk deb rpm apk msi cab whl"
    ),
    "programs and their parts": (
        "py pyc pyi ipynb js mjs ts jsx tsx c h cc cpp hpp java class kt go rs rb php pl sh "
        "bash bat cmd ps1 sql exe dll so dylib o a lib lua swift"
    ),
    "data and weights": (
        "db sqlite sqlite3 parquet orc avro arrow feather h5 hdf5 npy npz mat pkl pickle pt "
        "pth ckpt safetensors onnx gguf"
    ),
    "sidecars, fonts, and what programs leave beside files": (
        "xmp aae thm ttf otf woff woff2 ds_store gitignore gitattributes gitkeep keep lock "
        "pid md5 sha1 sha256 sha512 sig asc pem crt key bak old orig tmp temp swp part "
        "crdownload"
    ),
}
OTHER_SUFFIXES = frozenset(suffix for said in _OTHERS.values() for suffix in said.split())
"""Suffixes of files that are no images."""

_AVIF_BRANDS = {b"avif", b"avis"}
_HEIF_BRANDS = {
    b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"mif2",
    b"mif3", b"msf1", b"miaf", b"avci", b"avcs", b"vvic", b"vvis", b"jpeg", b"jpgs", b"j2ki",
    b"j2is", b"unif",
}  # fmt: skip


def format_of(content: bytes) -> ImageFormat | None:
    """Return the format that the beginning of a file says it has, None where it says nothing.

    The first `SIGNATURE_BYTES` are enough. What follows them may be broken all the same.
    """
    head = content[:SIGNATURE_BYTES]
    for known in FORMATS:
        if known.signature is not None and known.signature.match(head):
            return known
    brands = _brands(head)
    if brands & _AVIF_BRANDS:
        return NAMED["AVIF"]
    return NAMED["HEIF"] if brands & _HEIF_BRANDS else None


def _brands(head: bytes) -> set[bytes]:
    """Return the brands of a box container: its major and compatible ones."""
    if head[4:8] != b"ftyp":
        return set()
    size = int.from_bytes(head[:4], "big")
    return {head[8:12], *(head[at : at + 4] for at in range(16, min(size, len(head)), 4))}
