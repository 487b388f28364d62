"""A scan on the local stack: one command, from a folder to rows."""

import json
import os
import re
import signal
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from fakesweep.schema.ledger.reports.results import RESULT_COLUMNS
from tests.acceptance.command import Command, counts, refusal
from tests.acceptance.conftest import Photographs
from tests.support.photographs import folder_of_photographs
from tests.support.servers import wait_until

SLOW_IMAGES = 120


IMAGES = 14


@dataclass(frozen=True)
class FirstScan:
    """A scan of `IMAGES` images in batches of four, with a newcomer's arguments."""

    scan_id: int
    folder: Path
    said: str
    complaints: str


@pytest.fixture(scope="module")
def first_scan(local: Command, tmp_path_factory: pytest.TempPathFactory) -> FirstScan:
    folder = folder_of_photographs(tmp_path_factory.mktemp("first"), IMAGES)
    done = local("scan", str(folder), "--name", "first")
    assert done.returncode == 0, done.stderr
    scan_id = int(done.stdout.partition("Go on with")[2].split("results ")[1].split()[0])
    return FirstScan(scan_id, folder, done.stdout, done.stderr)


def test_one_command_brings_a_folder_to_verdicts(first_scan: FirstScan) -> None:
    assert f"submitted {IMAGES} = classified {IMAGES} + reused 0 + failed 0" in first_scan.said
    for path in first_scan.folder.iterdir():
        assert path.name in first_scan.said
    assert f"results {first_scan.scan_id} --verdict fake" in first_scan.said
    assert 'sql "SELECT' in first_scan.said


def test_the_end_of_a_scan_names_its_bottleneck(first_scan: FirstScan) -> None:
    (line,) = [line for line in first_scan.said.splitlines() if line.startswith("bottleneck: ")]
    shares = dict(re.findall(r"\b([a-z_]+) (\d+)%", line))
    assert list(shares) == ["fetch", "look_up", "decode", "device", "store"]
    assert all(int(share) <= 100 for share in shares.values())
    rate = re.search(r" busy, ([\d.]+) images/s", line)
    assert rate is not None
    assert float(rate[1]) > 0


def test_a_scan_without_a_model_warns_of_the_bundled_one(first_scan: FirstScan) -> None:
    assert "for trying the system out, not for judging pictures" in first_scan.complaints


def test_every_image_is_a_row_in_the_results(local: Command, first_scan: FirstScan) -> None:
    rows = local.results(first_scan.scan_id)
    assert [tuple(row) for row in rows] == [RESULT_COLUMNS] * IMAGES
    assert {row["uri"] for row in rows} == {path.as_uri() for path in first_scan.folder.iterdir()}
    for row in rows:
        assert row["status"] == "classified"
        assert row["model"] == "vit-tiny-cifake"
        assert set(row["scores"]) == {"REAL", "FAKE"}
        assert sum(row["scores"].values()) == pytest.approx(1, abs=1e-5)
        assert row["p_fake"] == pytest.approx(row["scores"]["FAKE"], abs=1e-5)
        assert (row["width"], row["height"], row["format"]) == (48, 40, "JPEG")
        assert row["failure_code"] is None
        assert row["classified_at"].endswith("+00:00")


def test_a_model_is_loaded_once_per_process(local: Command, first_scan: FirstScan) -> None:
    batches = f"SELECT worker_id FROM ledger.batches WHERE scan_id = {first_scan.scan_id}"
    assert len(local.ask(batches)) == 4
    loads = f"SELECT model_id FROM ledger.model_loads WHERE worker_id IN ({batches})"
    assert len(local.ask(loads)) == 1


def test_the_worker_of_a_scan_ends_with_it(local: Command, first_scan: FirstScan) -> None:
    workers = local.ask(
        f"SELECT DISTINCT w.pid, w.stopped_at FROM ledger.workers w "
        f"JOIN ledger.batches b USING (worker_id) WHERE b.scan_id = {first_scan.scan_id}"
    )
    assert len(workers) == 1
    assert workers[0]["stopped_at"] is not None
    assert not Path(f"/proc/{workers[0]['pid']}").exists()


def test_a_finished_scan_has_nothing_to_resume(local: Command, first_scan: FirstScan) -> None:
    before = json.loads(local.ok("status", "--json", str(first_scan.scan_id)))
    for beside in ("workers", "waiting", "quarantined", "unreadable_messages", "cost", "at"):
        del before[beside]  # what is there besides is no part of a scan
    after = json.loads(local.ok("resume", "--json", str(first_scan.scan_id)))
    assert datetime.fromisoformat(after.pop("at")).tzinfo is not None
    assert after == before


def test_reading_starts_a_stack_that_was_stopped(local: Command, first_scan: FirstScan) -> None:
    assert "PostgreSQL" in local.ok("down")
    assert len(local.results(first_scan.scan_id)) == IMAGES
    assert local.ok("db", "url").strip() in local.ok("up")


def test_a_killed_scan_leaves_no_worker_behind_and_can_be_resumed(
    local: Command, local_ledger: Connection, photographs: Photographs
) -> None:
    scan = local.where(WINDOW_BATCHES="1").start("scan", str(photographs(SLOW_IMAGES)))
    try:
        scan_id, worker = _scan_at_work(local_ledger)
    finally:
        scan.kill()
        scan.communicate()
    wait_until(lambda: not Path(f"/proc/{worker}").exists(), "the worker has gone", 60)
    page = local.ok("status", str(scan_id))
    assert f"resume {scan_id}" in page
    assert f"process {worker}" not in page
    table = local.ok("status").splitlines()
    assert [line for line in table if line.startswith("waiting") and f"resume {scan_id}" in line]
    assert f"classified {SLOW_IMAGES}" in local.ok("resume", str(scan_id))


