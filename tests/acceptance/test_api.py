"""Images submitted over HTTP: judged by a real worker, once for each key."""

import json
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine, text

from fakesweep.schema.ledger.connection import open_engine
from tests.acceptance.command import Command, refusal
from tests.acceptance.conftest import Photographs
from tests.support.api_server import ApiProcess, make_token, running_api
from tests.support.photographs import photograph
from tests.support.servers import S3Server, wait_until

KILLS = 6


@pytest.fixture
def api(cluster: Command, tmp_path: Path) -> Iterator[ApiProcess]:
    """The API of a cluster with a worker."""
    with running_api(cluster.settings, tmp_path) as api:
        yield api


def token_of(command: Command, name: str, *words: str) -> str:
    """Create a token by the command."""
    said = json.loads(command.ok("token", "add", name, "--json", *words))
    return str(said["token"])


def ended(client: httpx.Client, href: str) -> dict[str, Any]:
    """Wait until an image is no longer pending, and return its answer."""
    wait_until(lambda: client.get(href).json()["status"] != "pending", f"{href} is judged", 60)
    return dict(client.get(href).json())


def test_a_submitted_image_is_judged_and_can_be_read(
    api: ApiProcess, cluster: Command, s3: S3Server, photographs: Photographs
) -> None:
    folder = photographs(1, "api")
    uris = [
        s3.put("uploads", "api/a.jpg", photograph(77_001)),
        (folder / "0000.jpg").as_uri(),
        s3.put("uploads", "api/no-image.jpg", b"no image at all"),
        "s3://uploads/api/not-there.jpg",
    ]
    with api.client(token_of(cluster, "judged")) as client:
        accepted = client.post("/v1/images", json={"uris": uris}).json()
        judged = [ended(client, image["href"]) for image in accepted["images"]]
        scan = client.get(accepted["scan"]).json()
        again = client.post("/v1/images", json={"uri": uris[0]}).json()
        reused = ended(client, again["images"][0]["href"])
    assert [image["status"] for image in judged] == [
        "classified", "classified", "failed", "failed",
    ]  # fmt: skip
    assert [image["uri"] for image in judged] == uris
    for image in judged[:2]:
        [verdict] = image["verdicts"].values()
        assert verdict["verdict"] in {"real", "uncertain", "fake"}
        assert 0 <= verdict["p_fake"] <= 1
        assert image["finished_at"]
        assert "failure" not in image
    assert [image["failure"]["code"] for image in judged[2:]] == ["not_an_image", "not_found"]
    assert all(image["failure"]["message"] and not image["verdicts"] for image in judged[2:])
    parts = ("classified", "reused", "failed", "pending")
    assert scan["submitted"] == sum(scan[part] for part in parts)
    shown = json.loads(cluster.ok("status", "--json", str(scan["scan_id"])))
    for name in ("scan_id", "name", "state", "lane", "models", "policy"):
        assert scan[name] == shown[name]
    assert (reused["status"], reused["verdicts"]) == ("reused", judged[0]["verdicts"])


def test_a_submitted_picture_is_judged_while_its_sender_waits(
    cluster: Command, s3: S3Server, tmp_path: Path
) -> None:
    bucket = s3.make_bucket("api-pictures")
    settings = dict(cluster.settings) | {"API_PICTURES": f"s3://{bucket}/pictures"}
    picture = photograph(77_002)
    with (
        running_api(settings, tmp_path) as api,
        api.client(token_of(cluster, "pictures")) as client,
    ):
        answers = [
            client.post("/v1/images?wait=30", files={"picture": one}, timeout=60)
            for one in (picture, picture, b"no picture")
        ]
        said = [answer.json()["images"][0] for answer in answers]
        scan = answers[0].json()["scan_id"]
        verdict = next(iter(said[0]["verdicts"].values()))["verdict"]
        listed = client.get(f"/v1/images?scan={scan}&verdict={verdict}&limit=1000").json()
    assert [answer.status_code for answer in answers] == [200] * 3
    assert [one["status"] for one in said] == ["classified", "reused", "failed"]
    assert said[2]["failure_code"] == "not_an_image"
    assert said[0]["verdicts"] == said[1]["verdicts"]
    assert {one["image_id"] for one in said[:2]} <= {one["image_id"] for one in listed["images"]}


