import json
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import Engine

from tests.integration.ledger.rows import tuples

REPOSITORY = Path(__file__).resolve().parents[3]


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.ingest", *arguments],
        cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_the_ingest_benchmark_stores_every_row_and_tells_its_figures(
    engine: Engine, tmp_path: Path
) -> None:
    url = engine.url.render_as_string(hide_password=False)
    found = _run(
        "--images", "600", "--preload", "1000", "--writers", "2", "--batch", "100", "--models", "2",
        "--repeats", "1", "--json", str(tmp_path / "out.json"), "--database-url", url,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    assert "      2    100      2       1 " in found.stdout
    (measured,) = json.loads((tmp_path / "out.json").read_text())["measurements"]
    assert len(measured["images_per_second"]) == 1
    assert tuples(
        engine,
        "SELECT (SELECT count(*) FROM ledger.outcomes), (SELECT count(*) FROM ledger.contents), "
        "(SELECT count(*) FROM ledger.predictions), (SELECT count(*) FROM ledger.verdicts), "
        "(SELECT count(*) FROM verdicts), (SELECT sum(classified) FROM scan_progress)",
    ) == [(1_600, 1_600, 3_200, 3_200, 3_200, 1_600)]


@pytest.mark.parametrize("name", ["postgres", "fakesweep"])
def test_the_ingest_benchmark_keeps_away_from_databases_in_use(name: str) -> None:
    found = _run("--database-url", f"postgresql://127.0.0.1:1/{name}")
    assert found.returncode == 1
    assert f"the database '{name}' may hold real rows" in found.stderr
