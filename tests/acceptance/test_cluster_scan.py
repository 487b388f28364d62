"""A scan on a cluster: named servers, and a worker of another process."""

import csv
import io
import json
import signal
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from fakesweep.schema.ledger.connection import open_engine
from fakesweep.schema.ledger.reports.results import RESULT_COLUMNS
from tests.acceptance.command import Command, counts
from tests.acceptance.conftest import Photographs
from tests.support.photographs import photograph
from tests.support.servers import S3Server, wait_until


def test_a_scan_leaves_the_work_to_the_cluster_and_starts_nothing(
    cluster: Command, photographs: Photographs
) -> None:
    said = cluster.scan(str(photographs(6)))
    assert counts(said) == {"classified": 6}
    workers = cluster.ask("SELECT count(*) AS n FROM ledger.workers")
    assert workers == [{"n": 1}]
    assert not Path(cluster.settings["HOME"]).exists()


def test_the_same_content_is_not_classified_again(
    cluster: Command, photographs: Photographs
) -> None:
    folder = photographs(5)
    first = cluster.scan(str(folder))
    (folder / "again.jpg").write_bytes((folder / "0000.jpg").read_bytes())
    second = cluster.scan(str(folder))
    assert counts(first) == {"classified": 5}
    assert counts(second) == {"reused": 6}
    scores = {row["sha256"]: row["p_fake"] for row in cluster.results(first["scan_id"])}
    for row in cluster.results(second["scan_id"]):
        assert row["status"] == "reused"
        assert row["p_fake"] == scores[row["sha256"]]


def test_broken_files_are_counted_and_the_scan_still_succeeds(
    cluster: Command, photographs: Photographs
) -> None:
    folder = photographs(3)
    (folder / "empty.jpg").touch()
    (folder / "text.png").write_text("no image at all")
    (folder / "cut.jpg").write_bytes(photograph(7)[:400])
    said = cluster.scan(str(folder))
    assert counts(said) == {"classified": 3, "failed": 3}
    assert said["failures"] == {"corrupt": 1, "empty": 1, "not_an_image": 1}
    failed = cluster.results(said["scan_id"], "--failed")
    assert {Path(row["uri"]).name: row["failure_code"] for row in failed} == {
        "empty.jpg": "empty",
        "text.png": "not_an_image",
        "cut.jpg": "corrupt",
    }
    assert all(row["status"] == "failed" and row["failure_message"] for row in failed)
    table = cluster.ok("results", str(said["scan_id"]), "--failed")
    assert table.count("failed ") == 3


def test_failed_images_can_set_the_exit_status(cluster: Command, photographs: Photographs) -> None:
    folder = photographs(1)
    assert cluster("scan", "--fail-on-failures", str(folder)).returncode == 0
    (folder / "empty.jpg").touch()
    done = cluster("scan", "--fail-on-failures", str(folder))
    assert done.returncode == 3
    assert "empty 1" in done.stdout


def test_uris_come_from_standard_input(cluster: Command, photographs: Photographs) -> None:
    folder = photographs(3)
    typed = "".join(f"{path.as_uri()}\n" for path in sorted(folder.iterdir()))
    said = cluster.scan("-", typed=typed + "ftp://old/way.jpg\n")
    assert counts(said) == {"classified": 3, "failed": 1}
    assert said["failures"] == {"invalid_uri": 1}


def test_a_manifests_bad_line_is_a_failed_image_with_its_number(
    cluster: Command, photographs: Photographs, tmp_path: Path
) -> None:
    folder = photographs(2)
    manifest = tmp_path / "manifest.jsonl"
    manifest.write_text(
        json.dumps({"uri": (folder / "0000.jpg").as_uri()})
        + '\n{"uri": broken\n'
        + json.dumps({"source-ref": (folder / "0001.jpg").as_uri()})
        + "\n"
    )
    said = cluster.scan(str(manifest))
    assert counts(said) == {"classified": 2, "failed": 1}
    failed = cluster.results(said["scan_id"], "--failed")
    assert [row["failure_code"] for row in failed] == ["invalid_uri"]
    assert "2" in failed[0]["failure_message"]