def test_a_repeated_key_never_doubles_an_image_when_the_api_is_killed(
    cluster_without_worker: Command, database_url: str, tmp_path: Path
) -> None:
    settings = {**cluster_without_worker.settings, "DATABASE_URL": database_url}
    engine = open_engine(database_url, "tests")
    token, moments = make_token(engine), random.Random(4)
    for number in range(KILLS):
        key = f"key-{number}"
        with running_api(settings, tmp_path) as api:
            asking = threading.Thread(target=_ask_in_vain, args=(api, token, key))
            asking.start()
            if number % 2:  # as soon as it is committed, which the client does not come to know
                wait_until(lambda key=key: _is_recorded(engine, key), "it is committed")  # type: ignore[misc]
            else:
                time.sleep(moments.uniform(0, 0.1))
            api.process.kill()
            asking.join()
    with running_api(settings, tmp_path) as api, api.client(token) as client:
        for number in range(KILLS):
            answers = [_hand_in(client, f"key-{number}") for _ in range(2)]
            assert answers[0].json() == answers[1].json()
            assert answers[1].status_code == 200
            if number % 2:
                assert answers[0].status_code == 200
    with engine.connect() as connection:
        counted = connection.execute(
            text("SELECT count(*), count(DISTINCT uri) FROM ledger.images")
        )
        assert counted.one() == (2 * KILLS, 2 * KILLS)
    engine.dispose()


def _hand_in(client: httpx.Client, key: str) -> httpx.Response:
    uris = [f"s3://uploads/{key}/{number}.jpg" for number in range(2)]
    return client.post("/v1/images", json={"uris": uris}, headers={"Idempotency-Key": key})


def _ask_in_vain(api: ApiProcess, token: str, key: str) -> None:
    try:
        with api.client(token) as client:
            _hand_in(client, key)
    except httpx.TransportError:
        pass  # it was killed


def _is_recorded(engine: Engine, key: str) -> bool:
    with engine.connect() as connection:
        found = connection.execute(
            text("SELECT count(*) FROM ledger.submissions WHERE key LIKE :key"), {"key": f"%{key}"}
        )
        return bool(found.scalar_one())


def test_tokens_are_made_listed_and_revoked(cluster_without_worker: Command) -> None:
    command = cluster_without_worker
    made = command(
        "token", "add", "gallery", "--scope", "submit", "--rate", "60", "--expires", "90d"
    )
    assert made.returncode == 0, made.stderr
    token = made.stdout.strip()
    assert token.startswith("fsw_")
    assert "gallery may submit, 60 images a minute, until " in made.stderr
    assert token not in made.stderr
    assert "there is a token 'gallery' already" in refusal(command("token", "add", "gallery"))
    page, listed = command.ok("token", "list"), json.loads(command.ok("token", "list", "--json"))
    [shown] = [one for one in listed["tokens"] if one["name"] == "gallery"]
    assert (shown["state"], shown["scopes"], shown["rate_per_minute"]) == ("valid", ["submit"], 60)
    assert "gallery" in page
    for said in (page, json.dumps(listed)):
        assert token not in said
        assert "sha256" not in said
    assert "gallery is revoked" in command.ok("token", "revoke", "gallery")
    assert "there is no token 'gallery' to revoke" in refusal(command("token", "revoke", "gallery"))
    listed = json.loads(command.ok("token", "list", "--json"))
    assert [one["state"] for one in listed["tokens"] if one["name"] == "gallery"] == ["revoked"]


@pytest.mark.parametrize("length", ["90", "-1d", "0d", "tomorrow", "1years"])
def test_a_malformed_lifetime_is_wrong_usage(cluster_without_worker: Command, length: str) -> None:
    done = cluster_without_worker("token", "add", "never", f"--expires={length}")
    assert done.returncode == 2
    assert "no length of time" in done.stderr


def test_without_its_extra_the_api_says_how_to_install_it(
    cluster_without_worker: Command, base_install: str
) -> None:
    bare = replace(cluster_without_worker, python=base_install)
    for words in (["api"], ["api", "--openapi"]):
        assert "run `pip install 'fakesweep[api]'`" in refusal(bare(*words))
    assert "fsw_" in bare.ok("token", "add", "bare")
