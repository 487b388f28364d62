"""Celery's own command on our broker and queues, also on the local stack."""

import json
from pathlib import Path

import redis

from tests.acceptance.command import Command
from tests.acceptance.conftest import Photographs
from tests.acceptance.test_dying_servers import broker_of, running_producer
from tests.support.servers import free_port, wait_until


def test_celery_reads_the_local_queues(
    local: Command, photographs: Photographs, tmp_path: Path
) -> None:
    local.ok("up")
    scan = json.loads(local.ok("scan", "--json", "--detach", str(photographs(3))))
    kept = broker_of(local)
    with (
        running_producer(local, tmp_path / "producer.log"),
        redis.Redis(port=kept["port"], password=str(kept["password"])) as broker,
    ):
        wait_until(lambda: broker.llen("bulk") > 0, "its batch is queued")
        waiting = broker.llen("bulk")
    local.ok("cancel", str(scan["scan_id"]))
    assert f"Purged {waiting} message" in local.ok("celery", "purge", "--force")
    nobody = local("celery", "status", "--timeout", "0.2")
    assert nobody.returncode != 0
    assert "No nodes replied" in nobody.stderr


def test_a_broker_that_is_away_is_reported_at_once(cluster_without_worker: Command) -> None:
    away = cluster_without_worker.where(BROKER_URL=f"redis://127.0.0.1:{free_port()}/0")
    done = away("celery", "status")
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert "Connection refused" in done.stderr


def test_a_command_that_celery_must_not_run_is_refused(local: Command) -> None:
    for words, said in (((), "as `status`"), (("worker",), "`fakesweep worker`")):
        done = local("celery", *words)
        assert done.returncode == 2
        assert said in done.stderr
