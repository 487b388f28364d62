"""Pagination of scans and images: each once, in order, on bounded pages."""

from collections.abc import Iterator

import httpx
import pytest

from fakesweep.schema.words import Scope
from tests.integration.api_answers import code_of
from tests.support.api_server import Serving, make_token


def pages(client: httpx.Client, path: str, name: str) -> Iterator[list[int]]:
    """Yield the ids of each page, following `next`."""
    following: str | None = path
    while following is not None:
        answer = client.get(following)
        assert answer.status_code == 200, answer.text
        said = answer.json()
        yield [one[f"{name}_id"] for one in said[f"{name}s"]]
        following = said.get("next")


def hand_in(client: httpx.Client, images: int, lane: str = "live") -> tuple[int, list[int]]:
    uris = [f"s3://uploads/pages/{number}.jpg" for number in range(images)]
    said = client.post("/v1/images", json={"uris": uris, "lane": lane}).json()
    return said["scan_id"], [one["image_id"] for one in said["images"]]


def test_every_image_of_a_scan_is_on_one_page(serving: Serving) -> None:
    with serving.ask(make_token(serving.engine, "pages")) as client:
        scan, _ = hand_in(client, 7)
        other, elsewhere = hand_in(client, 2, "bulk")
        assert scan != other
        _, more = hand_in(client, 3)
        listed = list(pages(client, f"/v1/images?scan={scan}&limit=4", "image"))
        assert all(len(page) == 4 for page in listed[:-1])
        flat = [image for page in listed for image in page]
        assert len(flat) == len(set(flat))
        assert set(more) <= set(flat)
        assert not set(elsewhere) & set(flat)
        everything = [
            one for page in pages(client, "/v1/images?limit=1000", "image") for one in page
        ]
        assert set(flat) | set(elsewhere) <= set(everything)


def test_a_page_that_was_read_stays_while_others_submit(serving: Serving) -> None:
    with serving.ask(make_token(serving.engine, "stable")) as client:
        scan, _ = hand_in(client, 5)
        path = f"/v1/images?scan={scan}&limit=3"
        first = client.get(path).json()
        _, later = hand_in(client, 5)
        assert client.get(path).json()["images"] == first["images"]
        rest = [one for page in pages(client, first["next"], "image") for one in page]
    assert not {one["image_id"] for one in first["images"]} & set(rest)
    assert set(later) <= set(rest)


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=1001", "limit=x", "after=1", "after=a-b", "after=1-", "after=-1",
     "scan=0", f"scan={2**63}", "verdict=forged", "status=done"],
)  # fmt: skip
def test_an_invalid_page_is_refused(serving: Serving, query: str) -> None:
    with serving.ask(make_token(serving.engine, f"refused {query}")) as client:
        answer = client.get(f"/v1/images?{query}")
    assert (answer.status_code, code_of(answer)) == (422, "invalid")


def test_scans_are_listed_newest_first(serving: Serving) -> None:
    with serving.ask(make_token(serving.engine, "scans")) as client:
        ids = {hand_in(client, 1)[0], hand_in(client, 1, "bulk")[0]}
        listed = [one for page in pages(client, "/v1/scans?limit=1", "scan") for one in page]
        assert ids <= set(listed)
        assert listed == sorted(listed, reverse=True)
        [shown] = client.get(f"/v1/scans?limit=1&after={listed[0] + 1}").json()["scans"]
        alone = client.get(f"/v1/scans/{listed[0]}").json()
        assert shown == {name: said for name, said in alone.items() if said is not None}


def test_a_token_without_the_read_scope_lists_nothing(serving: Serving) -> None:
    with serving.ask(make_token(serving.engine, "writes", scopes=[Scope.SUBMIT])) as client:
        for path in ("/v1/images", "/v1/scans", "/v1/images/1?wait=1"):
            answer = client.get(path)
            assert (answer.status_code, code_of(answer)) == (403, "scope_missing")
        answer = client.post("/v1/images?wait=1", json={"uri": "s3://uploads/a.jpg"})
        assert (answer.status_code, code_of(answer)) == (403, "scope_missing")
