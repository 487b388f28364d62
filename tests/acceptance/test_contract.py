"""The contract: output of real commands, API, outputs and webhooks validates by docs/contract."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from fakesweep.cli import run
from fakesweep.contract.commands import COMMANDS
from fakesweep.contract.documents import documents
from fakesweep.producer.webhooks.payload import body_of
from fakesweep.schema.ledger.connection import open_engine
from fakesweep.schema.ledger.webhooks.deliveries import Failed, record_failed, take_due, tell_events
from tests.acceptance.command import Command
from tests.acceptance.conftest import Photographs
from tests.support.api_server import ApiProcess, make_token, running_api
from tests.support.contract import by_contract
from tests.support.servers import wait_until
from tests.support.webhook_receiver import NETWORK, SECRET, webhook_receiver

MODEL = "vit-tiny-cifake"
Write = Callable[..., list[Any]]

validated: set[str] = set()
"""Documents that validated real output in this module."""


def _valid(name: str, said: Any) -> Any:
    validated.add(name)
    return by_contract(name, said)


def _said(words: tuple[str, ...], out: str) -> list[Any]:
    """Return a command's JSON objects, validated by its document."""
    path = words[:2] if words[:2] in COMMANDS else words[:1]
    lines = [json.loads(line) for line in out.splitlines()]
    assert lines, words
    return [_valid(f"command-{'-'.join(path)}", line) for line in lines]


