"""Secrets: none in debug logs, errors or tracebacks."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

import pytest
import redis
from celery import Celery

from fakesweep.schema.queues import CLASSIFY_BATCH, celery_settings
from fakesweep.schema.settings import Settings
from tests.acceptance.command import Command, counts
from tests.support.photographs import photograph
from tests.support.secured import (
    BROKER_PASSWORD,
    DATABASE_PASSWORD,
    Secured,
    secured_cluster,
    workers_at_work,
)
from tests.support.servers import S3Server, wait_until
from tests.support.web_server import Answer, web_server

SIGNATURE = "5ee0c0ffee5ee0c0ffee5ee0"
MORE = {
    "AWS_ACCESS_KEY_ID": "AKIAKEYISNOSECRET",
    "AWS_SECRET_ACCESS_KEY": "aws-secret-Hunter2",
    "AWS_SESSION_TOKEN": "aws-token-Hunter2",
    "AWS_DEFAULT_REGION": "us-east-1",
    "HF_TOKEN": "hf_tokenHunter2",
}
SECRETS = (DATABASE_PASSWORD, BROKER_PASSWORD, SIGNATURE, "Hunter2", "swordfish")


@dataclass(frozen=True)
class Run:
    """A cluster after a scan with every failure, and all its output."""

    secured: Secured
    producer: Command
    scan_id: int
    said: str
    folder: Path


def _held(said: str) -> list[str]:
    """Return the lines that hold a secret, in any encoding."""
    spellings = {spelt for one in SECRETS for spelt in (one, quote(one, safe=""), quote(one))}
    return [line for line in said.splitlines() if any(one in line for one in spellings)]


class Pickled:
    """Creates a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.file,)


def _send_garbage(secured: Secured, signed: str, unpickled: Path) -> None:
    """Put a stranger's messages on the queue: a pickle, and unreadable ones."""
    celery = Celery("stranger", set_as_current=False)
    celery.conf.update(celery_settings(Settings(broker_url=secured.broker_url())))
    celery.send_task(CLASSIFY_BATCH, args=[Pickled(unpickled)], queue="bulk", serializer="pickle")
    for task in (CLASSIFY_BATCH, "fakesweep.of_another_kind"):
        celery.send_task(task, args=[f"https://cdn.test/a.jpg?{signed}"], queue="bulk")
    celery.close()


@contextmanager
def _service(producer: Command, folder: Path) -> Iterator[Path]:
    """Yield the log of a running producer."""
    log = folder / "producer.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            producer.line("producer"), stdout=output, stderr=output, env=producer.environment
        )
    try:
        yield log
    finally:
        process.terminate()
        assert process.wait(30) == 0, log.read_text()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, _s3_server: S3Server) -> Iterator[Run]:
    folder = tmp_path_factory.mktemp("secrets")
    talkative = {
        "LOG_LEVEL": "debug",
        "FETCH_ATTEMPTS": "1",
        "ALLOW_NETWORKS": "127.0.0.0/8",
        "FILE_ROOTS": str(folder),
    }
    storage = {"S3_ENDPOINT_URL": _s3_server.endpoint_url, "S3_ADDRESSING_STYLE": "path"}
    with secured_cluster(folder) as secured, web_server() as web:
        web.always(Answer(403))
        producer, worker = (
            replace(secured.command(user, **talkative, **storage), more=MORE)
            for user in ("producer1", "worker1")
        )
        worker = worker.where(LOG_FORMAT="json")
        image = folder / "image.jpg"
        image.write_bytes(photograph(1))
        signed = f"X-Amz-Credential=AKIAKEYISNOSECRET&X-Amz-Signature={SIGNATURE}"
        uris = (
            image.as_uri(),
            f"{web.url}/refused.jpg?{signed}",
            f"http://127.0.0.1:1/unreachable.jpg?{signed}",
            f"https://me:swordfish@127.0.0.1:{web.port}/credentials.jpg",
            "s3://photos/denied.jpg",
            "s3://me:swordfish@photos/credentials.jpg",
        )
        with workers_at_work([worker], folder) as [worker_log], _service(producer, folder) as log:
            _send_garbage(secured, signed, folder / "unpickled")
            done = producer("--debug", "scan", "--json", "-", typed="\n".join(uris))
            said = json.loads(done.stdout)
            with redis.Redis.from_url(secured.broker_url()) as client:
                wait_until(lambda: not client.exists("bulk", "unacked"), "every message is met")
        spoken = [done.stderr, log.read_text(), worker_log.read_text()]
        assert counts(said) == {"classified": 1, "failed": 5}
        yield Run(secured, producer, said["scan_id"], "\n".join(spoken), folder)


