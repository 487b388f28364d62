"""Pictures submitted as bytes: stored by digest, and judged as any other image."""

import hashlib
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from fakesweep.schema.message import BatchImage
from fakesweep.schema.uris import to_path
from tests.integration.api_answers import code_of, images
from tests.integration.ledger.rows import add_model, claimed, content_of, judged, store
from tests.support.api_server import Serving, make_token, running_api
from tests.support.servers import S3Server, wait_until

PICTURE = b"\x89PNG\r\n--b\r\n--boundary " + bytes(range(256)) * 2_000
NAME = hashlib.sha256(PICTURE).hexdigest()


def kept_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def place_of(serving: Serving) -> Path:
    return Path(serving.settings["API_PICTURES"])


def test_a_picture_is_kept_under_its_digest_and_recorded(serving: Serving) -> None:
    with serving.ask(make_token(serving.engine, "pictures")) as client:
        answers = [
            client.post("/v1/images", files={"picture": ("a.png", PICTURE)}) for _ in range(2)
        ]
        [first], [second] = (answer.json()["images"] for answer in answers)
        image = client.get(first["href"]).json()
        client.headers["Idempotency-Key"] = "picture"
        lane = {"lane": "bulk"}
        again = [
            client.post("/v1/images", files={"picture": PICTURE}, data=lane).json()
            for _ in range(2)
        ]
        other = client.post("/v1/images", files={"picture": PICTURE + b"x"}, data=lane)
        scan = client.get(again[0]["scan"]).json()
    assert [answer.status_code for answer in answers] == [202, 202]
    assert first["uri"] == second["uri"] == image["uri"]
    assert first["image_id"] != second["image_id"]
    assert to_path(first["uri"]) == place_of(serving) / NAME[:2] / NAME
    assert to_path(first["uri"]).read_bytes() == PICTURE
    assert again[0] == again[1]
    assert scan["lane"] == "bulk"
    assert (other.status_code, code_of(other)) == (422, "key_conflict")


def test_a_picture_that_comes_in_any_pieces_is_the_same(serving: Serving) -> None:
    body = (
        b'--cut\r\nContent-Disposition: form-data; name="picture"; filename="x"\r\n'
        b"Content-Type: image/png\r\n\r\n" + PICTURE[:9_000] + b"\r\n--cut--\r\n"
    )
    with serving.ask(make_token(serving.engine, "pieces")) as client:
        for size in (7, 4_096, len(body)):
            pieces = (body[at : at + size] for at in range(0, len(body), size))
            said = client.post(
                "/v1/images",
                content=pieces,
                headers={"Content-Type": "multipart/form-data; boundary=cut"},
            ).json()
            kept = to_path(said["images"][0]["uri"])
            assert kept.read_bytes() == PICTURE[:9_000]


FORMS: dict[str, bytes] = {
    "nothing": b"",
    "another boundary": b'--c\r\nContent-Disposition: form-data; name="lane"\r\n\r\na\r\n--c--',
    "no end": b'--b\r\nContent-Disposition: form-data; name="picture"\r\n\r\nabc',
    "no picture": b'--b\r\nContent-Disposition: form-data; name="lane"\r\n\r\nlive\r\n--b--\r\n',
    "empty picture": b'--b\r\nContent-Disposition: form-data; name="picture"\r\n\r\n\r\n--b--\r\n',
    "no name": b"--b\r\n\r\nabc\r\n--b--\r\n",
    "another field": (
        b'--b\r\nContent-Disposition: form-data; name="picture"\r\n\r\na\r\n'
        b'--b\r\nContent-Disposition: form-data; name="uri"\r\n\r\ns3://a/b\r\n--b--\r\n'
    ),
    "two pictures": (
        b'--b\r\nContent-Disposition: form-data; name="picture"\r\n\r\na\r\n'
        b'--b\r\nContent-Disposition: form-data; name="picture"\r\n\r\nb\r\n--b--\r\n'
    ),
    "no lane": (
        b'--b\r\nContent-Disposition: form-data; name="picture"\r\n\r\na\r\n'
        b'--b\r\nContent-Disposition: form-data; name="lane"\r\n\r\nquarantine\r\n--b--\r\n'
    ),
    "an encoding": (
        b'--b\r\nContent-Disposition: form-data; name="picture"\r\n'
        b"Content-Transfer-Encoding: BASE64\r\n\r\nYQ==\r\n--b--\r\n"
    ),
    "long lane": (
        b'--b\r\nContent-Disposition: form-data; name="picture"\r\n\r\na\r\n'
        b'--b\r\nContent-Disposition: form-data; name="lane"\r\n\r\n' + b"l" * 99 + b"\r\n--b--\r\n"
    ),
}


