"""Hostile files through the whole pipeline: each has one row, and its neighbours are classified."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import Engine, text

from fakesweep.schema.settings import Settings
from fakesweep.schema.uris import from_path
from fakesweep.workers.pipeline.batch import run_batch
from fakesweep.workers.pipeline.resources import Work
from fakesweep.workers.process.startup import open_work
from tests.fuzz.pieces import pieces
from tests.support import hostile_files as hostile
from tests.support.batches import publish_scan, result_rows
from tests.support.formats import dng, grey, psd
from tests.support.photographs import photograph
from tests.support.samples import every_sample, picture, written

MIB = 1024**2
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF", "HEIF")
IN_WORDS = b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x02\x00\x00\x00\x04up" + bytes(
    6
)
"""EXIF with a word as its orientation."""
BROKEN = {"corrupt", "not_an_image", "empty"}


@pytest.fixture
def settings(database_url: str) -> Settings:
    return Settings(
        database_url=database_url,
        broker_url="redis://127.0.0.1:1/0",
        device="cpu",
        loaders=2,
        fetch_attempts=1,
        file_roots=(Path("/"),),
    )


@pytest.fixture
def work(settings: Settings) -> Iterator[Work]:
    with open_work(settings) as opened:
        yield opened


def endings(
    files: dict[str, bytes], work: Work, engine: Engine, folder: Path
) -> dict[str, dict[str, Any]]:
    """Run files as one batch, each beside a sound photograph; return their rows by name."""
    paths = []
    for number, content in enumerate(files.values()):
        for kind, body in (("bad", content), ("sound", photograph(number))):
            paths.append(folder / f"{number:04}.{kind}")
            paths[-1].write_bytes(body)
    rows = _rows(paths, work, engine)
    sound = rows[1::2]
    assert [row["failure_message"] for row in sound] == [None] * len(files)
    for row in rows[::2]:
        assert str(row["failure_message"]).isprintable()
    return dict(zip(files, rows[::2], strict=True))


def _rows(paths: Sequence[Path], work: Work, engine: Engine) -> list[dict[str, Any]]:
    uris = [from_path(path) for path in paths]
    [message] = publish_scan(engine, uris, size=len(uris))
    before = loader_pids()
    run_batch(message, work)
    rows = result_rows(engine, message.scan_id)
    assert [row["uri"] for row in rows] == uris
    assert loader_pids() == before, "no loader was lost"
    return rows


def loader_pids() -> list[int]:
    """Return the pids of this process' loaders, without the test's servers."""
    children = Path(f"/proc/{os.getpid()}/task").glob("*/children")
    pids = [int(pid) for one in children for pid in one.read_text().split()]
    return sorted(pid for pid in pids if b"fakesweep.workers.sandbox.process" in _command(pid))


def _command(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def codes(rows: dict[str, dict[str, Any]]) -> dict[str, str | None]:
    return {name: row["failure_code"] for name, row in rows.items()}


def test_files_that_claim_more_pixels_than_allowed_are_refused_in_every_format(
    work: Work, engine: Engine, tmp_path: Path
) -> None:
    files = {name: hostile.claiming(name, 15_000, 15_000) for name in FORMATS}
    found = endings(files, work, engine, tmp_path)
    assert codes(found) == dict.fromkeys(FORMATS, "too_many_pixels")
    for name in FORMATS:
        assert f"{name} of 15000 x 15000 pixels" in found[name]["failure_message"]


def test_files_that_claim_just_what_is_allowed_and_hold_less_cost_no_loader(
    settings: Settings, engine: Engine, tmp_path: Path
) -> None:
    files = {name: hostile.claiming(name, 3_000, 3_000) for name in FORMATS}
    few = settings.model_copy(update={"max_image_pixels": 9_000_000})
    with open_work(few) as work:
        found = codes(endings(files, work, engine, tmp_path))
    # Their decoders fill up missing pixels, as in the model card's own code.
    assert {name for name in FORMATS if found.pop(name) is None} == {"JPEG", "AVIF"}


def test_an_absurd_size_in_a_header_is_refused(work: Work, engine: Engine, tmp_path: Path) -> None:
    files = {
        "png": hostile.claiming("PNG", 2**31 - 1, 2**31 - 1),
        "png of no height": hostile.claiming("PNG", 2**31 - 1, 0),
        "png beyond": hostile.claiming("PNG", 2**32 - 1, 2**32 - 1),
        "gif": hostile.claiming("GIF", 65_535, 65_535),
        "bmp": hostile.claiming("BMP", 2**31 - 1, -(2**31)),
        "bmp, negative": hostile.claiming("BMP", -5, 9),
        "tiff": hostile.claiming("TIFF", 2**32 - 1, 2**32 - 1),
        "jpeg": hostile.claiming("JPEG", 65_535, 65_535),
        "avif": hostile.claiming("AVIF", 2**32 - 1, 2**32 - 1),
        "heif": hostile.claiming("HEIF", 2**31, 2**31),
    }
    found = codes(endings(files, work, engine, tmp_path))
    assert set(found.values()) == {"too_many_pixels", "corrupt"}
    assert {found[name] for name in ("png", "gif", "bmp", "tiff", "jpeg")} == {"too_many_pixels"}


def test_chunks_that_unfold_to_256_mib_are_passed_over_in_little_memory(
    work: Work, engine: Engine, tmp_path: Path
) -> None:
    _rows([_written(tmp_path / "first", photograph(99))], work, engine)
    before = _peak_bytes()
    files = dict(hostile.text_bombs(256 * MIB))
    found = endings(files, work, engine, tmp_path)
    assert codes(found) == dict.fromkeys(files)
    assert _peak_bytes() - before < 64 * MIB


def test_a_file_padded_with_a_text_chunk_of_256_mib_is_too_large(
    work: Work, engine: Engine, tmp_path: Path
) -> None:
    path = _written(tmp_path / "padded.png", written(picture(1), "PNG"))
    with path.open("r+b") as file:
        file.truncate(256 * MIB)
    before = _peak_bytes()
    [row] = _rows([path], work, engine)
    assert row["failure_code"] == "too_large"
    assert _peak_bytes() - before < 64 * MIB


def _peak_bytes() -> int:
    """Return the peak memory of this process' loaders."""
    status = [Path(f"/proc/{pid}/status").read_text() for pid in loader_pids()]
    return 1024 * max(int(one.partition("VmHWM:")[2].split()[0]) for one in status)


