"""API tokens: authentication, scopes, rates, and no token in the log."""

from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
import redis

from fakesweep.schema.ledger.api_tokens import revoke_token
from fakesweep.schema.words import Scope
from fakesweep.serving.rate_limits import KEY_PREFIX
from tests.integration.api_answers import ONE, code_of, images
from tests.support.api_server import ApiProcess, Serving, make_token, running_api
from tests.support.servers import broker_server, wait_until


def revoke(serving: Serving, name: str) -> None:
    with serving.engine.begin() as connection:
        revoke_token(connection, name)


def test_every_invalid_token_gets_the_same_answer(
    serving: Serving,
) -> None:
    revoked = make_token(serving.engine, "revoked")
    revoke(serving, "revoked")
    expired = make_token(serving.engine, "expired", lifetime=timedelta(seconds=-1))
    valid = make_token(serving.engine, "valid")
    tokens = [revoked, expired, "fsw_" + "A" * 43, "nonsense", valid[:-1], valid + "A", "fsw_\xe9"]
    answers = []
    for token in tokens:
        header = {b"Authorization": f"Bearer {token}".encode("latin-1")}
        with serving.ask() as client:
            answers.append(client.get("/v1/images/1", headers=header))
    seen = {
        (answer.status_code, answer.text, answer.headers["www-authenticate"]) for answer in answers
    }
    assert len(seen) == 1
    assert code_of(answers[0]) == "token_invalid"
    assert answers[0].status_code == 401
    assert 'error="invalid_token"' in answers[0].headers["www-authenticate"]


@pytest.mark.parametrize("header", [None, "", "Bearer", "Basic dTpw", "fsw_token"])
def test_a_request_without_a_token_is_refused_before_its_body_is_read(
    serving: Serving, header: str | None
) -> None:
    with serving.ask() as client:
        if header is not None:
            client.headers["Authorization"] = header
        answer = client.post("/v1/images", content=b"{" * 100)
    assert (answer.status_code, code_of(answer)) == (401, "token_needed")
    assert answer.headers["www-authenticate"] == 'Bearer realm="fakesweep"'


def test_a_token_is_good_for_its_scopes_alone(serving: Serving) -> None:
    submitter = make_token(serving.engine, "submitter", scopes=[Scope.SUBMIT])
    reader = make_token(serving.engine, "reader", scopes=[Scope.READ])
    with serving.ask(submitter) as client:
        said = client.post("/v1/images", json=ONE).json()
        for href in (said["images"][0]["href"], said["scan"]):
            answer = client.get(href)
            assert (answer.status_code, code_of(answer)) == (403, "scope_missing")
            assert 'scope="read"' in answer.headers["www-authenticate"]
    with serving.ask(reader) as client:
        assert client.get(said["images"][0]["href"]).status_code == 200
        answer = client.post("/v1/images", json=ONE)
        assert (answer.status_code, code_of(answer)) == (403, "scope_missing")


def test_a_token_is_worthless_with_the_first_request_after_it_was_revoked(
    serving: Serving,
) -> None:
    with serving.ask(make_token(serving.engine, "leaving")) as client:
        assert client.get("/v1/images/999999999").status_code == 404
        revoke(serving, "leaving")
        assert client.get("/v1/images/999999999").status_code == 401


def test_more_than_a_tokens_rate_is_refused_until_it_fits(serving: Serving) -> None:
    with serving.ask(make_token(serving.engine, "slow", rate=5)) as client:
        assert client.post("/v1/images", json={"uris": [ONE["uri"]] * 4}).status_code == 202
        before = images(serving)
        answer = client.post("/v1/images", json={"uris": [ONE["uri"]] * 2})
        assert (answer.status_code, code_of(answer)) == (429, "rate_limited")
        assert 1 <= int(answer.headers["retry-after"]) <= 120
        assert images(serving) == before
        assert client.post("/v1/images", json=ONE).status_code == 202
        answer = client.post("/v1/images", json={"uris": [ONE["uri"]] * 6})
        assert (answer.status_code, code_of(answer)) == (422, "more_than_rate")
        assert client.get("/v1/images/999999999").status_code == 404
    with redis.Redis.from_url(serving.settings["BROKER_URL"]) as broker:
        kept = [key.decode() for key in broker.keys("*token*")]
        assert kept
        assert all(key.startswith(f"{KEY_PREFIX}:") for key in kept)
        assert all(broker.ttl(key) > 0 for key in kept)


_COUNTED_BY_THE_DAY = (
    "import limits, fakesweep.serving.rate_limits as ours\n"
    "ours.RateLimitItemPerMinute = limits.RateLimitItemPerDay\n"
    "ours.WINDOW_SECONDS = 86_400\n"
)
"""Rate window that outlasts every test."""


def test_several_processes_count_together_and_alone_while_the_broker_is_away(
    serving: Serving, tmp_path: Path
) -> None:
    token = make_token(serving.engine, "shared", rate=10)

    def fill(api: ApiProcess) -> list[int]:
        with api.client(token) as client:
            return [client.post("/v1/images", json=ONE).status_code for _ in range(6)]

    with broker_server() as broker:
        settings = serving.settings | {"BROKER_URL": broker}
        with (
            running_api(settings, tmp_path, before=_COUNTED_BY_THE_DAY) as first,
            running_api(settings, tmp_path, before=_COUNTED_BY_THE_DAY) as second,
        ):
            assert fill(first) == [202] * 6
            assert fill(second) == [202] * 4 + [429] * 2
            with redis.Redis.from_url(broker) as client:
                client.shutdown(nosave=True)
            for api in (first, second):
                assert fill(api) + fill(api) == [202] * 10 + [429] * 2
                assert api.says("rates_counted_alone")
                answer = httpx.get(f"{api.url}/v1/health", timeout=30)
                assert (answer.status_code, code_of(answer)) == (503, "away")
                assert answer.json()["detail"] == "the broker does not answer"
                assert str(urlsplit(broker).port) not in answer.text


def test_the_log_has_a_line_for_each_request_and_no_token(serving: Serving) -> None:
    token = make_token(serving.engine, "logged")
    with serving.ask(token) as client:
        client.get(f"/v1/images/999999999?token={token}")
        client.get(f"/v1/{token}")
    wait_until(lambda: len(_lines_of(serving, "/v1/fsw_***")) == 1, "both are logged")
    [line] = [
        one for one in _lines_of(serving, "/v1/images/999999999") if one["caller"] == "logged"
    ]
    assert (line["method"], line["status"]) == ("GET", 404)
    assert "fsw_" not in serving.api.log.read_text().replace("fsw_***", "")


def _lines_of(serving: Serving, path: str) -> list[dict[str, object]]:
    return [line for line in serving.api.events("request_answered") if line["path"] == path]