@pytest.mark.parametrize("name", FORMS)
def test_a_form_that_is_none_leaves_nothing(serving: Serving, name: str) -> None:
    before, kept = images(serving), kept_below(place_of(serving))
    with serving.ask(make_token(serving.engine, f"form {name}")) as client:
        answer = client.post(
            "/v1/images",
            content=FORMS[name],
            headers={"Content-Type": "multipart/form-data; boundary=b"},
        )
    assert (answer.status_code, code_of(answer)) == (422, "invalid")
    assert images(serving) == before
    assert kept_below(place_of(serving)) == kept


@pytest.mark.parametrize("parameters", ["", "; boundary=", "; boundary=" + "b" * 500])
def test_a_form_needs_a_boundary(serving: Serving, parameters: str) -> None:
    with serving.ask(make_token(serving.engine, f"boundary {len(parameters)}")) as client:
        answer = client.post(
            "/v1/images",
            content=b"--b--\r\n",
            headers={"Content-Type": f"multipart/form-data{parameters}"},
        )
    assert (answer.status_code, code_of(answer)) == (422, "invalid")


def test_a_bucket_keeps_pictures_of_a_bounded_size(
    serving: Serving, s3: S3Server, tmp_path: Path
) -> None:
    bucket = s3.make_bucket("kept-pictures")
    settings = serving.settings | {
        "API_PICTURES": f"s3://{bucket}/from api",
        "MAX_IMAGE_BYTES": "100000",
        "S3_ENDPOINT_URL": s3.endpoint_url,
        "S3_ADDRESSING_STYLE": "path",
    }
    small, large = PICTURE[:50_000], PICTURE[:200_000]
    token = make_token(serving.engine, "bucket")
    with running_api(settings, tmp_path) as api, api.client(token) as client:
        answer = client.post("/v1/images", files={"picture": small})
        assert answer.status_code == 202, answer.text
        name = hashlib.sha256(small).hexdigest()
        uri = f"s3://{bucket}/from api/{name[:2]}/{name}"
        assert answer.json()["images"][0]["uri"] == uri
        assert (s3.root / bucket / "from api" / name[:2] / name).read_bytes() == small
        before = images(serving)
        for sent in (large, iter([large[:90_000], large[90_000:]])):
            boundary = b'--b\r\nContent-Disposition: form-data; name="picture"\r\n\r\n'
            content = boundary + sent if isinstance(sent, bytes) else (p for p in [boundary, *sent])
            answer = client.post(
                "/v1/images",
                content=content,
                headers={"Content-Type": "multipart/form-data; boundary=b"},
            )
            assert (answer.status_code, code_of(answer)) == (413, "too_large")
    assert images(serving) == before
    assert len(kept_below(s3.root / bucket)) == 1


def test_an_api_without_a_place_for_pictures_takes_addresses_alone(
    serving: Serving, tmp_path: Path
) -> None:
    settings = {name: said for name, said in serving.settings.items() if name != "API_PICTURES"}
    before = images(serving)
    token = make_token(serving.engine, "no place")
    with running_api(settings, tmp_path) as api, api.client(token) as client:
        answer = client.post("/v1/images", files={"picture": PICTURE})
        assert (answer.status_code, code_of(answer)) == (415, "no_place_for_pictures")
        assert answer.headers["accept-post"] == "application/json"
        assert "FAKESWEEP_API_PICTURES" in answer.json()["detail"]
        assert images(serving) == before
        assert client.post("/v1/images", json={"uri": "s3://uploads/a.jpg"}).status_code == 202


def judge(serving: Serving, image_id: int) -> None:
    """Do a worker's work for an image."""
    model = add_model(serving.engine)
    with serving.engine.connect() as connection:
        found = connection.execute(
            text("SELECT batch_id, uri FROM ledger.images WHERE image_id = :image_id"),
            {"image_id": image_id},
        ).one()
    held = claimed(serving.engine, found.batch_id)
    image = BatchImage(image_id, found.uri)
    assert store(serving.engine, held, [judged(held, image, content_of(image_id), {model: 0.9})])


