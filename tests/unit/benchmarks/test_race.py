from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.checkpoints import make_checkpoint
from benchmarks.peers.marks import mark, read_mark
from benchmarks.race import RACES, find_pythons, run
from benchmarks.runs import Job
from benchmarks.sweep import sweep
from tests.support.photographs import folder_of_photographs


@pytest.fixture
def job(tmp_path: Path) -> Job:
    folder = folder_of_photographs(tmp_path / "photographs", 12)
    (folder / "cut.jpg").write_bytes((folder / "0003.jpg").read_bytes()[:400])
    return Job(folder, str(folder), 13, make_checkpoint("tiny", tmp_path))


def test_a_sweep_accounts_for_every_image_through_the_real_queue(job: Job) -> None:
    found = sweep(job, {"CPU_THREADS": "1"})
    assert found.rows == 13
    assert 0 < found.first_seconds <= found.seconds
    assert found.peak_bytes > 50 * 2**20


def test_a_peer_accounts_for_every_image_and_one_that_cannot_run_is_out_with_its_reason(
    job: Job, tmp_path: Path
) -> None:
    pythons = {"pipeline-8": find_pythons(["pipeline-8"], tmp_path, install=False)[0]["pipeline-8"]}
    pythons["pipeline-1"] = "/no/such/python"
    race = replace(RACES[0], walls=("bare decode",))
    *_, (_, turns) = run(race, job, ["pipeline-8", "pipeline-1"], 1, pythons)
    able, unable = turns.results("tiny")
    assert [one.rows for one in able.runs] == [13]
    assert not unable.runs
    assert "/no/such/python" in unable.trouble
    assert [rate > 0 for rate in turns.walls["bare decode"]] == [True]


def test_a_peer_that_is_not_installed_says_how_to_install_it(tmp_path: Path) -> None:
    pythons, troubles = find_pythons(["ray", "celery"], tmp_path, install=False)
    assert list(pythons) == ["celery"]
    assert troubles == {"ray": "it is not installed; --with-peers installs it"}


def test_the_first_to_mark_a_moment_wins(tmp_path: Path) -> None:
    mark(tmp_path, "first", 1.5)
    mark(tmp_path, "first", 2.5)
    assert read_mark(tmp_path, "first") == 1.5
