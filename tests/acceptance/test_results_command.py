"""`fakesweep results` in every format: the same rows, columns and digits."""

import csv
import io
import json
import subprocess
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from fakesweep.schema.judging.policies import Policy
from fakesweep.schema.ledger.reports.results import RESULT_COLUMNS
from tests.acceptance.command import Command


@pytest.fixture(scope="module")
def swept(local: Command, tmp_path_factory: pytest.TempPathFactory) -> int:
    from tests.support.photographs import photograph  # noqa: PLC0415 - Pillow, for this fixture alone

    folder = tmp_path_factory.mktemp("pictures")
    for number in range(4):
        (folder / f"{number}.jpg").write_bytes(photograph(91_000 + number))
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing more")
    scan_id: int = local.scan(str(folder))["scan_id"]
    return scan_id


def _parquet(command: Command, scan_id: int, *words: str) -> list[dict[str, Any]]:
    """Return the rows of Parquet from a pipe."""
    done = subprocess.run(
        command.line("results", str(scan_id), "--format", "parquet", *words),
        check=True, capture_output=True, env=command.environment,
    )  # fmt: skip
    rows: list[dict[str, Any]] = pq.read_table(io.BytesIO(done.stdout)).to_pylist()
    return rows


def test_parquet_has_the_rows_of_json_lines(local: Command, swept: int) -> None:
    said = local.results(swept)
    rows = _parquet(local, swept)
    assert [tuple(row) for row in rows] == [RESULT_COLUMNS] * 5
    for row, line in zip(rows, said, strict=True):
        for moment in ("classified_at", "judged_at"):
            row[moment] = row[moment] and row[moment].isoformat()
        row["scores"] = row["scores"] and dict(row["scores"])
        assert row == line


def test_every_format_takes_the_same_choices(local: Command, swept: int, tmp_path: Path) -> None:
    (failed,) = local.results(swept, "--failed")
    assert [row["uri"] for row in _parquet(local, swept, "--failed")] == [failed["uri"]]
    word = next(row["verdict"] for row in local.results(swept) if row["verdict"])
    chosen = [row["uri"] for row in local.results(swept, "--verdict", word)]
    assert [row["uri"] for row in _parquet(local, swept, "--verdict", word)] == chosen
    assert local.results(swept, "--limit", "2") == local.results(swept)[:2]
    assert len(_parquet(local, swept, "--limit", "3")) == 3
    for form in ("table", "jsonl", "csv"):
        file = tmp_path / f"rows.{form}"
        words = ("results", str(swept), "--format", form, "--limit", "2")
        assert local.ok(*words, "--output", str(file)) == ""
        assert file.read_text("utf-8") == local.ok(*words)


def test_an_output_file_appears_once_complete(local: Command, swept: int, tmp_path: Path) -> None:
    file = tmp_path / "rows.parquet"
    words = ("results", str(swept), "--format", "parquet", "--output")
    assert local.ok(*words, str(file)) == ""
    assert pq.read_metadata(file).num_rows == 5
    assert list(tmp_path.iterdir()) == [file]
    done = local(*words, str(tmp_path / "nowhere" / "rows.parquet"))
    assert done.returncode == 1
    assert "cannot be written" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_parquet_is_not_for_a_terminal(local: Command, swept: int) -> None:
    status, seen = local.asked("", "results", str(swept), "--format", "parquet")
    assert status == 2
    assert "name a file by --output" in seen


def test_every_number_has_seven_decimals_and_is_the_judged_one(local: Command, swept: int) -> None:
    shown = local.results(swept) + local.ask(f"SELECT * FROM verdicts WHERE scan_id = {swept}")
    image = next(row["path"] for row in shown if row["verdict"])
    (checked,) = map(json.loads, local.ok("check", "--json", image).splitlines())
    judged = [row for row in [*shown, checked] if row["verdict"]]
    assert len(judged) == 9
    for row in judged:
        assert row["verdict"] == Policy("default", 0.2, 0.8).judge(row["p_fake"])
        for number in (row["p_fake"], *row["scores"].values()):
            assert number == round(number, 7)
        assert row["p_fake"] == row["scores"]["FAKE" if "FAKE" in row["scores"] else "fake"]
    lines = list(csv.DictReader(io.StringIO(local.ok("results", str(swept), "--format", "csv"))))
    assert [line["p_fake"] for line in lines if line["p_fake"]] == [
        str(row["p_fake"]) for row in shown[:5] if row["verdict"]
    ]