def test_a_prefix_of_a_bucket_is_scanned(cluster: Command, s3: S3Server) -> None:
    for number in range(5):
        s3.put("pictures", f"2026/{number}.jpg", photograph(9_000 + number))
    s3.put("pictures", "other/left-out.jpg", photograph(9_100))
    said = cluster.scan("s3://pictures/2026/")
    assert counts(said) == {"classified": 5}
    assert {row["uri"] for row in cluster.results(said["scan_id"])} == {
        f"s3://pictures/2026/{number}.jpg" for number in range(5)
    }


def test_sources_mix(cluster: Command, s3: S3Server, photographs: Photographs) -> None:
    uri = s3.put("mixed", "a.jpg", photograph(9_200))
    folder = photographs(2)
    said = cluster.scan(str(folder), "s3://mixed/", str(folder / "0000.jpg"), "-", typed=f"{uri}\n")
    assert counts(said) == {"classified": 3}
    assert len(said["sources"]) == 4


def test_a_detached_scan_lists_what_only_this_machine_can_and_leaves_the_rest(
    cluster: Command, photographs: Photographs
) -> None:
    done = cluster("scan", "--detach", "--json", str(photographs(4)))
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["submitted"], said["state"]) == (4, "running")
    assert json.loads(cluster.ok("resume", "--json", str(said["scan_id"])))["classified"] == 4


def test_the_producer_finishes_detached_scans_until_a_signal_stops_it(
    cluster: Command, photographs: Photographs
) -> None:
    said = json.loads(cluster.ok("scan", "--detach", "--json", str(photographs(4))))
    producer = cluster.start("producer")
    try:
        page = cluster.ok("status", "--watch", str(said["scan_id"]))
        producer.send_signal(signal.SIGTERM)
        _, errors = producer.communicate(timeout=30)
    finally:
        producer.kill()
    assert "finished: submitted 4 = classified 4" in page.splitlines()[-1]
    assert producer.returncode == 0, errors


def test_a_terminated_scan_stops_cleanly_and_can_be_resumed(
    cluster: Command, photographs: Photographs
) -> None:
    before = _newest_scan(cluster)
    scan = cluster.where(WINDOW_BATCHES="1").start("scan", str(photographs(60)))
    try:
        scan_id = _scan_where(cluster, before, "classified > 0 AND pending > 0")
        scan.terminate()
        _, said = scan.communicate(timeout=30)
    finally:
        scan.kill()
        scan.communicate()
    assert scan.returncode == 130, said
    assert f"resume {scan_id}" in said
    left = json.loads(cluster.ok("status", "--json", str(scan_id)))
    assert left["pending"] > 0
    assert json.loads(cluster.ok("resume", "--json", str(scan_id)))["classified"] == 60


def test_a_scan_of_standard_input_resumes_when_given_its_list_again(
    cluster: Command, photographs: Photographs
) -> None:
    folder = photographs(10)
    typed = "".join(f"{path}\n" for path in sorted(folder.iterdir()))
    before = _newest_scan(cluster)
    scan = cluster.start("scan", "-")
    try:
        assert scan.stdin is not None
        scan.stdin.write(typed)
        scan.stdin.flush()
        scan_id = _scan_where(cluster, before, "classified = 8")
        scan.send_signal(signal.SIGINT)
        scan.wait(30)
    finally:
        scan.kill()
        scan.communicate()
    assert scan.returncode == 130
    done = cluster("resume", "--json", str(scan_id), typed=typed)
    assert "give it the same list again" in done.stderr
    assert counts(json.loads(done.stdout)) == {"classified": 10}


def test_progress_moves_on_a_terminal(cluster: Command, photographs: Photographs) -> None:
    received = cluster.on_terminal("scan", str(photographs(3)))
    assert "3 images" in received
    assert "verdict" in received