def test_nothing_that_worker_and_producer_log_holds_a_secret(run: Run) -> None:
    for talk in ("TaskPool: Apply", "message_unreadable", "of_another_kind", "page_recorded"):
        assert talk in run.said, "the logs are as talkative as they can be"
    assert _held(run.said) == []


def test_a_pickled_message_is_never_unpickled_and_the_worker_goes_on(run: Run) -> None:
    letters = run.secured.command("analyst1").ask("SELECT reason, body FROM unreadable_messages")
    assert len(letters) == 3
    assert ["python-serialize" in letter["reason"] for letter in letters].count(True) == 1
    assert _held(str(letters)) == []
    assert not (run.folder / "unpickled").exists()
    assert [row["status"] for row in run.producer.results(run.scan_id)].count("classified") == 1


def test_failures_tell_neither_signatures_nor_credentials(run: Run) -> None:
    failed = run.producer.results(run.scan_id, "--failed")
    assert len(failed) == 5
    assert _held("\n".join(str(row["failure_message"]) for row in failed)) == []
    # A signed URL is stored as it is, or it could not be fetched again; credentials never are.
    assert {name for row in failed for name in SECRETS if name in row["uri"]} == {SIGNATURE}


def _wrong(run: Run) -> dict[str, tuple[Command, list[str]]]:
    """Return failing commands by the reason of each."""
    image = str(run.folder / "image.jpg")
    right, password = run.producer, "swordfish"
    far = "127.0.0.1:1"
    return {
        "password": (
            right.where(DATABASE_URL=run.secured.database_url("producer1", password)),
            ["scan", image],
        ),
        "password with an @": (
            right.where(DATABASE_URL=f"postgresql://me:Hunter2@{password}@{far}/x"),
            ["scan", image],
        ),
        "database": (
            right.where(DATABASE_URL=f"postgresql://me:{password}@{far}/x?password={password}"),
            ["status"],
        ),
        "broker's password": (
            right.where(BROKER_URL=run.secured.broker_url(password)),
            ["scan", image],
        ),
        "broker": (right.where(BROKER_URL=f"redis://me:{password}@{far}/0"), ["scan", image]),
        "broker's settings": (
            right.where(BROKER_URL=f"rediss://me:{password}@{far}/0?ssl_cert_reqs=x"),
            ["scan", image],
        ),
        "S3": (right, ["scan", "s3://photos/"]),
        "S3 URI": (right, ["scan", f"s3://me:{password}@photos/"]),
        "URL": (right, ["scan", f"https://me:{password}@{far}/a.jpg"]),
        "manifest": (right, ["scan", f"http://{far}/list.csv?X-Amz-Signature={SIGNATURE}"]),
        "query": (right, ["sql", "SELECT no_such_column"]),
        "rights": (right, ["sql", "SELECT * FROM pg_authid"]),
    }


@pytest.mark.parametrize(
    "reason",
    [
        "password", "password with an @", "database", "broker's password", "broker",
        "broker's settings", "S3", "S3 URI", "URL", "manifest", "query",
        "rights",
    ],
)  # fmt: skip
def test_an_error_holds_no_secret_even_with_its_traceback(run: Run, reason: str) -> None:
    command, words = _wrong(run)[reason]
    done = command("--debug", *words)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert _held(done.stdout + done.stderr) == []


def test_a_worker_that_waits_for_a_broker_does_not_show_its_password(run: Run) -> None:
    waiting = run.secured.command(
        "worker1", LOG_LEVEL="debug", BROKER_URL=run.secured.broker_url("swordfish")
    )
    log = run.folder / "waiting.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            waiting.line("worker", "--device", "cpu"),
            stdout=output, stderr=output, env=waiting.environment,
        )  # fmt: skip
    try:
        wait_until(lambda: "broker_away" in log.read_text(), "the worker complains", 60)
    finally:
        process.kill()
        process.wait(10)
    assert _held(log.read_text()) == []


def test_only_db_url_shows_the_databases_password(run: Run) -> None:
    assert _held(run.producer.ok("db", "url"))
    assert _held(run.producer.ok("db", "upgrade")) == []
    assert _held(run.producer.ok("status")) == []
