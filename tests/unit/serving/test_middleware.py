"""Middleware around every request, whatever its outcome."""

import asyncio
import logging
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message
from structlog.testing import capture_logs

from fakesweep.producer.api import images, submission_body
from fakesweep.producer.api.app import make_app
from fakesweep.schema.errors import LedgerAway
from fakesweep.schema.ledger.api_tokens import Caller
from fakesweep.schema.settings import Settings
from fakesweep.schema.words import Scope
from fakesweep.serving import middleware as surroundings
from fakesweep.serving.problems import MEDIA_TYPE, Problem

TOKEN = "fsw_" + "s" * 43


@pytest.fixture(autouse=True)
def _fresh_logging() -> Iterator[None]:
    structlog.reset_defaults()
    logging.disable(logging.NOTSET)
    yield
    structlog.reset_defaults()


def ask(path: str, app: ASGIApp | None = None) -> httpx.Response:
    """Ask an app; by default one without resources, where every route fails."""
    transport = httpx.ASGITransport(app=app or make_app())

    async def run() -> httpx.Response:
        async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
            return await client.get(path)

    return asyncio.run(run())


def test_a_fault_is_a_problem_without_a_traceback_and_in_the_log_with_one() -> None:
    with capture_logs() as said:
        answer = ask("/v1/health")
    assert answer.status_code == 500
    assert answer.headers["content-type"] == MEDIA_TYPE
    assert answer.json()["code"] == "failed"
    assert "Traceback" not in answer.text
    assert "AttributeError" not in answer.text
    [failed] = [line for line in said if line["event"] == "request_failed"]
    assert failed["exc_info"]


def test_every_request_is_one_line_of_the_log() -> None:
    with capture_logs() as said:
        ask("/nothing?secret=swordfish")
    [line] = said
    assert line["event"] == "request_answered"
    assert (line["method"], line["path"], line["status"]) == ("GET", "/nothing", 404)
    assert line["milliseconds"] >= 0
    assert "swordfish" not in str(line)


def test_a_token_in_a_path_is_not_logged() -> None:
    with capture_logs() as said:
        ask(f"/v1/{TOKEN}/x")
    assert said[0]["path"] == "/v1/fsw_***/x"


def test_no_answer_may_be_kept_or_guessed_at() -> None:
    answer = ask("/nothing")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "access-control-allow-origin" not in answer.headers


def test_a_client_that_left_is_no_fault() -> None:
    async def left(*_: object) -> None:
        raise ClientDisconnect

    with capture_logs() as said, pytest.raises(AssertionError):  # the transport's: no answer
        ask("/v1/images", app=surroundings.EveryRequest(left))
    assert [line["event"] for line in said] == ["client_left"]


def test_a_ledger_that_goes_away_while_images_are_handed_in_is_told() -> None:
    class Away:
        def submit(self, *_: object, **__: object) -> None:
            raise LedgerAway("postgresql://user:swordfish@ledger does not answer")

        def take(self, *_: object) -> float:
            return 0.0

    opened: Any = SimpleNamespace(
        producer=SimpleNamespace(settings=Settings(), engine=None), uploads=Away(), limits=Away()
    )
    app = make_app(opened)
    entry = images.Submitter.__metadata__[0].dependency  # type: ignore[attr-defined]
    app.dependency_overrides[entry] = lambda: Caller(1, "gallery", frozenset(Scope), 600)
    transport = httpx.ASGITransport(app=app)

    async def run() -> httpx.Response:
        async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
            return await client.post("/v1/images", json={"uri": "s3://uploads/a.jpg"})

    answer = asyncio.run(run())
    assert (answer.status_code, answer.json()["code"]) == (503, "away")
    assert int(answer.headers["retry-after"]) > 0
    assert "swordfish" not in answer.text


def test_a_body_that_does_not_arrive_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submission_body, "READ_SECONDS", 0.01)

    async def nothing_more() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    scope = {
        "type": "http",
        "headers": [(b"content-type", b"application/json"), (b"content-length", b"99")],
    }
    with pytest.raises(Problem) as caught:
        asyncio.run(submission_body.read_submission(Request(scope, nothing_more)))
    assert caught.value.details.status == 408


@pytest.mark.parametrize("length", ["9" * 5_000, "-1", "1e3", "\u00b2"])
def test_a_length_that_is_none_is_too_large(length: str) -> None:
    scope = {
        "type": "http",
        "headers": [
            (b"content-type", b"application/json"),
            (b"content-length", length.encode("latin-1")),
        ],
    }
    with pytest.raises(Problem) as caught:
        asyncio.run(submission_body.read_submission(Request(scope)))
    assert caught.value.details.status == 413