def test_animations_without_an_end_are_judged_by_their_first_frame(
    work: Work, engine: Engine, tmp_path: Path
) -> None:
    files = {
        "gif": hostile.endless_gif(500_000),
        "png": hostile.endless_png(),
        "tiff": hostile.looping_tiff(),
    }
    found = endings(files, work, engine, tmp_path)
    assert codes(found) == dict.fromkeys(files)
    with engine.connect() as connection:
        rows = connection.execute(
            text("SELECT encode(sha256, 'hex') AS sha256, frame_count FROM ledger.contents")
        )
        frames = {row.sha256: row.frame_count for row in rows}
    assert frames[found["gif"]["sha256"]] > 100_000
    assert frames[found["tiff"]["sha256"]] == 1


def test_tiffs_with_absurd_tags_end_as_a_verdict_or_with_their_reason(
    work: Work, engine: Engine, tmp_path: Path
) -> None:
    numbers = ((1, 2**32 - 1), (2**32 - 1, 8), (2**31, 2**31), (0, 0), (1, 0))
    files = {
        f"{tag} {count} {value}": hostile.tiff_with((tag, count, value))
        for tag in (256, 257, 258, 259, 262, 273, 277, 278, 279)
        for count, value in numbers
    }
    found = codes(endings(files, work, engine, tmp_path))
    assert set(found.values()) <= {None, "corrupt", "unsupported", "too_many_pixels"}
    assert sum(code in {"corrupt", "unsupported"} for code in found.values()) > 20


