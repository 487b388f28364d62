"""Services of docker-compose.yml: each runs by its own login, with only the secrets it needs."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from sqlalchemy import make_url

from fakesweep.schema.ledger.connection import open_engine
from tests.acceptance.composed import PASSWORDS, SERVICES, Composed, composed, free_address
from tests.integration.ledger.rows import tuples, value
from tests.support.photographs import photograph
from tests.support.servers import s3_server, wait_until

HANDED = {
    "AWS_ACCESS_KEY_ID": "AKIAKEYISNOSECRET",
    "AWS_SECRET_ACCESS_KEY": "aws-secretHunter2",
    "AWS_SESSION_TOKEN": "aws-tokenHunter2",
    "AWS_DEFAULT_REGION": "us-east-1",
    "HF_TOKEN": "hf_tokenHunter2",
    "HF_HUB_OFFLINE": "1",
    "FAKESWEEP_LOG_LEVEL": "debug",
    "FAKESWEEP_MODELS": "vit-tiny-cifake",
    "FAKESWEEP_LOADERS": "2",
    "FAKESWEEP_CPU_THREADS": "1",
    "FAKESWEEP_ALLOW_NETWORKS": "127.0.0.0/8",
    "FAKESWEEP_S3_ADDRESSING_STYLE": "path",
}
SECRETS = {name: said for name, said in (PASSWORDS | HANDED).items() if "Hunter2" in said}

STORAGE = {"AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"}
NEEDED = {
    "producer": STORAGE | {"REDIS_PASSWORD", "PRODUCER_PASSWORD"},
    "api": {"REDIS_PASSWORD", "API_PASSWORD"},
    "worker": STORAGE | {"REDIS_PASSWORD", "WORKER_PASSWORD", "HF_TOKEN"},
    "loader": set[str](),
}
"""The secrets of each service's processes at their start, by their names in .env.

A loader is told the storage's keys over its socket, with its first image of S3."""


@dataclass(frozen=True)
class Work:
    """Work of the services, and the secrets their processes had."""

    cluster: Composed
    known: dict[str, set[str]]
    judged: dict[str, object]
    scanned: str


def _known_to(pid: int) -> set[str]:
    """Return the secrets in a process's environment or on its command line."""
    at = Path(f"/proc/{pid}")
    seen = (at / "environ").read_bytes() + (at / "cmdline").read_bytes()
    return {
        name for name, secret in SECRETS.items()
        if secret.encode() in seen or quote(secret, safe="").encode() in seen
    }  # fmt: skip


def _children(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [int(child) for child in (task / "children").read_text().split()]
    return found


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Work]:
    folder, where = tmp_path_factory.mktemp("composed"), free_address()
    (folder / "s3").mkdir()
    with s3_server(folder / "s3", signed=False) as s3:
        handed = HANDED | {"FAKESWEEP_S3_ENDPOINT_URL": s3.endpoint_url}
        uri = s3.put("composed", "a.jpg", photograph(88_001))
        with composed(folder, handed) as cluster:
            yield _worked(cluster, where, uri)


def _worked(cluster: Composed, where: tuple[str, ...], uri: str) -> Work:
    """Submit an image and scan its bucket, and inspect every process meanwhile."""
    cluster.run("migrate")
    cluster.run("logins")
    cluster.run("logins")  # as at every start
    token = cluster.run("migrate", "fakesweep", "token", "add", "tests").strip()
    with (
        cluster.running("producer", ""),
        cluster.running("worker", "worker_ready"),
        cluster.running("api", "api_listening", *where),
        httpx.Client(
            base_url=f"http://{where[1]}:{where[3]}",
            headers={"Authorization": f"Bearer {token}"},
        ) as client,
    ):
        href = client.post("/v1/images", json={"uri": uri}).json()["images"][0]["href"]
        wait_until(lambda: client.get(href).json()["status"] != "pending", "it is judged", 90)
        scanned = cluster.run("producer", "fakesweep", "scan", "--json", "s3://composed/")
        pids = cluster.pids | {f"loader {pid}": pid for pid in _children(cluster.pids["worker"])}
        known = {name: _known_to(pid) for name, pid in pids.items()}
        judged = client.get(href).json()
    return Work(cluster, known, judged, scanned)


def test_services_work_by_their_own_logins(work: Work) -> None:
    assert work.judged["status"] == "classified"
    assert '"state": "finished"' in work.scanned
    owner = make_url(work.cluster.environment("migrate")["FAKESWEEP_DATABASE_URL"])
    engine = open_engine(owner.render_as_string(hide_password=False), "tests")
    who = """
        SELECT m.member::regrole::text, m.roleid::regrole::text FROM pg_auth_members m
        WHERE m.roleid::regrole::text LIKE 'fakesweep_%' ORDER BY 1
    """
    assert tuples(engine, who) == [
        (role, f"fakesweep_{role}") for role in ("analyst", "api", "producer", "worker")
    ]
    assert not value(engine, "SELECT bool_or(rolsuper) FROM pg_roles WHERE rolname = 'producer'")
    engine.dispose()


def test_each_process_has_only_the_secrets_it_needs(work: Work) -> None:
    loaders = {name for name in work.known if name.startswith("loader ")}
    assert len(loaders) >= 2
    wanted = {name: NEEDED[name.partition(" ")[0]] for name in work.known}
    assert work.known == wanted


def test_nothing_that_a_service_says_holds_a_secret(work: Work) -> None:
    for name, log in work.cluster.logs.items():
        said = log.read_text()
        held = [secret for secret in SECRETS.values() if secret in said or quote(secret) in said]
        assert held == [], name
    assert "hunter2" not in work.scanned.lower()


def test_services_without_storage_or_hub_get_no_secret_of_theirs() -> None:
    for name in ("migrate", "logins", "api"):
        assert not {one for one in SERVICES[name]["environment"] if one.startswith(("AWS", "HF"))}
