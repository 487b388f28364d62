"""Control of a running scan: pause, resume, cancel, retry, and the blockers in status."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from fakesweep.schema.ledger.connection import open_engine
from tests.acceptance.command import Command, counts, refusal
from tests.acceptance.conftest import Photographs
from tests.support.photographs import photograph
from tests.support.servers import free_port, wait_until


@pytest.fixture
def ledger(cluster: Command) -> Iterator[Engine]:
    engine = open_engine(cluster.settings["DATABASE_URL"], "tests")
    yield engine
    engine.dispose()


def test_a_paused_scan_stands_still_until_it_is_resumed(
    cluster: Command, ledger: Engine, photographs: Photographs
) -> None:
    with _running_scan(cluster, ledger, photographs(60)) as (scan, scan_id):
        said = cluster.ok("pause", scan_id)
        _, errors = scan.communicate(timeout=30)
    assert f"scan {scan_id} is paused: submitted" in said
    assert scan.returncode == 1
    assert f"fakesweep: scan {scan_id} is paused; `fakesweep resume {scan_id}` goes on" in errors
    assert "was already paused" in cluster.ok("pause", scan_id)
    _wait_until_nothing_runs(ledger, scan_id)
    before = _status(cluster, scan_id)
    assert (before["state"], before["waiting"]) == ("paused", ["paused"])
    assert before["seconds_left"] is None
    assert 0 < before["pending"] < before["submitted"]
    taken_up = _attempts(ledger, scan_id)

    cluster.scan(str(photographs(8, "others")))  # the workers and queues are free for others
    assert counts(_status(cluster, scan_id)) == counts(before)
    assert _attempts(ledger, scan_id) == taken_up

    watch = cluster.start("status", "--watch", scan_id)
    assert watch.stdout is not None
    first = watch.stdout.readline()
    assert f"waiting: paused since {before['paused_at'][:10]}" in first
    resumed = json.loads(cluster.ok("resume", "--json", scan_id))
    rest, _ = watch.communicate(timeout=30)
    assert counts(resumed) == {"classified": 60}
    assert len(cluster.results(int(scan_id))) == 60
    assert "paused" not in rest
    assert f"scan {scan_id} finished: " in rest.splitlines()[-1]
    assert "nothing left to pause" in refusal(cluster("pause", scan_id))


def test_a_resumed_scan_can_be_left_to_the_cluster(
    cluster: Command, photographs: Photographs
) -> None:
    detached = json.loads(cluster.ok("scan", "--detach", "--json", str(photographs(6))))
    scan_id = str(detached["scan_id"])
    cluster.ok("pause", scan_id)
    assert f"scan {scan_id} running: submitted 6" in cluster.ok("resume", "--detach", scan_id)
    said = _status(cluster, scan_id)
    assert (said["state"], said["waiting"]) == ("running", ["no_producer"])
    assert counts(json.loads(cluster.ok("resume", "--json", scan_id))) == {"classified": 6}


def test_a_cancelled_scan_ends_and_keeps_its_verdicts(
    cluster: Command, ledger: Engine, photographs: Photographs
) -> None:
    with _running_scan(cluster, ledger, photographs(600)) as (scan, scan_id):
        assert f"scan {scan_id} is cancelled" in cluster.ok("cancel", scan_id)
        _, errors = scan.communicate(timeout=30)
    assert scan.returncode == 1
    assert f"fakesweep: scan {scan_id} was cancelled: submitted" in errors
    assert "was already cancelled" in cluster.ok("cancel", scan_id)
    _wait_until_nothing_runs(ledger, scan_id)
    said = json.loads(cluster.ok("status", "--watch", "--json", scan_id))
    assert (said["state"], said["waiting"]) == ("cancelled", [])
    left = counts(said)["pending"]
    assert f"cancelled, {left} images were not judged" in cluster.ok("status", scan_id)
    assert len(cluster.results(int(scan_id))) == said["submitted"] - left > 0
    assert cluster.ok("status").splitlines()[1].split()[:2] == [scan_id, "cancelled"]
    line = refusal(cluster("resume", scan_id))
    assert f"scan {scan_id} was cancelled" in line
    assert "scan its sources again" in line


def test_the_chosen_failures_run_again_and_the_others_keep_their_rows(
    cluster: Command, ledger: Engine, photographs: Photographs, tmp_path: Path
) -> None:
    folder = photographs(5)
    missing, empty = ([folder / f"{word}-{n}.jpg" for n in range(3)] for word in ("gone", "empty"))
    for path in empty:
        path.touch()
    manifest = _manifest(tmp_path, [*folder.glob("*.jpg"), *missing], "ftp://old/way.jpg")
    first = cluster.scan(str(manifest))
    scan_id = str(first["scan_id"])
    assert first["failures"] == {"not_found": 3, "empty": 3, "invalid_uri": 1}
    for seed, path in enumerate([*missing, *empty]):
        path.write_bytes(photograph(700 + seed))  # repaired, all of them
    before = _outcomes(ledger, scan_id)

    done = cluster("retry", "--code", "not_found", "--json", scan_id)
    assert (done.returncode, done.stderr) == (0, f"scan {scan_id}: 3 failures run again\n")
    said = json.loads(done.stdout)
    assert counts(said) == {"classified": 8, "failed": 4}
    assert said["failures"] == {"empty": 3, "invalid_uri": 1}
    after = _outcomes(ledger, scan_id)
    assert {image for image in after if after[image] != before[image]} == {
        image for image, (code, _) in before.items() if code == "not_found"
    }
    judged = {row["uri"] for row in cluster.results(int(scan_id)) if row["verdict"]}
    assert {path.as_uri() for path in missing} <= judged
    assert not {path.as_uri() for path in empty} & judged

    detached = cluster("retry", "--detach", "--json", scan_id)
    assert "3 failures run again; 1 with the code invalid_uri cannot" in detached.stderr
    said = json.loads(detached.stdout)
    assert (said["state"], counts(said)) == (
        "running",
        {"classified": 8, "failed": 1, "pending": 3},
    )
    rest = cluster("resume", "--fail-on-failures", scan_id)
    assert rest.returncode == 3
    assert "classified 11 + reused 0 + failed 1 + pending 0" in rest.stdout


def test_a_killed_retry_loses_and_doubles_nothing(
    cluster: Command, ledger: Engine, tmp_path: Path
) -> None:
    missing = [tmp_path / f"gone-{n}.jpg" for n in range(12)]
    scan_id = str(cluster.scan(str(_manifest(tmp_path, missing)))["scan_id"])
    for seed, path in enumerate(missing):
        path.write_bytes(photograph(800 + seed))
    last = "SELECT image_id FROM ledger.outcomes WHERE scan_id = :s ORDER BY ctid DESC LIMIT 1"
    with ledger.begin() as connection:
        connection.execute(text(f"{last} FOR UPDATE"), {"s": scan_id})
        retry = cluster.start("retry", scan_id)
        wait_until(lambda: _recorded(ledger, scan_id) == 2, "the retry waits for the third batch")
        retry.kill()
        retry.communicate()
    said = _status(cluster, scan_id)
    assert counts(said) == {"failed": 4, "pending": 8}
    again = cluster("retry", "--json", scan_id)
    assert again.stderr.startswith(f"scan {scan_id}: 4 failures run again")
    assert counts(json.loads(again.stdout)) == {"classified": 12}
    assert len(cluster.results(int(scan_id))) == 12


def test_failures_run_again_on_the_local_stack_with_a_worker_of_their_own(
    local: Command, local_ledger: Connection, photographs: Photographs
) -> None:
    detached = json.loads(local.ok("scan", "--detach", "--json", str(photographs(3))))
    scan_id = detached["scan_id"]
    local_ledger.exec_driver_sql(
        f"UPDATE ledger.batches SET state = 'done', failed_count = 3 WHERE scan_id = {scan_id};"
        f"INSERT INTO ledger.outcomes (image_id, scan_id, status, failure_code) "
        f"SELECT image_id, scan_id, 'failed', 'timed_out' FROM ledger.images "
        f"WHERE scan_id = {scan_id}"
    )
    done = local("retry", str(scan_id))
    assert f"scan {scan_id} finished: submitted 3 = classified 3" in done.stdout
    assert done.stderr.startswith(f"scan {scan_id}: 3 failures run again")


def test_status_names_the_blockers_of_a_scan(
    cluster_without_worker: Command, photographs: Photographs, database_url: str
) -> None:
    broker = f"redis://:hush@127.0.0.1:{free_port()}/0"
    alone = cluster_without_worker.where(DATABASE_URL=database_url)
    folder = str(photographs(6))
    scan_id = str(json.loads(alone.ok("scan", "--detach", "--json", folder))["scan_id"])
    said = _status(alone, scan_id)
    assert said["waiting"] == ["no_worker", "no_producer"]
    lines = alone.ok("status", scan_id).splitlines()
    waiting = [line for line in lines if line.startswith("waiting ")]
    assert [line.rpartition(" ")[2] for line in waiting] == ["worker", "producer"]

    scan = alone.start("resume", scan_id)
    try:
        wait_until(
            lambda: _status(alone, scan_id)["waiting"] == ["no_worker"],
            "the scan in the foreground counts as a producer",
        )
    finally:
        scan.kill()
        scan.communicate()

    engine = open_engine(database_url, "tests")
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO ledger.workers (worker_id, hostname, pid, device, version) "
            "VALUES (gen_random_uuid(), 'h', 1, 'cpu', '1');"
            "UPDATE ledger.producers SET seen_at = now();"
            "UPDATE ledger.scans SET created_at = now() - interval '1 hour', "
            "listed_at = now() - interval '1 hour';"
            "UPDATE ledger.batches SET created_at = now() - interval '1 hour', lane = 'quarantine';"
            "INSERT INTO ledger.unreadable_messages (reason, body) VALUES ('garbage', '[]')"
        )
    engine.dispose()
    said = _status(alone, scan_id)
    assert said["waiting"] == ["in_queue"]
    assert (said["quarantined"], said["unreadable_messages"]) == (6, 1)
    page = alone.where(BROKER_URL=broker).ok("status", scan_id)
    assert "does not answer" in page
    assert "hush" not in page
    assert "6 images run alone" in page
    assert "put aside" not in page, "it is no matter of this scan"
    assert "1 message was put aside" in alone.ok("status")
    assert "put aside" not in alone.ok("status", "--acknowledge")
    assert _status(alone, scan_id)["unreadable_messages"] == 0
    assert _status(alone.where(BROKER_URL=broker), scan_id)["waiting"] == ["no_broker"]


@contextmanager
def _running_scan(
    cluster: Command, ledger: Engine, folder: Path
) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """Start a scan that queues one batch at a time, and yield it when some images are done."""
    newest = text("SELECT coalesce(max(scan_id), 0) FROM scan_progress WHERE classified > 0")
    with ledger.connect() as connection:
        before = int(connection.execute(newest).scalar_one())
    slow = cluster.where(WINDOW_BATCHES="1")
    scan = slow.start("scan", str(folder))
    found: list[int] = []

    def has_begun() -> bool:
        with ledger.connect() as connection:
            found.append(int(connection.execute(newest).scalar_one()))
        return found[-1] > before

    try:
        wait_until(has_begun, "the scan has begun")
        yield scan, str(found[-1])
    finally:
        scan.kill()
        scan.communicate()


def _status(cluster: Command, scan_id: str) -> dict[str, Any]:
    """Return what status says in JSON, having checked that every image is accounted for."""
    said: dict[str, Any] = json.loads(cluster.ok("status", "--json", scan_id))
    counts(said)
    return said


def _wait_until_nothing_runs(ledger: Engine, scan_id: str) -> None:
    running = "SELECT count(*) FROM ledger.batches WHERE scan_id = :s AND state = 'running'"
    wait_until(lambda: _number(ledger, running, scan_id) == 0, "the batches in work are stored")


def _attempts(ledger: Engine, scan_id: str) -> int:
    return _number(ledger, "SELECT sum(attempt) FROM ledger.batches WHERE scan_id = :s", scan_id)


def _recorded(ledger: Engine, scan_id: str) -> int:
    sql = "SELECT count(*) FROM ledger.batches WHERE scan_id = :s AND state = 'recorded'"
    return _number(ledger, sql, scan_id)


def _number(ledger: Engine, sql: str, scan_id: str) -> int:
    with ledger.connect() as connection:
        return int(connection.execute(text(sql), {"s": scan_id}).scalar_one())


def _outcomes(ledger: Engine, scan_id: str) -> dict[int, tuple[str | None, object]]:
    """Return the failure code of each image that has ended, and when its row was stored."""
    sql = text("SELECT image_id, failure_code, finished_at FROM ledger.outcomes WHERE scan_id = :s")
    with ledger.connect() as connection:
        rows = connection.execute(sql, {"s": scan_id}).all()
    return {row.image_id: (row.failure_code, row.finished_at) for row in rows}


def _manifest(folder: Path, paths: list[Path], *more: str) -> Path:
    manifest = folder / "manifest.txt"
    lines = [*(path.as_uri() for path in paths), *more]
    manifest.write_text("".join(f"{line}\n" for line in lines))
    return manifest
