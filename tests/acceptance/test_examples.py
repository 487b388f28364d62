"""Examples of README and docs/: each runs here, or has a reason; docs/sql.md has its own test."""

import json
import os
import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook

from fakesweep import pictures
from fakesweep.cli import run
from fakesweep.producer import client
from fakesweep.schema.judging.catalogue import read_catalogue
from fakesweep.schema.ledger.connection import open_engine
from tests.acceptance.command import Command
from tests.support.api_server import running_api
from tests.support.contract import by_contract, validator
from tests.support.photographs import photograph
from tests.support.servers import S3Server
from tests.support.webhook_receiver import SECRET
from tests.unit.test_documents import DOCUMENTS

MODEL = "vit-tiny-cifake"
LANGUAGES = {"text", "http", "toml", "sh", "console", "python", "json", "sql"}
SHOWN = {"output-line", "manifest-line", "api-problem", "webhook", "api-accepted", "api-image",
         "api-images"}  # fmt: skip

NOT_RUN = {
    r"fakesweep (worker|producer|api|celery)\b": "serves until it is told to stop",
    r"fakesweep (up|down|backup|restore)\b": "of a local stack of its own: test_backup.py",
    r"fakesweep db login": "makes users of the whole server: test_logins.py",
    r"fakesweep scan --audit s3://lists/": "an inventory, which S3 writes: test_inventory.py",
    r"fakesweep webhook retry": "nothing is dead here: test_webhook_command.py",
    r"(export|eval|cd) ": "the shell's own; a test of the settings knows each name",
    r"FAKESWEEP_\w+='": "settings, as a file has them",
    r"(\w+=… )?fakesweep db login": "makes users of the whole server: test_logins.py",
    r"(useradd|userdel|systemctl|sudo|cp|rm|python3|/opt/\S+/pip)\b": "changes the machine",
    r"make ": "a test looks each target up",
    r"python -m fakesweep\.contract|check-jsonschema": "test_contract.py does the same",
}
"""Reasons for shell lines that are not run, by a pattern of their beginning."""

SUBSTITUTES = {
    "king1oo1/ai-vs-real-deepfake-model": MODEL,
    "deepguard": MODEL,
    "https://images.example.com/b.png": "s3://uploads/2026/b.jpg",
    "s3://uploads/a.jpg": "s3://uploads/2026/a.jpg",
    "whsec_eiphGY3p0TCrXfk1W1OhHjYFAAJ…": SECRET,
}
"""Local substitutes for addresses, models and secrets of the examples."""


def blocks(document: Path, *languages: str) -> list[str]:
    text = document.read_text("utf-8")
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [body for language, body in found if language in languages]