def test_a_waiting_request_is_answered_once_the_image_has_ended(serving: Serving) -> None:
    token = make_token(serving.engine, "waits")
    with serving.ask(token) as client, serving.ask(token) as beside:
        uri = {"uri": "s3://uploads/waits.jpg"}
        answer = client.post("/v1/images?wait=1", json=uri)
        [image] = answer.json()["images"]
        assert (answer.status_code, image["status"], image["verdicts"]) == (202, "pending", {})
        answer = client.get(f"{image['href']}?wait=1")
        assert (answer.status_code, answer.json()["status"]) == (202, "pending")
        answers: list[httpx.Response] = []
        waiting = threading.Thread(
            target=lambda: answers.append(beside.get(f"{image['href']}?wait=30"))
        )
        waiting.start()
        judge(serving, image["image_id"])
        waiting.join()
        said = answers[0].json()
        assert (answers[0].status_code, said["status"]) == (200, "classified")
        assert said["verdicts"]["tiny"]["verdict"] == "fake"
        assert client.get(f"{image['href']}?wait=30").json() == said


def test_a_request_that_waits_for_its_submission_gets_the_verdict(serving: Serving) -> None:
    token = make_token(serving.engine, "waits twice")
    key = {"Idempotency-Key": "waits"}
    with serving.ask(token) as client:
        uri = {"uri": "s3://uploads/waits-too.jpg"}
        [image] = client.post("/v1/images", json=uri, headers=key).json()["images"]
        judge(serving, image["image_id"])
        answer = client.post("/v1/images?wait=30", json=uri, headers=key)
    [told] = answer.json()["images"]
    assert (answer.status_code, answer.headers["idempotent-replayed"]) == (200, "true")
    assert (told["status"], told["verdicts"]["tiny"]["p_fake"]) == ("classified", 0.9)


def test_a_disconnect_ends_the_wait(serving: Serving) -> None:
    token = make_token(serving.engine, "leaves")
    with serving.ask(token) as client:
        [image] = client.post("/v1/images", json={"uri": "s3://uploads/left.jpg"}).json()["images"]
        with pytest.raises(httpx.ReadTimeout):
            client.get(f"{image['href']}?wait=30", timeout=httpx.Timeout(30, read=1))

    def ended() -> list[Any]:
        said = serving.api.events("request_answered")
        return [one["milliseconds"] for one in said if one["path"] == image["href"]]

    wait_until(lambda: bool(ended()), "the request ends")
    assert ended()[0] < 25_000


@pytest.mark.parametrize("wait", ["-1", "31", "x", "1.5"])
def test_a_wait_is_limited(serving: Serving, wait: str) -> None:
    with serving.ask(make_token(serving.engine, f"wait {wait}")) as client:
        for answer in (
            client.get(f"/v1/images/1?wait={wait}"),
            client.post(f"/v1/images?wait={wait}", json={"uri": "s3://uploads/a.jpg"}),
        ):
            assert (answer.status_code, code_of(answer)) == (422, "invalid")


def test_waiting_requests_are_answered_at_shutdown(serving: Serving, tmp_path: Path) -> None:
    token = make_token(serving.engine, "stopped")
    with running_api(serving.settings, tmp_path) as api, api.client(token) as client:
        [image] = client.post("/v1/images", json={"uri": "s3://a-bucket/1"}).json()["images"]
        answers: list[int] = []
        waiting = threading.Thread(
            target=lambda: answers.append(client.get(f"{image['href']}?wait=30").status_code)
        )
        waiting.start()
        wait_until(lambda: _waits(serving), "it asks for the image")
        api.process.terminate()
        waiting.join()
        assert answers == [202]
        assert api.process.wait(20) == 0


def _waits(serving: Serving) -> bool:
    with serving.engine.connect() as connection:
        asked = connection.execute(
            text("""
                SELECT count(*) FROM pg_stat_activity
                WHERE datname = current_database() AND pid <> pg_backend_pid()
                  AND query LIKE 'SELECT image_id FROM ledger.outcomes%'
            """)
        )
        return bool(asked.scalar_one())
