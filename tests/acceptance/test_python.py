"""The Python calls and the notebook, compared with the command."""

import json
import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

import fakesweep
from fakesweep import pictures
from fakesweep.schema.errors import ScanError
from fakesweep.schema.ledger.reports.results import RESULT_COLUMNS
from tests.acceptance.command import Command
from tests.acceptance.conftest import Photographs

ROOT = Path(__file__).resolve().parents[2]
MODEL = "vit-tiny-cifake"


@pytest.fixture
def here(local: Command, monkeypatch: pytest.MonkeyPatch) -> Command:
    """The local stack of the session, for calls of this process."""
    for name, value in local.settings.items():
        monkeypatch.setenv(f"FAKESWEEP_{name}", value)
    return local


def test_a_folder_is_swept_and_its_rows_are_read(here: Command, photographs: Photographs) -> None:
    folder = photographs(5)
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing more")
    swept = fakesweep.scan(str(folder), model=MODEL, name="from Python", exclude=["*0004*"])
    assert (swept.state, swept.submitted, swept.failed) == ("finished", 5, 1)
    rows = list(fakesweep.results(swept))
    assert [Path(row["uri"]).name for row in rows].count("broken.jpg") == 1
    by_command = here.ok("results", str(swept.scan_id), "--format", "jsonl").splitlines()
    assert [json.loads(line)["p_fake"] for line in by_command] == [row["p_fake"] for row in rows]
    failed = list(fakesweep.results(swept.scan_id, only_failed=True))
    assert [row["failure_code"] for row in failed] == ["corrupt"]
    for row in rows:
        if row["status"] == "classified":
            found = fakesweep.check(row["uri"])
            assert found.p_fake == pytest.approx(row["p_fake"], abs=1e-6)
            assert found.content.sha256.hex() == row["sha256"]
    pictures._close()


@pytest.mark.usefixtures("here")
def test_rows_become_tables(photographs: Photographs) -> None:
    swept = fakesweep.scan(str(photographs(3)), model=MODEL)
    rows = list(fakesweep.results(swept))
    frame = fakesweep.results(swept).to_pandas()
    assert list(frame.columns) == list(RESULT_COLUMNS)
    assert list(frame.p_fake) == [row["p_fake"] for row in rows]
    table = fakesweep.results(swept).to_arrow()
    assert table.column_names == list(RESULT_COLUMNS)
    assert dict(table.column("scores")[0].as_py()) == rows[0]["scores"]
    word = rows[0]["verdict"]
    chosen = fakesweep.results(swept, verdict=word).to_arrow().column("verdict").to_pylist()
    assert set(chosen) == {word}
    assert fakesweep.results(swept, only_failed=True).to_arrow().num_rows == 0
    with pytest.raises(ScanError, match="scan 999999"):
        fakesweep.results(999_999)


def test_a_cluster_does_the_work_where_one_is_named(
    cluster: Command, photographs: Photographs, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in cluster.settings.items():
        monkeypatch.setenv(f"FAKESWEEP_{name}", value)
    swept = fakesweep.scan(str(photographs(2)), model=MODEL, lane="live")
    assert (swept.submitted, swept.classified, swept.pending) == (2, 2, 0)


def test_the_notebook_runs_from_its_first_cell_to_its_last(local: Command) -> None:
    cells = json.loads((ROOT / "docs" / "notebook.ipynb").read_text("utf-8"))["cells"]
    program = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    done = subprocess.run(
        [local.python, "-P", "-c", program], env=local.environment, timeout=240,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "fake 0.9" in done.stdout
    assert "not_an_image - " in done.stdout


def test_a_notebooks_lines_read_the_ledger_by_pandas(
    local: Command, photographs: Photographs
) -> None:
    local.scan(str(photographs(2)))
    document = (ROOT / "docs" / "sql.md").read_text("utf-8")
    (program,) = re.findall(r"```python\n(.*?)```", document, re.DOTALL)
    folder = str(Path(local.python).parent)
    done = subprocess.run(
        [local.python, "-P", "-c", program],
        env=local.environment | {"PATH": f"{folder}:{os.environ['PATH']}"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "verdict" in done.stdout
    psql = local.ok("db", "url").strip()
    assert psql.startswith("postgresql://")
    assert local.ok("db", "url", "--for", "sqlalchemy").strip() == psql.replace(
        "postgresql://", "postgresql+psycopg2://", 1
    )


def test_a_kept_worker_does_the_scans_of_a_shell_that_names_the_local_servers(
    local: Command, photographs: Photographs
) -> None:
    lines = local.ok("up", "--export").splitlines()
    named = dict(shlex.split(line)[1].split("=", 1) for line in lines)
    assert len(named) == 3
    beside = local.where(**{name.removeprefix("FAKESWEEP_"): url for name, url in named.items()})
    worker = beside.start("worker", "--device", "cpu", "--model", MODEL)
    try:
        said = beside.scan(str(photographs(2)))
        assert (said["submitted"], said["classified"]) == (2, 2)
    finally:
        worker.terminate()
        worker.communicate(timeout=60)


def test_pictures_are_checked_by_the_command_with_no_server_and_no_folder(
    tmp_path: Path, photographs: Photographs
) -> None:
    home = tmp_path / "never-made"
    command = Command({"HOME": str(home), "CPU_THREADS": "1"})
    folder = photographs(1)
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing more")
    done = command("check", str(folder / "0000.jpg"), str(folder / "broken.jpg"))
    assert done.returncode == 1
    first, model, scores, picture, *_ = done.stdout.splitlines()
    verdict = first.removeprefix(f"{folder}/0000.jpg: ")
    assert verdict in {"real", "uncertain", "fake"}
    assert model.startswith(f"model      {MODEL}: {verdict}, since p_fake 0.")
    assert "(real)" in scores
    assert picture.startswith("picture    JPEG, 48 x 40 pixels, ")
    assert done.stdout.splitlines()[-1].startswith(f"{folder}/broken.jpg: failed, corrupt: ")
    assert not home.exists()


def test_each_answer_of_each_model_is_a_line_of_json(
    tmp_path: Path, photographs: Photographs
) -> None:
    bundled = ROOT / "workers" / "checkpoints" / MODEL
    command = Command({"HOME": str(tmp_path / "never-made"), "CPU_THREADS": "1"})
    image = str(photographs(1) / "0000.jpg")
    words = ("--model", MODEL, "--model", str(bundled), "--json", image, "no-such.jpg")
    done = command("check", *words)
    one, other, gone = map(json.loads, done.stdout.splitlines())
    assert done.returncode == 1
    assert (one["model"], other["model"]) == (MODEL, str(bundled))
    assert one["scores"] == other["scores"]
    assert (gone["status"], gone["failure_code"]) == ("failed", "not_found")


def test_without_the_worker_extra_the_error_names_it(
    tmp_path: Path, base_install: str, photographs: Photographs
) -> None:
    bare = Command({"HOME": str(tmp_path)}, python=base_install)
    assert "IMAGE..." in bare.ok("check", "--help")
    done = bare("check", str(photographs(1) / "0000.jpg"))
    assert done.returncode == 1
    assert "pip install 'fakesweep[worker]'" in done.stderr