def commands(document: Path) -> list[str]:
    """Return the shell lines, with continuations joined, without their output."""
    found = []
    for body in blocks(document, "sh"):
        found += body.replace("\\\n", " ").splitlines()
    for body in blocks(document, "console"):
        lines = body.replace("\\\n", " ").splitlines()
        found += [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    return [line.strip() for line in found if line.strip()]


def replaced(example: str) -> str:
    for shown, real in SUBSTITUTES.items():
        example = example.replace(shown, real)
    return example


def is_run(line: str) -> bool:
    return not any(re.match(beginning, line) for beginning in NOT_RUN)


@pytest.fixture(scope="module")
def prepared(cluster: Command, _s3_server: S3Server) -> Command:
    """The cluster, with the examples' objects in its buckets."""
    for number, key in enumerate(("2026/a.jpg", "2026/b.jpg")):
        _s3_server.put("uploads", key, photograph(93_000 + number))
        _s3_server.put("archive", key, photograph(93_010 + number))
    _s3_server.put("archive", "2019/a.jpg", photograph(93_020))
    manifest = json.dumps({"source-ref": "s3://uploads/2026/a.jpg"})
    _s3_server.put("uploads", "june.jsonl", f"{manifest}\n".encode())
    _s3_server.make_bucket("results")
    return cluster.where(S3_ENDPOINT_URL=_s3_server.endpoint_url)


@pytest.fixture(scope="module")
def finished(prepared: Command) -> str:
    """The number of an ended scan, in place of the examples' 1 and 12."""
    return str(prepared.scan("s3://uploads/2026/")["scan_id"])


@pytest.fixture
def here(prepared: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Command]:
    """This process with the cluster's settings, in a folder with pictures."""
    for name, value in prepared.settings.items():
        monkeypatch.setenv(f"FAKESWEEP_{name}", value)
    for name, value in prepared.more.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    for name in ("photo.jpg", "picture.jpg", "holiday.jpg"):
        Path(name).write_bytes(photograph(93_030))
    yield prepared
    pictures._close()
    client._close()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_block_says_what_it_is_written_in(document: Path) -> None:
    fences = re.findall(r"^```(.*)$", document.read_text("utf-8"), re.MULTILINE)
    assert set(fences[::2]) <= LANGUAGES
    assert set(fences[1::2]) <= {""}


def test_every_reason_for_not_running_a_line_is_still_needed() -> None:
    lines = [line for document in DOCUMENTS for line in commands(document)]
    security = DOCUMENTS[0].parent / "SECURITY.md"
    lines += commands(security)
    for beginning in NOT_RUN:
        assert any(re.match(beginning, line) for line in lines), beginning


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_json_of_a_document_is_by_the_contract(document: Path) -> None:
    shown = [line for body in blocks(document, "console") for line in body.splitlines()
             if line.startswith("{")]  # fmt: skip
    for example in [*blocks(document, "json"), *shown]:
        said = json.loads(example)
        assert any(validator(name).is_valid(said) for name in SHOWN), example


def _fakesweep_lines(document: Path) -> list[str]:
    return [line for line in commands(document) if is_run(line) and line.startswith("fakesweep ")]


@pytest.mark.parametrize(
    "document", [one for one in DOCUMENTS if _fakesweep_lines(one)], ids=lambda path: path.name
)
def test_every_line_of_a_document_runs(
    document: Path, here: Command, finished: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = _numbers(here)
    try:
        for line in _fakesweep_lines(document):
            words = shlex.split(replaced(line), comments=True)[1:]
            ended = run([finished if word in {"1", "12"} else word for word in words])
            out, errors = capsys.readouterr()
            assert ended == 0, f"{line}: {errors}"
            assert out, line
    finally:
        _undo(before, here)


def _numbers(command: Command) -> set[int]:
    engine = open_engine(command.settings["DATABASE_URL"], "tests")
    with engine.connect() as connection:
        found = set(connection.exec_driver_sql("SELECT scan_id FROM scan_progress").scalars())
    engine.dispose()
    return found


def _undo(before: set[int], command: Command) -> None:
    for number in _numbers(command) - before:
        run(["cancel", str(number)])
    run(["webhook", "remove", "moderation"])
    run(["schedule", "remove", "weekly"])


def test_every_line_for_curl_is_answered_as_its_document_says(
    here: Command, tmp_path: Path
) -> None:
    uploads = next(one for one in DOCUMENTS if one.name == "uploads.md")
    lines = [line for line in commands(uploads) if line.startswith("curl ")]
    assert len(lines) >= 6
    names = {"POST": "accepted", "/v1/images/": "image", "/v1/images?scan": "images",
             "/v1/scans": "scans"}  # fmt: skip
    token = json.loads(here.ok("token", "add", f"curl-{os.getpid()}", "--json"))["token"]
    pictures_kept = tmp_path / "kept"
    pictures_kept.mkdir()
    settings = {**here.settings, "API_PICTURES": str(pictures_kept)}
    with running_api(settings, tmp_path) as api:
        image = scan = 1
        for line in lines:
            asked = replaced(line).replace("http://127.0.0.1:8000", api.url)
            asked = asked.replace("/v1/images/1", f"/v1/images/{image}")
            asked = asked.replace("scan=1&", f"scan={scan}&")
            done = subprocess.run(
                ["bash", "-c", f"{asked} --silent --show-error"],
                env=os.environ | {"TOKEN": token}, check=True, capture_output=True, text=True,
            )  # fmt: skip
            said = json.loads(done.stdout.splitlines()[-1])
            is_post = " -d " in line or " -F " in line
            name = "accepted" if is_post else next(n for path, n in names.items() if path in line)
            by_contract(f"api-{name}", said)
            if name == "accepted":
                image, scan = said["images"][-1]["image_id"], said["scan_id"]


@pytest.mark.parametrize(
    ("document", "example"),
    [(one.name, example) for one in DOCUMENTS for example in blocks(one, "python")
     if one.name != "sql.md"],
)  # fmt: skip
def test_every_python_example_runs(here: Command, document: str, example: str) -> None:
    """The example of sql.md runs in test_python.py."""
    assert here, document
    body = b'{"type":"webhook.test"}'
    at = datetime.now(UTC)
    names: dict[str, Any] = {
        "body": body,
        "headers": {
            "webhook-id": "msg_1",
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": Webhook(SECRET).sign("msg_1", at, body.decode()),
        },
    }
    exec(compile(replaced(example), document, "exec"), names)


def test_every_catalogue_of_a_document_can_be_read(tmp_path: Path) -> None:
    for number, example in enumerate(
        example for document in DOCUMENTS for example in blocks(document, "toml")
    ):
        file = tmp_path / f"{number}.toml"
        file.write_text(example, "utf-8")
        found = read_catalogue(file)
        assert tomllib.loads(example)["models"].keys() <= found.models.keys()


def test_sql_beside_its_own_document_answers(here: Command) -> None:
    for document in DOCUMENTS:
        if document.name != "sql.md":
            for example in blocks(document, "sql"):
                for query in filter(str.strip, example.split(";\n")):
                    here.ok("sql", query)