def test_a_file_cut_off_at_any_of_its_borders_ends_as_broken_or_is_whole_enough(
    work: Work, engine: Engine, tmp_path: Path
) -> None:
    files = {}
    for name, content in every_sample().items():
        parts = pieces(content)
        for count in sorted({*range(min(len(parts), 6)), len(parts) - 1}):
            files[f"{name}, {count} pieces"] = b"".join(parts[:count])
    found = codes(endings(files, work, engine, tmp_path))
    assert set(found.values()) <= {*BROKEN, None}
    assert all(code == "empty" for name, code in found.items() if ", 0 pieces" in name)
    assert sum(code is None for code in found.values()) < len(files) / 5


def test_an_extension_says_nothing_about_the_bytes(
    work: Work, engine: Engine, tmp_path: Path
) -> None:
    paths = [
        _written(tmp_path / name, written(picture(seed), format_name))
        for seed, (name, format_name) in enumerate(
            (("a.jpg", "PNG"), ("b.png", "GIF"), ("c.gif", "AVIF"), ("d.txt", "WEBP"), ("e", "BMP"))
        )
    ]
    paths.append(_written(tmp_path / "f.jpg", b"#!/bin/sh\nreboot\n"))
    rows = _rows(paths, work, engine)
    assert [row["format"] for row in rows] == ["PNG", "GIF", "AVIF", "WEBP", "BMP", None]
    assert rows[-1]["failure_code"] == "not_an_image"


def test_a_file_that_is_a_picture_and_more_is_judged_as_the_picture(
    work: Work, engine: Engine, tmp_path: Path
) -> None:
    files = dict(hostile.polyglots())
    assert codes(endings(files, work, engine, tmp_path)) == dict.fromkeys(files)


def test_files_of_next_to_nothing_are_empty_no_image_or_corrupt(
    work: Work, engine: Engine, tmp_path: Path
) -> None:
    heads = {name: written(picture(0), name)[:16] for name in FORMATS}
    bytes_ = {f"byte {byte:02x}": bytes([byte]) for byte in (0, 0x42, 0x47, 0x49, 0x89, 0xFF)}
    files = {
        "nothing": b"",
        **bytes_,
        **heads,
        "a picture in a document": b"%PDF-1.7\n" + heads["PNG"],
    }
    found = codes(endings(files, work, engine, tmp_path))
    assert found.pop("nothing") == "empty"
    assert {found.pop(name) for name in (*bytes_, "a picture in a document")} == {"not_an_image"}
    assert found == dict.fromkeys(FORMATS, "corrupt")


@pytest.mark.parametrize(
    "names",
    [
        (b"line\nbreak.jpg", b"\r\n.jpg", b"tab\there.jpg", b" "),
        (b"\x1b[2J\x1b]0;gone\x07.jpg", b"bell\x07\x08\x7f.jpg", b"\xc2\x9b31m.jpg"),
        (b"\xff\xfe\x80.jpg", b"\xed\xa0\x80.jpg", "umlaut-ü-\u202egpj.exe".encode()),
        (b"-rf", b"--help.jpg", b"-", b"%0A%00.jpg", b"a#b?c=d&e.jpg"),
        (b"'; DROP TABLE images; --.jpg", b'"quoted".jpg', b"$(reboot)`id`.jpg", b"\\N", b"\\."),
        (b"n" * 255,),
    ],
)
def test_whatever_a_file_is_called_it_is_read_and_its_row_is_one_line(
    names: tuple[bytes, ...], work: Work, engine: Engine, tmp_path: Path
) -> None:
    paths = [
        _written(tmp_path / os.fsdecode(name), photograph(number))
        for number, name in enumerate(names)
    ]
    for row in _rows(paths, work, engine):
        assert row["failure_message"] is None
        assert row["uri"].isascii()
        assert row["uri"].isprintable()
        assert " " not in row["uri"]


