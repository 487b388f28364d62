"""Death and stop of the local servers: scans, producers and APIs wait, and go on afterwards."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis
from sqlalchemy import Connection, make_url, text

from tests.acceptance.command import Command, counts
from tests.acceptance.conftest import Photographs
from tests.acceptance.test_api import token_of
from tests.support.api_server import running_api
from tests.support.homes import kill
from tests.support.servers import wait_until


@contextmanager
def running_producer(local: Command, log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            local.line("producer"), env=local.environment, stdout=output, stderr=output
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def broker_of(local: Command) -> dict[str, int]:
    said = (Path(local.settings["HOME"]) / "redis.json").read_text()
    return dict(json.loads(said))


def count(ledger: Connection, query: str) -> int:
    return int(ledger.execute(text(query)).scalar_one())


def test_a_scan_a_producer_and_the_api_go_on_when_their_broker_is_killed(
    local: Command, local_ledger: Connection, photographs: Photographs, tmp_path: Path
) -> None:
    folder = photographs(120)
    token = token_of(local, "killed-broker")
    before = broker_of(local)
    with (
        running_producer(local, tmp_path / "producer.log"),
        running_api({**local.settings, "FILE_ROOTS": "/"}, tmp_path) as api,
        api.client(token) as client,
        local.start("scan", "--json", str(folder)) as scan,
    ):
        stored = (
            f"SELECT count(*) FROM ledger.outcomes JOIN ledger.images USING (image_id) "
            f"WHERE starts_with(uri, '{folder.as_uri()}')"
        )
        wait_until(lambda: count(local_ledger, stored) > 0, "the first images are stored")
        kill(int(before["pid"]))
        said, complaints = scan.communicate(timeout=120)
        after = broker_of(local)
        answer = client.post("/v1/images", json={"uri": (folder / "0000.jpg").as_uri()})
        assert answer.status_code == 202
        with redis.Redis(port=after["port"], password=str(after["password"])) as broker:
            wait_until(lambda: broker.llen("live") == 1, "the upload lies in the broker's queue")
        local.ok("cancel", answer.json()["scan"].rpartition("/")[2])
    assert scan.returncode == 0, complaints
    assert counts(json.loads(said)) == {"classified": 120}
    assert after["pid"] != before["pid"]
    assert {**after, "pid": 0} == {**before, "pid": 0}


def test_a_producer_goes_on_when_its_stack_was_stopped_and_started(
    local: Command, local_ledger: Connection, photographs: Photographs, tmp_path: Path
) -> None:
    log = tmp_path / "producer.log"
    with running_producer(local, log) as producer:
        alive = f"SELECT count(*) FROM ledger.producers WHERE pid = {producer.pid}"
        wait_until(lambda: count(local_ledger, alive) == 1, "the producer is at work")
        address = local_ledger.engine.url
        local_ledger.close()
        local_ledger.engine.dispose()
        down = local("down")
        assert down.returncode == 0
        assert f"producer (pid {producer.pid})" in down.stderr
        assert local.ok("up").split()[1] == make_url(address).set(
            drivername="postgresql"
        ).render_as_string(hide_password=False)
        scan_id = json.loads(local.ok("scan", "--json", "--detach", str(photographs(3))))["scan_id"]
        wait_until(
            lambda: (
                local.ask(
                    f"SELECT count(*) AS count FROM ledger.batches "
                    f"WHERE scan_id = {scan_id} AND state = 'published'"
                )
                == [{"count": 1}]
            ),
            "the producer publishes the batch",
        )
        local.ok("cancel", str(scan_id))
        assert producer.poll() is None, log.read_text()


def test_down_lists_users_and_asks_on_a_terminal(
    local: Command, local_ledger: Connection, tmp_path: Path
) -> None:
    with running_producer(local, tmp_path / "producer.log") as producer:
        alive = f"SELECT count(*) FROM ledger.producers WHERE pid = {producer.pid}"
        wait_until(lambda: count(local_ledger, alive) == 1, "the producer is at work")
        status, said = local.asked("n\n", "down")
        assert status != 0
        assert f"producer (pid {producer.pid})" in said
        assert count(local_ledger, alive) == 1
