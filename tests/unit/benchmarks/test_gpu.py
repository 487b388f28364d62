import argparse
import io
import json
import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import gpu, gpu_wheels
from benchmarks.gpu_bench import Bench
from benchmarks.gpu_decode import draw, make_pictures, with_comment
from benchmarks.gpu_models import SHAPES, make, make_checkpoint
from benchmarks.gpu_rows import Measured, table
from benchmarks.gpu_sweep import UNUSED_BROKER, open_with_file
from fakesweep.schema.settings import Settings
from fakesweep.workers.models.place import Place, Precision
from fakesweep.workers.models.processor import plain_steps

REPOSITORY = Path(gpu.__file__).resolve().parents[1]
CPU = Place(torch.device("cpu"), Precision.FLOAT32)


@pytest.mark.parametrize(
    ("model", "gflop"), [("vit-b-224", 35.1), ("siglip-b-224", 34.9), ("siglip-b-512", 213.8)]
)
def test_an_image_costs_what_is_known_of_the_model(model: str, gflop: float) -> None:
    assert SHAPES[model].gflop == pytest.approx(gflop, abs=0.05)


@pytest.mark.parametrize("model", gpu.MODELS)
def test_a_model_has_its_shape_and_torch_counts_the_same_operations(model: str) -> None:
    with torch.device("meta"):
        network, processor = make(model)
    side = SHAPES[model].side
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network.eval()(pixel_values=torch.empty(1, 3, side, side, device="meta"))
    # Torch counts SigLIP's pooling head, too, whose result nobody asks.
    assert SHAPES[model].gflop == pytest.approx(counter.get_total_flops() / 1e9, rel=0.015)
    steps = plain_steps(model, processor)
    assert steps is not None
    assert steps.size == (side, side)


def test_every_model_that_can_be_named_has_a_shape() -> None:
    assert {*gpu.MODELS, gpu.TINY} == set(SHAPES)


def test_a_table_shows_the_median_its_spread_and_the_share_of_the_bottleneck() -> None:
    rows = [
        Measured("vit-b-224", "engine", "as in a worker", (900.0, 1_100.0, 1_000.0), 4_000.0, "it"),
        Measured("vit-b-224", "decode", "exact", (50.0,), facts={"device": 0.25, "sink": "file"}),
    ]
    _, engine, decode = table(rows, cores=10).splitlines()
    assert engine.split()[-7:] == ["1,000.0", "900.0", "1,100.0", "100.0", "25%", "of", "it"]
    assert "device 0.25, sink file" in decode


def test_what_is_missing_is_named_in_a_line_that_says_how_to_bring_it() -> None:
    said = gpu_wheels.how_to_bring(["structlog", "pydantic"])
    assert "structlog, pydantic" in said
    assert "--fetch-wheels" in said
    assert "\n" not in said
    assert "torch" in gpu_wheels.how_to_bring(["structlog", "torch"])


def test_every_package_that_is_brought_has_its_pin() -> None:
    assert set(gpu_wheels.NEEDED + gpu_wheels.SERVER) <= set(gpu_wheels.pins())


def test_a_package_lacks_where_it_is_absent_or_older_than_its_pin(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def version(name: str) -> str:
        if name == "structlog":
            raise PackageNotFoundError(name)
        return {"pydantic": "1.9", "sqlalchemy": "99.0"}[name]

    monkeypatch.setattr(gpu_wheels, "version", version)
    assert gpu_wheels.lacking(["structlog", "pydantic", "sqlalchemy"]) == ["structlog", "pydantic"]
    assert gpu_wheels.absent(["structlog", "pydantic", "sqlalchemy"]) == ["structlog"]


def test_files_that_show_the_same_picture_differ_in_their_bytes() -> None:
    jpeg = draw(0, 100)
    files = [with_comment(jpeg, comment) for comment in (b"one", b"two")]
    assert files[0] != files[1]
    pixels = [Image.open(io.BytesIO(file)).tobytes() for file in files]
    assert pixels[0] == pixels[1]


def test_a_picture_is_a_jpeg_of_the_side_that_was_asked_for(tmp_path: Path) -> None:
    (tmp_path / "one.jpg").write_bytes(draw(1, 100))
    with Image.open(tmp_path / "one.jpg") as image:
        assert (image.format, max(image.size)) == ("JPEG", 100)


def test_no_measurement_begins_after_the_minutes_that_were_asked_for(tmp_path: Path) -> None:
    asked = gpu.arguments(["--device", "cpu", "--minutes", "0", "--only", "engine"])
    asked.json = tmp_path / "found.json"
    bench = Bench(asked, tmp_path, CPU, Settings())
    assert not bench.wants("decode", "never asked for")
    assert not bench.wants("engine", "vit-b-224 engine")
    assert json.loads(asked.json.read_text())["left_out"] == [
        "vit-b-224 engine: too late within 0 minutes (--minutes)"
    ]


def test_one_part_fails_without_the_others(tmp_path: Path) -> None:
    bench = Bench(argparse.Namespace(json=None), tmp_path, CPU, Settings())
    with bench.trying("a part"):
        raise RuntimeError("no luck")
    assert bench.left_out == ["a part: RuntimeError: no luck"]


def test_without_a_database_every_image_ends_as_a_line_of_a_file(tmp_path: Path) -> None:
    paths = make_pictures(tmp_path / "pictures", 5, 1)
    settings = Settings(
        device="cpu", loaders=1, batch_images=3, broker_url=UNUSED_BROKER, file_roots=(tmp_path,)
    )
    sink = tmp_path / "found.jsonl"
    with open_with_file(make_checkpoint(gpu.TINY, tmp_path), settings, sink) as worker:
        assert worker.sweep(paths, 2) > 0
    rows = [json.loads(line) for line in sink.read_text().splitlines()]
    assert sorted(row["uri"] for row in rows) == [path.as_uri() for path in paths]
    assert len({row["sha256"] for row in rows}) == 5
    assert all(sum(row["scores"]) == pytest.approx(1) for row in rows)


def test_every_part_runs_on_a_cpu(tmp_path: Path) -> None:
    found = tmp_path / "found.json"
    words = ["--device", "cpu", "--quick", "--models", gpu.TINY, "--images", "12"]
    subprocess.run(
        [sys.executable, str(REPOSITORY / "benchmarks" / "gpu.py"), *words, "--seconds", "0.2",
         "--folder", str(tmp_path), "--json", str(found), "--wheels", str(tmp_path / "none")],
        check=True, cwd=tmp_path, timeout=120,
    )  # fmt: skip
    known = json.loads(found.read_text())
    assert known["left_out"] == []
    assert known["matrix_tflops"]
    assert {row["part"] for row in known["measured"]} == {
        "decode", "engine", "network", "sweep", "transformers' pipeline",
    }  # fmt: skip
    (sweep,) = (row for row in known["measured"] if row["part"] == "sweep")
    assert sweep["way"].endswith("into PostgreSQL")
    assert sweep["images_per_second"] > 0