def test_a_scan_without_workers_says_so_while_it_waits(
    cluster_without_worker: Command, photographs: Photographs, database_url: str
) -> None:
    alone = cluster_without_worker.where(DATABASE_URL=database_url)
    scan = alone.start("scan", str(photographs(1)))
    try:
        assert scan.stderr is not None
        said = [next(line for line in scan.stderr if "no worker has been seen" in line)]
        scan.send_signal(signal.SIGINT)
        _, rest = scan.communicate(timeout=30)
    finally:
        scan.kill()
    assert "`fakesweep worker`" in said[0]
    assert "no worker has been seen" not in rest
    assert scan.returncode == 130


def test_csv_carries_what_json_lines_carry(cluster: Command, photographs: Photographs) -> None:
    folder = photographs(2)
    (folder / "empty.jpg").touch()
    scan_id = cluster.scan(str(folder))["scan_id"]
    out = cluster.ok("results", str(scan_id), "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert tuple(rows[0]) == RESULT_COLUMNS
    for in_csv, in_json in zip(rows, cluster.results(scan_id), strict=True):
        assert in_csv["uri"] == in_json["uri"]
        assert json.loads(in_csv["scores"] or "null") == in_json["scores"]
        assert in_csv["p_fake"] == ("" if in_json["p_fake"] is None else str(in_json["p_fake"]))


def test_results_can_be_asked_for_by_verdict(cluster: Command, photographs: Photographs) -> None:
    scan_id = cluster.scan(str(photographs(8)))["scan_id"]
    every = cluster.results(scan_id)
    for word in ("real", "uncertain", "fake"):
        assert cluster.results(scan_id, "--verdict", word) == [
            row for row in every if row["verdict"] == word
        ]


def test_a_scan_is_judged_again_by_another_policy_without_a_worker(
    cluster: Command, photographs: Photographs, tmp_path: Path
) -> None:
    scan_id = cluster.scan(str(photographs(4)))["scan_id"]
    catalogue = tmp_path / "mine.toml"
    catalogue.write_text("[policies.all-fake]\nreal_below = 0.0\nfake_above = 0.0\n")
    mine = cluster.where(CATALOGUE=str(catalogue))
    assert "policy all-fake" in mine.ok("rejudge", str(scan_id), "--policy", "all-fake")
    assert {row["verdict"] for row in cluster.results(scan_id)} == {"fake"}
    assert {row["policy"] for row in cluster.results(scan_id)} == {"all-fake"}
    cluster.ok("rejudge", str(scan_id), "--policy", "card")
    for row in cluster.results(scan_id):
        assert row["verdict"] == ("fake" if row["p_fake"] > 0.5 else "real")


def test_a_policy_changed_in_sql_is_what_rejudging_uses(
    cluster: Command, photographs: Photographs
) -> None:
    scan_id = cluster.scan(str(photographs(2)))["scan_id"]
    engine = open_engine(cluster.settings["DATABASE_URL"], "tests")
    change = text(
        "INSERT INTO ledger.policies (name, real_below, fake_above) VALUES ('card', :cut, :cut)"
    )
    with engine.begin() as connection:
        connection.execute(change, {"cut": 0})
    try:
        cluster.ok("rejudge", str(scan_id), "--policy", "card")
        assert {row["verdict"] for row in cluster.results(scan_id)} == {"fake"}
    finally:
        with engine.begin() as connection:
            connection.execute(change, {"cut": 0.5})
        engine.dispose()


def test_status_shows_every_scan_and_one_in_full(
    cluster: Command, photographs: Photographs
) -> None:
    folder = photographs(2)
    (folder / "empty.jpg").touch()
    scan_id = cluster.scan(str(folder), "--name", "summer")["scan_id"]
    listed = cluster.ok("status").splitlines()
    assert listed[0].split()[:3] == ["scan", "name", "state"]
    assert listed[1].split()[:4] == [str(scan_id), "summer", "finished", "3"]
    page = cluster.ok("status", str(scan_id))
    assert "submitted 3 = classified 2 + reused 0 + failed 1 + pending 0" in page
    assert str(folder) in page
    assert "empty 1" in page
    everything = json.loads(cluster.ok("status", "--json"))
    assert everything["scans"][0]["scan_id"] == scan_id


@pytest.mark.parametrize("words", [["--format", "table"], ["--format", "csv"], []])
def test_sql_answers_in_every_format(cluster: Command, words: list[str]) -> None:
    out = cluster.ok("sql", "SELECT 1 AS one, 'x' AS two;", *words)
    assert out.replace(",", " ").split() == ["one", "two", "1", "x"]


def test_a_closed_pipe_downstream_is_no_error(cluster: Command) -> None:
    with cluster.start("sql", "SELECT * FROM generate_series(1, 200000)") as query:
        assert query.stdout is not None
        assert query.stderr is not None
        query.stdout.readline()
        query.stdout.close()
        said = query.stderr.read()
    assert (query.returncode, said) == (141, "")


def test_an_error_of_storage_cannot_control_a_terminal(cluster: Command, tmp_path: Path) -> None:
    manifest = tmp_path / "hostile.jsonl"
    manifest.write_text(json.dumps({"uri": "s3://pictures/\x1b]0;owned\x07\x9b2J.jpg"}) + "\n")
    scan_id = cluster.scan(str(manifest))["scan_id"]
    for words in (
        ["results", str(scan_id)],
        ["results", str(scan_id), "--format", "csv"],
        ["results", str(scan_id), "--format", "jsonl"],
        ["sql", f"SELECT uri FROM failures WHERE scan_id = {scan_id}"],
    ):
        received = cluster.on_terminal(*words)
        assert "owned" in received
        assert "\x1b]0" not in received
        assert "\x9b" not in received
        assert "\x07" not in received


def test_models_are_listed_and_shown_with_what_was_loaded(
    cluster: Command, photographs: Photographs
) -> None:
    cluster.scan(str(photographs(1)))
    listed = cluster.ok("models", "list")
    for key in ("vit-tiny-cifake", "deepguard", "ai-guard-vision"):
        assert key in listed
    shown = cluster.ok("models", "show", "vit-tiny-cifake")
    assert "bundled:vit-tiny-cifake" in shown
    assert "current" in shown


def test_everything_but_the_worker_runs_on_the_base_install(
    cluster: Command, photographs: Photographs, base_install: str
) -> None:
    bare = replace(cluster, python=base_install)
    assert "scan" in bare.ok("--help")
    said = bare.scan(str(photographs(3)))
    assert counts(said) == {"classified": 3}
    scan_id = str(said["scan_id"])
    assert "finished" in bare.ok("status", scan_id)
    assert len(bare.results(said["scan_id"])) == 3
    assert bare.ok("rejudge", scan_id, "--policy", "default")
    detached = json.loads(bare.ok("scan", "--detach", "--json", str(photographs(2, "more"))))
    producer = bare.start("producer")
    try:
        wait_until(
            lambda: cluster.results(detached["scan_id"]) != [], "the producer published the batch"
        )
        producer.send_signal(signal.SIGTERM)
        _, errors = producer.communicate(timeout=30)
    finally:
        producer.kill()
    assert producer.returncode == 0, errors


def _newest_scan(cluster: Command) -> int:
    scans = json.loads(cluster.ok("status", "--json"))["scans"]
    return max((scan["scan_id"] for scan in scans), default=0)


def _scan_where(cluster: Command, after: int, condition: str) -> int:
    """Wait for a condition on the progress of a scan newer than `after`; return its id."""
    newest = text(f"SELECT scan_id FROM scan_progress WHERE scan_id > {after} AND {condition}")
    engine = open_engine(cluster.settings["DATABASE_URL"], "tests")
    found: list[int] = []

    def holds() -> bool:
        with engine.connect() as connection:
            found.extend(connection.execute(newest).scalars())
        return bool(found)

    wait_until(holds, f"{condition} in a new scan")
    engine.dispose()
    return found[0]