def test_an_interrupted_scan_is_resumed_without_losing_or_doubling_an_image(
    local: Command, local_ledger: Connection, photographs: Photographs
) -> None:
    folder = photographs(SLOW_IMAGES)
    scan = local.where(WINDOW_BATCHES="1").start("scan", str(folder))
    try:
        scan_id, worker = _scan_at_work(local_ledger)
        scan.send_signal(signal.SIGINT)
        _, said = scan.communicate(timeout=60)
    finally:
        scan.kill()
        scan.communicate()
    assert scan.returncode == 130, said
    assert f"scan {scan_id} goes on with: " in said
    assert f"resume {scan_id}" in said
    assert "Traceback" not in said
    assert not Path(f"/proc/{worker}").exists()
    left = json.loads(local.ok("status", "--json", str(scan_id)))
    assert left["classified"] > 0
    assert left["pending"] > 0
    counts(left)

    page = local.ok("resume", str(scan_id))
    assert f"submitted {SLOW_IMAGES} = classified {SLOW_IMAGES} + reused 0 + failed 0" in page
    uris = [row["uri"] for row in local.results(scan_id)]
    assert sorted(uris) == sorted(path.as_uri() for path in folder.iterdir())


def test_a_detached_scan_names_the_processes_it_needs(
    local: Command, photographs: Photographs
) -> None:
    done = local("scan", "--detach", str(photographs(5)))
    assert done.returncode == 0, done.stderr
    assert "submitted 5 = classified 0 + reused 0 + failed 0 + pending 5" in done.stdout
    scan_id = int(done.stdout.split()[1])
    assert f"status {scan_id} --watch" in done.stdout
    assert "fakesweep worker" in done.stdout
    assert "fakesweep producer" in done.stdout


def test_a_worker_that_cannot_load_its_model_ends_the_scan_with_the_reason(
    local: Command, photographs: Photographs, tmp_path: Path
) -> None:
    broken = tmp_path / "checkpoint"
    broken.mkdir()
    (broken / "config.json").write_text('{"model_type": "vit", "architectures": ["X"]}')
    line = refusal(local("scan", str(photographs(1)), "--model", str(broken)))
    assert "has no preprocessor_config.json" in line
    assert "resume" not in line, "nothing is recorded that could not be done"
    (broken / "preprocessor_config.json").write_text("{}")
    (broken / "model.safetensors").write_bytes(b"no weights")
    line = refusal(local("scan", str(photographs(1)), "--model", str(broken)))
    assert str(broken) in line
    assert "fakesweep resume" in line


def test_several_models_score_each_image_each(
    local: Command, photographs: Photographs, shared: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copied,model"
    copy.mkdir()
    for part in (shared / "models" / "vit-tiny-cifake").iterdir():
        (copy / part.name).write_bytes(part.read_bytes())
    said = local.scan(
        str(photographs(3)), "--model", "vit-tiny-cifake", "--model", os.path.relpath(copy)
    )
    assert said["models"] == ["vit-tiny-cifake", str(copy)]
    rows = local.results(said["scan_id"])
    assert [row["model"] for row in rows] == ["vit-tiny-cifake", str(copy)] * 3
    for first, second in zip(rows[::2], rows[1::2], strict=True):
        assert first["uri"] == second["uri"]
        assert first["p_fake"] == second["p_fake"]
        assert second["model_revision"]


def test_without_torch_a_local_scan_is_refused_before_anything_is_written(
    local: Command, photographs: Photographs, base_install: str
) -> None:
    local.ok("up")
    before = _newest_scan(local)
    bare = replace(local, python=base_install)
    assert "fakesweep[worker]" in refusal(bare("scan", str(photographs(1))))
    assert "fakesweep[worker]" in refusal(bare("worker"))
    assert _newest_scan(local) == before


def test_before_the_first_scan_reading_says_that_there_is_nothing(tmp_path: Path) -> None:
    fresh = Command({"HOME": str(tmp_path / "home")})
    for words in (
        ["status"],
        ["results", "1"],
        ["sql", "SELECT 1"],
        ["db", "url"],
        ["resume", "1"],
    ):
        assert "there is nothing yet" in refusal(fresh(*words))
    assert fresh.ok("down") == "nothing was running\n"
    assert not (tmp_path / "home").exists()


def _newest_scan(local: Command) -> int:
    scans = json.loads(local.ok("status", "--json"))["scans"]
    return int(scans[0]["scan_id"]) if scans else 0


def _scan_at_work(ledger: Connection) -> tuple[int, int]:
    """Wait until the newest scan has its first verdict; return its id and its worker's pid."""
    query = text("""
        SELECT b.scan_id, w.pid FROM ledger.workers w JOIN ledger.batches b USING (worker_id)
        WHERE w.stopped_at IS NULL AND b.state = 'done'
          AND b.scan_id = (SELECT max(scan_id) FROM ledger.scans)
    """)
    found: list[tuple[int, int]] = []

    def is_at_work() -> bool:
        found.extend((int(row.scan_id), int(row.pid)) for row in ledger.execute(query))
        return bool(found)

    wait_until(is_at_work, "a worker has finished the scan's first batch", 60)
    return found[0]