@pytest.fixture
def write(
    cluster: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Write:
    """Run a command in this process on the cluster, and return its JSON objects."""
    for name, value in {**cluster.settings, "ALLOW_NETWORKS": NETWORK}.items():
        monkeypatch.setenv(f"FAKESWEEP_{name}", value)
    for name, value in cluster.more.items():
        monkeypatch.setenv(name, value)

    def write(*words: str, status: int = 0) -> list[Any]:
        capsys.readouterr()
        ended = run(words)
        out, errors = capsys.readouterr()
        assert ended == status, errors
        return _said(words, out)

    return write


@pytest.fixture
def folder(photographs: Photographs) -> Path:
    """Two new pictures, and a broken one."""
    made = photographs(2, f"contract-{uuid4().hex}")
    (made / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing more" + uuid4().bytes)
    return made


def test_scans_and_their_results(write: Write, folder: Path, photographs: Photographs) -> None:
    [scan] = write("scan", "--json", "--audit", str(folder), "--include", "*.jpg")
    scan_id = str(scan["scan_id"])
    rows = write("results", scan_id, "--format", "jsonl")
    assert len(rows) == 3
    for row in rows:
        if row["verdict"]:
            [checked] = write("check", "--json", row["uri"])
            shared = row.keys() & checked.keys() - {"status"}
            assert {name: row[name] for name in shared} == {name: checked[name] for name in shared}
            assert len(shared) >= 15
    write("check", "--json", "no-such.jpg", status=1)
    photographs(3, folder.name)
    [again] = write("scan", "--json", "--audit", str(folder), "--include", "*.jpg")
    write("changes", "--json", str(again["scan_id"]))
    write("changes", "--format", "jsonl", str(again["scan_id"]))
    write("status", "--json")
    write("status", "--json", scan_id)
    write("retry", "--json", scan_id)
    write("policy", "set", "contract", "--real-below", "0.4", "--fake-above", "0.6", "--json")
    write("rejudge", scan_id, "--policy", "contract", "--json")
    write("policy", "list", "--json")
    write("policy", "show", "contract", "--json")
    write("prune", "--older-than", "1y", "--dry-run", "--json")
    write("prune", "--older-than", "1y", "--yes", "--json")


def test_steering(write: Write, folder: Path) -> None:
    [scan] = write("scan", "--json", "--detach", str(folder))
    scan_id = str(scan["scan_id"])
    write("pause", "--json", scan_id)
    write("resume", "--json", "--detach", scan_id)
    write("status", "--json", scan_id)
    write("cancel", "--json", scan_id)
    write("schedule", "add", "contract", folder.as_uri(), "--cron", "0 3 * * 1", "--json")
    write("schedule", "list", "--json")
    write("schedule", "pause", "contract", "--json")
    write("schedule", "resume", "contract", "--json")
    [ran] = write("schedule", "run-now", "contract", "--json")
    write("schedule", "show", "contract", "--json")
    write("schedule", "remove", "contract", "--json")
    write("cancel", "--json", str(ran["scan_id"]))


def test_models_tokens_and_the_machine(
    write: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write("models", "list", "--json")
    write("models", "show", MODEL, "--json")
    write("models", "pull", MODEL, "--json")
    name = f"contract-{uuid4().hex}"
    write("token", "add", name, "--expires", "90d", "--json")
    write("token", "list", "--json")
    write("token", "revoke", name, "--json")
    write("db", "upgrade", "--json")
    monkeypatch.setenv("ANALYST_PASSWORD", "only for this test")
    write("db", "login", "analyst", "--name", f"contract_{uuid4().hex}", "--json")
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))  # nobody's processes but ours
    write("health", "producer", "--json", status=1)


def test_webhooks(write: Write, cluster: Command, folder: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    name = f"contract-{uuid4().hex}"
    asks = [word for one in ("real", "uncertain", "fake") for word in ("--verdict", one)]
    for event in ("scan.ended", "schedule.skipped", "schedule.failed"):
        asks += ["--event", event]
    with webhook_receiver() as receiver:
        words = ("webhook", "add", name, receiver.url, "--secret-file", str(secret), "--json")
        write(*words, *asks)
        write("webhook", "list", "--json")
        write("webhook", "test", name, "--json")
        _valid("webhook", receiver.told[0].said)
    write("webhook", "test", name, "--json", status=1)
    [scan] = write("scan", "--json", "--model", MODEL, str(folder))
    write("policy", "set", "all-fake", "--real-below", "0", "--fake-above", "0", "--json")
    write("rejudge", str(scan["scan_id"]), "--policy", "all-fake", "--json")
    engine = open_engine(cluster.settings["DATABASE_URL"], "tests")
    with engine.begin() as connection:
        while tell_events(connection):
            pass
        due = [one for one in take_due(connection, uuid4(), 60, 100, {}) if one.webhook == name]
        record_failed(
            connection, [Failed(one, 500, "500 Internal Server Error", None) for one in due]
        )
    engine.dispose()
    told = [_valid("webhook", json.loads(body_of(one))) for one in due]
    assert {"verdict.given", "scan.ended"} <= {body["type"] for body in told}
    rows = {row["uri"]: row for row in write("results", str(scan["scan_id"]), "--format", "jsonl")}
    for body in told:
        if body["type"].startswith("verdict"):
            row = rows[body["data"]["uri"]]
            shared = body["data"].keys() & row.keys() - {"verdict", "policy", "kind", "judged_at"}
            assert {one: row[one] for one in shared} == {one: body["data"][one] for one in shared}
    write("webhook", "dead", "--json")
    write("webhook", "retry", name, "--json")
    write("webhook", "pause", name, "--json")
    write("webhook", "resume", name, "--json")
    write("webhook", "remove", name, "--json")


def test_outputs(write: Write, folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "output"
    words = ("scan", "--json", "--audit", str(folder), "--output", str(output))
    [scan] = write(*words, "--token", uuid4().hex)
    summary = _valid("output-summary", json.loads((output / "manifest-summary.json").read_text()))
    assert summary["errors"]
    lines = [
        _valid("output-line", json.loads(line))
        for part in summary["parts"]
        for line in (output / part["file"]).read_text().splitlines()
    ]
    rows = {row["uri"]: row for row in write("results", str(scan["scan_id"]), "--format", "jsonl")}
    assert len(lines) == len(rows) == 3
    for line in lines:
        row, metadata = rows[line["source-ref"]], line["fakesweep-metadata"]
        shared = metadata.keys() & row.keys() - {"policy"}
        assert {name: metadata[name] for name in shared} == {name: row[name] for name in shared}
        for verdict in line["fakesweep"].values():
            assert verdict == {name: row[name] for name in verdict}
        _valid("manifest-line", {"source-ref": line["source-ref"]})


@pytest.fixture
def api(cluster: Command, tmp_path: Path) -> Iterator[ApiProcess]:
    with running_api(cluster.settings, tmp_path) as api:
        yield api


def test_the_api(api: ApiProcess, write: Write, cluster: Command, folder: Path) -> None:
    engine = open_engine(cluster.settings["DATABASE_URL"], "tests")
    token = make_token(engine)
    engine.dispose()
    uris = [path.as_uri() for path in sorted(folder.iterdir())]
    with api.client(token) as client:
        accepted = _answer(client, "accepted", "POST", "/v1/images", json={"uris": uris})
        links = [image["href"] for image in accepted["images"]]
        wait_until(
            lambda: all(client.get(link).json()["status"] != "pending" for link in links),
            "the images are judged",
            60,
        )
        images = [_answer(client, "image", "GET", link) for link in links]
        _answer(client, "accepted", "POST", "/v1/images?wait=20", json={"uri": uris[0]})
        page = _answer(client, "images", "GET", f"/v1/images?scan={accepted['scan_id']}&limit=2")
        assert page["images"]
        _answer(client, "scan", "GET", accepted["scan"])
        _answer(client, "scans", "GET", "/v1/scans?limit=2")
        _answer(client, "health", "GET", "/v1/health")
        _answer(client, "problem", "GET", "/v1/scans/999999999", status=404)
        _answer(client, "problem", "POST", "/v1/images", status=422, json={"uris": ["no uri"]})
    words = ("results", str(accepted["scan_id"]), "--format", "jsonl")
    rows = {row["image_id"]: row for row in write(*words)}
    for image in images:
        row = rows[image["image_id"]]
        for name in ("uri", "scan_id", "status", "failure_code", "failure_message"):
            assert image.get(name) == row[name]
        for model, verdict in image["verdicts"].items():
            assert (row["model"], row["p_fake"]) == (model, verdict["p_fake"])


def _answer(
    client: httpx.Client, name: str, method: str, path: str, *, status: int = 0, **more: Any
) -> Any:
    answer = client.request(method, path, **more)
    assert answer.status_code == status or (not status and answer.is_success), answer.text
    return _valid(f"api-{name}", answer.json())


def test_every_document_validated_real_output() -> None:
    """Runs last; messages have their own tests, the local stack has test_backup."""
    elsewhere = {"message", *(f"command-{word}" for word in ("up", "down", "backup", "restore"))}
    assert set(documents()) - validated == elsewhere
