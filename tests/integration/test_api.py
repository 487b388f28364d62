"""HTTP API: submissions, answers and refusals."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from fakesweep.producer.api.submission_body import MOST_BYTES
from tests.integration.api_answers import ONE, code_of, images
from tests.support.api_server import Serving, make_token

ROOT = Path(__file__).resolve().parents[2]


def test_images_are_submitted_and_read(serving: Serving) -> None:
    uris = ["s3://uploads/1.jpg", "https://images.example/2", "s3://uploads/1.jpg"]
    with serving.ask(make_token(serving.engine, "asker")) as client:
        answer = client.post("/v1/images", json={"uris": uris, "lane": "bulk"})
        assert answer.status_code == 202
        said = answer.json()
        assert [image["uri"] for image in said["images"]] == uris
        first, second, third = said["images"]
        assert first["image_id"] == third["image_id"] != second["image_id"]
        image = client.get(first["href"]).json()
        assert (image["uri"], image["status"]) == (uris[0], "pending")
        scan = client.get(said["scan"]).json()
        assert (scan["lane"], scan["submitted"], scan["pending"]) == ("bulk", 2, 2)
        assert (image["scan_id"], scan["scan_id"]) == (said["scan_id"], said["scan_id"])


def test_the_same_uri_again_is_another_look_unless_a_key_says_it_is_the_same(
    serving: Serving,
) -> None:
    def hand_in(client: httpx.Client, key: str | None = None) -> tuple[int, object, str | None]:
        headers = {} if key is None else {"Idempotency-Key": key}
        answer = client.post("/v1/images", json=ONE, headers=headers)
        return answer.status_code, answer.json(), answer.headers.get("idempotent-replayed")

    with serving.ask(make_token(serving.engine, "again")) as client:
        answers = [hand_in(client), hand_in(client), hand_in(client, "k"), hand_in(client, "k")]
        assert [answer[0] for answer in answers] == [202, 202, 202, 200]
        assert [answer[2] for answer in answers] == [None, None, None, "true"]
        assert len({str(answer[1]) for answer in answers}) == 3
        assert answers[2][1] == answers[3][1]
    with serving.ask(make_token(serving.engine, "other")) as client:
        assert hand_in(client, "k")[0] == 202


@pytest.mark.parametrize("other", [{"uri": "s3://uploads/b.jpg"}, ONE | {"lane": "bulk"}])
def test_a_key_stands_for_one_request(serving: Serving, other: dict[str, str]) -> None:
    token = make_token(serving.engine, f"conflict {len(other)}")
    with serving.ask(token) as client:
        client.headers["Idempotency-Key"] = "mine"
        assert client.post("/v1/images", json=ONE).status_code == 202
        before = images(serving)
        answer = client.post("/v1/images", json=other)
    assert (answer.status_code, code_of(answer)) == (422, "key_conflict")
    assert images(serving) == before


def test_the_same_key_at_the_same_moment_is_answered_alike(serving: Serving) -> None:
    with serving.ask(make_token(serving.engine, "at once")) as client:
        client.headers["Idempotency-Key"] = "at-once"
        before = images(serving)
        with ThreadPoolExecutor(8) as threads:
            answers = list(threads.map(lambda _: client.post("/v1/images", json=ONE), range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] * 7 + [202]
    assert len({answer.text for answer in answers}) == 1
    assert images(serving) == before + 1


@pytest.mark.parametrize("key", ["", "two words", "\xe4", "x" * 256])
def test_a_key_is_a_word(serving: Serving, key: str) -> None:
    token = make_token(serving.engine, f"word {key}"[:99].strip())
    header = {b"Idempotency-Key": key.encode("latin-1")}
    with serving.ask(token) as client:
        answer = client.post("/v1/images", json=ONE, headers=header)
    assert (answer.status_code, code_of(answer)) == (422, "invalid")
    assert answer.json()["errors"][0]["parameter"] == "Idempotency-Key"


@pytest.mark.parametrize(
    ("uri", "status"),
    [
        ("file:///etc/passwd", 403),
        ("file:///allowed/a.jpg", 202),
        ("file:///allowed/../etc/passwd", 403),
        ("file:///allowed/%2e%2e/etc/passwd", 403),
        ("file:///allowed-not/a.jpg", 403),
        ("file://localhost/etc/passwd", 403),
        ("file://elsewhere/allowed/a.jpg", 422),
        ("FILE:///etc/passwd", 422),
    ],
)
def test_no_caller_makes_workers_read_files_that_the_operator_did_not_allow(
    serving: Serving, uri: str, status: int
) -> None:
    before = images(serving)
    with serving.ask(make_token(serving.engine, f"files {uri}")) as client:
        answer = client.post("/v1/images", json={"uris": [ONE["uri"], uri]})
    assert answer.status_code == status
    if status == 403:
        assert code_of(answer) == "file_not_allowed"
        assert [part["pointer"] for part in answer.json()["errors"]] == ["/uris/1"]
    assert images(serving) == before + (2 if status == 202 else 0)


def test_the_body_is_json_and_of_a_bounded_size(serving: Serving) -> None:
    large = json.dumps({"uris": ["s3://uploads/" + "a" * 1_100] * 1_000}).encode()
    assert len(large) > MOST_BYTES
    with serving.ask(make_token(serving.engine, "large")) as client:
        client.headers["Content-Type"] = "application/json"
        for content in (large, iter([large[:MOST_BYTES], large[MOST_BYTES:]])):
            answer = client.post("/v1/images", content=content)
            assert (answer.status_code, code_of(answer)) == (413, "too_large")
        answer = client.post("/v1/images", content=b"{")
        assert (answer.status_code, code_of(answer)) == (400, "malformed")
        for media_type in ("text/plain", "application/x-www-form-urlencoded", ""):
            answer = client.post("/v1/images", content=b"{}", headers={"Content-Type": media_type})
            assert (answer.status_code, code_of(answer)) == (415, "not_json")
        answer = client.post(
            "/v1/images",
            content=json.dumps(ONE),
            headers={"Content-Type": "Application/JSON; charset=utf-8"},
        )
        assert answer.status_code == 202


@pytest.mark.parametrize("number", ["0", "-1", "abc", "1.0", "1_0", "+1", str(2**63), "%D9%A1"])
@pytest.mark.parametrize("path", ["/v1/images/", "/v1/scans/"])
def test_an_invalid_id_is_refused(serving: Serving, path: str, number: str) -> None:
    token = make_token(serving.engine, f"numbers {path} {number}")
    with serving.ask(token) as client:
        answer = client.get(path + number)
    assert (answer.status_code, code_of(answer)) == (422, "invalid")


@pytest.mark.parametrize(
    ("method", "path", "status", "allowed"),
    [
        ("GET", "/nothing", 404, None),
        ("GET", "/docs", 404, None),
        ("GET", "/redoc", 404, None),
        ("GET", "/v1/images/1/", 404, None),
        ("PUT", "/v1/images", 405, "GET, POST"),
        ("DELETE", "/v1/images/1", 405, "GET"),
        ("OPTIONS", "/v1/images", 405, "GET, POST"),
        ("POST", "/v1/health", 405, "GET"),
    ],
)
def test_other_paths_and_methods_are_problems_too(
    serving: Serving, method: str, path: str, status: int, allowed: str | None
) -> None:
    with serving.ask() as client:
        answer = client.request(method, path, headers={"Origin": "https://elsewhere.example"})
    assert answer.status_code == status
    code_of(answer)
    assert answer.headers.get("allow") == allowed
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_health_needs_no_token(serving: Serving) -> None:
    with serving.ask() as client:
        answer = client.get("/v1/health")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_schemathesis_finds_nothing(serving: Serving, tmp_path: Path) -> None:
    token = make_token(serving.engine, "schemathesis")
    done = subprocess.run(
        [
            sys.executable, "-c", "from schemathesis.cli import schemathesis as s; s()",
            "run", f"{serving.api.url}/openapi.json", "--header", f"Authorization: Bearer {token}",
            "--checks", "all", "--mode", "all", "--seed", "1", "--max-examples", "10",
            "--generation-database", "none", "--no-color",
        ],
        check=False,
        capture_output=True,
        text=True,
        env=os.environ
        | {"SCHEMATHESIS_HOOKS": "tests.support.api_fuzzing", "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Tested: 6" in done.stdout
    for phase in ("Examples", "Coverage", "Fuzzing", "Stateful"):
        assert f"✅ {phase}" in done.stdout, done.stdout
    assert serving.api.events("request_failed") == []