def test_strange_but_sound_pictures_are_classified(
    work: Work, engine: Engine, tmp_path: Path
) -> None:
    files = {
        "1 x 1": written(Image.new("RGB", (1, 1)), "PNG"),
        "1 x 60000": written(Image.new("RGB", (1, 60_000)), "PNG"),
        "65500 x 1": written(Image.new("L", (65_500, 1)), "JPEG"),
        "one bit": written(Image.new("1", (3, 5), 1), "TIFF"),
        "16 bits": written(_filled(np.uint16), "PNG"),
        "16 bits tiff": written(_filled(np.uint16), "TIFF"),
        "32 bits": written(_filled(np.int32), "TIFF"),
        "no numbers": written(Image.fromarray(np.full((8, 9), np.nan, np.float32)), "TIFF"),
        "endless numbers": written(Image.fromarray(np.full((8, 9), np.inf, np.float32)), "TIFF"),
        "lab": written(Image.new("LAB", (20, 20), (90, 200, 10)), "TIFF"),
        "ycbcr": written(picture(1).convert("YCbCr"), "TIFF"),
        "inks": written(picture(1).convert("CMYK"), "JPEG"),
        "grey and alpha": written(picture(1).convert("LA"), "PNG"),
        "palette with alphas": written(
            picture(1).quantize(9), "PNG", transparency=b"\x00\x80\xff" * 3
        ),
        "transparency past the palette": written(picture(1).quantize(4), "PNG", transparency=200),
        "a profile that is none": written(picture(2), "JPEG", icc_profile=b"\xff" * 70_000),
        "exif that is none": written(
            picture(3), "JPEG", exif=b"Exif\x00\x00MM\x00*" + b"\xff" * 60_000
        ),
        "an orientation that is none": written(picture(4), "JPEG", exif=_orientation(99)),
        "an orientation in words": written(picture(5), "PNG", exif=IN_WORDS),
        "an orientation of zero": written(picture(6), "WEBP", exif=_orientation(0)),
    }
    assert codes(endings(files, work, engine, tmp_path)) == dict.fromkeys(files)


def _filled(kind: Any) -> Image.Image:
    limits = np.iinfo(kind)
    return Image.fromarray(np.linspace(limits.min, limits.max, 600).astype(kind).reshape(20, 30))


def _orientation(value: Any) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = value
    return exif


def _written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_a_picture_too_long_to_be_sized_is_told_so_in_a_sentence(
    work: Work, engine: Engine, tmp_path: Path
) -> None:
    found = endings({"long": hostile.long_png(178_956_970)}, work, engine, tmp_path)
    assert codes(found) == {"long": "too_many_pixels"}
    assert found["long"]["failure_message"].startswith(
        "PNG of 178956970 x 1 pixels needs more memory to be sized for the model than a loader has"
    )


def test_a_row_says_what_the_pixels_were_and_what_nothing_reads_goes_to_people(
    work: Work, engine: Engine, tmp_path: Path
) -> None:
    wide = Image.fromarray(grey(3).astype(np.uint16) * 257)
    files = {
        "image": written(picture(3), "PNG"),
        "scaled": written(wide, "PNG"),
        "preview": dng(3),
        "composite": psd(picture(3)),
        "unsupported": b"qoif" + bytes(90),
    }
    found = codes(endings(files, work, engine, tmp_path))
    assert found == {**dict.fromkeys(files), "unsupported": "unsupported"}
    digests = {hashlib.sha256(content).hexdigest(): name for name, content in files.items()}
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT DISTINCT sha256, read_as FROM verdicts")).all()
        queue = "SELECT sha256, failure_message FROM review_queue WHERE failure_code IS NOT NULL"
        [queued] = connection.execute(text(queue)).all()
    shown = {digests.get(row.sha256, "photograph"): row.read_as for row in rows}
    assert shown.pop("photograph", "image") == "image"
    assert shown == {name: name for name in files if name != "unsupported"}
    assert digests[queued.sha256] == "unsupported"
    assert queued.failure_message == "QOI, which no decoder here reads"
