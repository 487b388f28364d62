"""API process: outage of the ledger, shutdown, and a taken address."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from sqlalchemy import make_url

from fakesweep.schema.ledger.connection import open_engine
from tests.integration.api_answers import ONE, code_of
from tests.support.api_server import Serving, make_token, running_api
from tests.support.killable_postgres import killable_postgres
from tests.support.servers import wait_until


def test_during_an_outage_of_the_ledger_answers_have_retry_after(
    broker_url: str, tmp_path: Path
) -> None:
    with killable_postgres() as server:
        server.renew_database()
        engine = open_engine(server.url, "tests")
        token = make_token(engine)
        engine.dispose()
        settings = {"DATABASE_URL": server.url, "BROKER_URL": broker_url}
        with running_api(settings, tmp_path) as api, api.client(token) as client:
            client.headers["Idempotency-Key"] = "the-same"
            first = client.post("/v1/images", json=ONE)
            server.kill()
            for answer in (
                client.post("/v1/images", json=ONE),
                client.get("/v1/images/1"),
                client.get("/v1/scans/1"),
                client.get("/v1/health"),
            ):
                assert (answer.status_code, code_of(answer)) == (503, "away")
                assert int(answer.headers["retry-after"]) > 0
                assert "Traceback" not in answer.text
                assert "psycopg2" not in answer.text
            server.start()
            wait_until(lambda: client.get("/v1/health").status_code == 200, "it is back")
            again = client.post("/v1/images", json=ONE)
            assert (again.status_code, again.json()) == (200, first.json())


def test_running_requests_are_answered_at_shutdown(serving: Serving, tmp_path: Path) -> None:
    token = make_token(serving.engine, "last")
    body = json.dumps(ONE).encode()
    head = (
        f"POST /v1/images HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode()
    with running_api(serving.settings, tmp_path) as api:
        address = urlsplit(api.url)
        assert address.port is not None
        with socket.create_connection(("127.0.0.1", address.port), timeout=20) as connection:
            connection.sendall(head + body[:5])
            with api.client() as client:  # so that the other one is accepted, too
                assert client.get("/v1/health").status_code == 200
            api.process.send_signal(signal.SIGTERM)
            wait_until(lambda: _refuses(address.port), "nobody new is let in")
            connection.sendall(body[5:])
            assert connection.recv(12) == b"HTTP/1.1 202"
        assert api.process.wait(20) == 0
        assert api.events("api_stopped")


def _refuses(port: int | None) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port or 0), timeout=1).close()
    except ConnectionRefusedError:
        return True
    return False


def test_an_address_that_is_taken_is_one_line(serving: Serving) -> None:
    port = str(urlsplit(serving.api.url).port)
    done = subprocess.run(
        [sys.executable, "-P", "-m", "fakesweep", "api", "--port", port],
        check=False,
        capture_output=True,
        text=True,
        env=os.environ | {f"FAKESWEEP_{name}": said for name, said in serving.settings.items()},
        timeout=60,
    )
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line.startswith(f"fakesweep: the API cannot listen at 127.0.0.1 port {port}: ")
    assert "--port" in line


def test_a_user_who_may_not_look_tokens_up_cannot_serve_the_api(serving: Serving) -> None:
    engine = serving.engine
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE USER fakesweep_test_other IN ROLE fakesweep_producer")
    try:
        url = make_url(serving.settings["DATABASE_URL"]).set(username="fakesweep_test_other")
        told = serving.settings | {"DATABASE_URL": url.render_as_string()}
        refused = _one_line(told)
    finally:
        with engine.begin() as connection:
            connection.exec_driver_sql("DROP USER fakesweep_test_other")
    assert refused == (
        "fakesweep: the user of FAKESWEEP_DATABASE_URL may not look tokens up; let the API connect "
        "as a member of the role fakesweep_api (SECURITY.md)\n"
    )


def test_cut_points_that_the_ledger_does_not_know_are_for_a_producer_to_add(
    serving: Serving, tmp_path: Path
) -> None:
    catalogue = tmp_path / "own.toml"
    catalogue.write_text("[policies.default]\nreal_below = 0.1\nfake_above = 0.6\n")
    told = serving.settings | {"CATALOGUE": str(catalogue)}
    assert _one_line(told) == (
        "fakesweep: the ledger does not know policy 'default' as the catalogue's file has it, and "
        "this user may not add it; start `fakesweep producer` with that file first\n"
    )


def _one_line(settings: Mapping[str, str]) -> str:
    """Return the error of an API that does not start, without its log."""
    environment = {f"FAKESWEEP_{name}": value for name, value in settings.items()}
    ended = subprocess.run(
        [sys.executable, "-P", "-m", "fakesweep", "api", "--port", "0"],
        env=os.environ | environment, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert ended.returncode == 1
    return ended.stderr
