"""One picture judged by the Python call: a worker's loader and models, no server."""

import io
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import fakesweep
from fakesweep import pictures
from fakesweep.schema.errors import CatalogueError
from fakesweep.schema.failures import (
    CorruptImage,
    ImageEmpty,
    ImageNotFound,
    ImageTooLarge,
    InvalidUri,
    NotAnImage,
    TooManyPixels,
)
from fakesweep.schema.judging.labels import Side
from fakesweep.schema.words import ReadAs
from fakesweep.workers import single_picture
from fakesweep.workers.models import load
from fakesweep.workers.single_picture import Check
from tests.support.photographs import photograph

PIXELS = np.random.default_rng(3).integers(0, 256, (40, 56, 3), np.uint8)
ORIENTATION = 0x0112


@pytest.fixture(autouse=True)
def _own_checkers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("FAKESWEEP_CPU_THREADS", "1")
    monkeypatch.setenv("FAKESWEEP_PRECISION", "float32")
    yield
    pictures._close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "Glück & Glas.jpg").write_bytes(photograph(1))
    return tmp_path / "Glück & Glas.jpg"


def said(found: Check) -> tuple[object, ...]:
    return found.verdict, found.p_fake, found.scores, found.content


def test_a_path_a_uri_and_bytes_get_the_same_answer(path: Path) -> None:
    found = fakesweep.check(path)
    assert found.uri == str(path)
    for other in (str(path), path.as_uri(), path.read_bytes()):
        assert said(fakesweep.check(other)) == said(found)
    assert sum(found.scores.values()) == pytest.approx(1.0, abs=1e-6)
    assert found.labels == {"REAL": Side.REAL, "FAKE": Side.FAKE}
    assert found.p_fake == found.scores["FAKE"]
    assert (found.content.width, found.content.height, found.content.format) == (48, 40, "JPEG")
    assert found.as_json()["sha256"] == found.content.sha256.hex()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB"])
def test_a_pillow_image_is_judged_by_the_pixels_it_has(mode: str) -> None:
    picture = Image.fromarray(PIXELS)
    if mode == "LAB":
        picture = Image.frombytes("LAB", picture.size, picture.tobytes())
    else:
        picture = picture.convert(mode)
    shown = Image.fromarray(np.asarray(picture.convert("RGB")))
    assert fakesweep.check(picture).scores == fakesweep.check(shown).scores


def test_a_pillow_image_is_judged_upright(tmp_path: Path) -> None:
    picture = Image.fromarray(PIXELS)
    exif = picture.getexif()
    exif[ORIENTATION] = 6
    picture.save(tmp_path / "turned.png", exif=exif)
    found = fakesweep.check(Image.open(tmp_path / "turned.png"))
    assert said(found)[:3] == said(fakesweep.check(tmp_path / "turned.png"))[:3]
    assert (found.content.width, found.content.height) == (40, 56)


def test_a_picture_is_decoded_in_another_process(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fakesweep.check(path)
    for name in ("open", "frombuffer"):
        monkeypatch.setattr(Image, name, None)
    assert fakesweep.check(path.read_bytes()).content.format == "JPEG"


def test_a_model_is_loaded_once_in_a_process(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []
    really = load.load_model

    def counted(entry: object, *more: object, **options: object) -> object:
        loaded.append("one")
        return really(entry, *more, **options)  # type: ignore[arg-type]  # handed through

    monkeypatch.setattr(load, "load_model", counted)
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(fakesweep.check, [path] * 8))
    assert len(loaded) == 1
    assert all(said(one) == said(answers[0]) for one in answers)


@pytest.mark.parametrize(
    ("picture", "failure"),
    [
        (b"", ImageEmpty),
        (b"no picture at all", NotAnImage),
        (photograph(2)[:200], CorruptImage),
        ("/no/such/picture.jpg", ImageNotFound),
        ("", InvalidUri),
    ],
)
def test_what_cannot_be_judged_raises_its_failure(
    picture: bytes | str, failure: type[Exception]
) -> None:
    with pytest.raises(failure):
        fakesweep.check(picture)


def test_the_limits_of_a_worker_hold(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKESWEEP_MAX_IMAGE_PIXELS", "1000")
    with pytest.raises(TooManyPixels):
        fakesweep.check(path)
    monkeypatch.setenv("FAKESWEEP_MAX_IMAGE_BYTES", "100")
    for picture in (path, path.read_bytes()):
        with pytest.raises(ImageTooLarge):
            fakesweep.check(picture)


def test_the_next_picture_is_judged_after_the_loader_was_killed(path: Path) -> None:
    before = fakesweep.check(path)
    ours = Path(f"/proc/{os.getpid()}/task/{threading.get_native_id()}/children")
    for child in ours.read_text().split():
        if b"fakesweep.workers.sandbox.process" in Path(f"/proc/{child}/cmdline").read_bytes():
            os.kill(int(child), signal.SIGKILL)
    assert said(fakesweep.check(path)) == said(before)


def test_the_cuts_and_the_reason_are_told(path: Path, tmp_path: Path) -> None:
    found = fakesweep.check(path, policy="card")
    assert (found.policy.real_below, found.policy.fake_above) == (0.5, 0.5)
    assert f"p_fake {found.p_fake:.7f} is " in found.why
    assert "'card'" in found.why
    assert any("not for judging pictures" in caveat for caveat in found.caveats)
    with pytest.raises(CatalogueError, match="policy 'crad' is not known"):
        fakesweep.check(path, policy="crad")
    frames = [Image.fromarray(PIXELS), Image.fromarray(255 - PIXELS)]
    frames[0].save(tmp_path / "two.png", save_all=True, append_images=frames[1:])
    assert "only the first of 2 frames was judged" in fakesweep.check(tmp_path / "two.png").caveats


def test_pixels_that_are_not_the_pictures_own_are_told_of(path: Path) -> None:
    found = fakesweep.check(path)
    assert found.as_json()["read_as"] == "image"
    preview = replace(found, content=replace(found.content, read_as=ReadAs.PREVIEW))
    assert preview.as_json()["read_as"] == "preview"
    assert [said for said in preview.caveats if said not in found.caveats] == [
        "what was judged is the preview that this camera file carries of itself"
    ]


def test_what_is_no_picture_is_refused_in_one_line() -> None:
    with pytest.raises(TypeError, match="a picture is a path, a URI, bytes or a Pillow image"):
        fakesweep.check(io.BytesIO())  # type: ignore[arg-type]  # what the test is about


def test_several_models_judge_one_picture_side_by_side(path: Path, tmp_path: Path) -> None:
    bundled = Path(single_picture.__file__).parent / "checkpoints" / "vit-tiny-cifake"
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in bundled.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    first, second = pictures.check_by(path, ["vit-tiny-cifake", str(copy)])
    assert (first.model, second.model) == ("vit-tiny-cifake", str(copy))
    assert first.scores == second.scores


def test_importing_it_loads_nothing_heavy() -> None:
    program = (
        "import sys, fakesweep\n"
        "assert callable(fakesweep.submit)\n"
        "heavy = {'torch', 'transformers', 'PIL', 'numpy', 'celery', 'boto3', 'sqlalchemy'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], check=True, capture_output=True, text=True
    )
    assert done.stdout == "[]\n"
