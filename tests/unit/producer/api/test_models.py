"""Validation of submissions."""

import json
from typing import Any

import pytest

from fakesweep.producer.api.models import MOST_URIS
from fakesweep.producer.api.submission_body import _parsed
from fakesweep.serving.problems import Problem, ProblemCode
from tests.support.api_fuzzing import SHAPES

ONE = "s3://uploads/a.jpg"


def refusal(body: bytes | object) -> dict[str, Any]:
    with pytest.raises(Problem) as caught:
        _parsed(body if isinstance(body, bytes) else json.dumps(body).encode())
    return caught.value.details.model_dump(mode="json", exclude_none=True)


@pytest.mark.parametrize("shape", SHAPES)
def test_every_sort_of_uri_is_taken_as_it_is_written(shape: str) -> None:
    uri = shape.format(7)
    for body in ({"uri": uri}, {"uris": [uri]}):
        assert _parsed(json.dumps(body).encode()).every_uri == [uri]


def test_the_lane_is_live_by_itself() -> None:
    assert _parsed(json.dumps({"uri": ONE}).encode()).lane == "live"
    assert _parsed(json.dumps({"uri": ONE, "lane": "bulk"}).encode()).lane == "bulk"


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, ""),
        ([], ""),
        ("s3://uploads/a.jpg", ""),
        (None, ""),
        ({"uri": ONE, "uris": [ONE]}, ""),
        ({"uri": None}, "/uri"),
        ({"uri": ""}, "/uri"),
        ({"uri": 7}, "/uri"),
        ({"uri": None, "uris": [ONE]}, "/uri"),
        ({"uris": []}, "/uris"),
        ({"uris": None}, "/uris"),
        ({"uris": ONE}, "/uris"),
        ({"uris": [ONE] * (MOST_URIS + 1)}, "/uris"),
        ({"uris": [ONE, None]}, "/uris/1"),
        ({"uri": ONE, "lane": "quarantine"}, "/lane"),
        ({"uri": ONE, "lane": None}, "/lane"),
        ({"uri": ONE, "model": "mine"}, "/model"),
        ({"uri": "ftp://uploads/a.jpg"}, "/uri"),
        ({"uri": "/etc/passwd"}, "/uri"),
        ({"uri": "s3://uploads"}, "/uri"),
        ({"uri": "s3://u/a.jpg"}, "/uri"),
        ({"uri": "s3://uploads/\x00"}, "/uri"),
        ({"uri": "https://me:swordfish@images.example/a"}, "/uri"),
        ({"uri": "https://images.example:99999/a"}, "/uri"),
        ({"uri": "https:///a"}, "/uri"),
        ({"uri": "s3://uploads/" + "a" * 12_300}, "/uri"),
        ({"uri": "s3://uploads/" + "ä" * 4_096}, "/uri"),
    ],
)
def test_a_violation_of_the_document_is_refused_by_its_place(body: object, pointer: str) -> None:
    said = refusal(body)
    assert (said["status"], said["code"]) == (422, ProblemCode.INVALID)
    assert pointer in {part.get("pointer") for part in said["errors"]}


def test_a_refusal_repeats_nothing_of_what_was_sent() -> None:
    for uri in ("https://me:swordfish@images.example/a", "swordfish", "https://[swordfish/"):
        assert "swordfish" not in json.dumps(refusal({"uris": [ONE, uri]}))


@pytest.mark.parametrize(
    "body", [b"", b"{", b"nonsense", b'{"uri": "s3://a/b', b"\xff", b"[" * 100_000, b'{"uri": NaN}']
)
def test_a_body_that_is_no_json_is_malformed(body: bytes) -> None:
    said = refusal(body)
    assert (said["status"], said["code"]) in {(400, "malformed"), (422, "invalid")}
    if body != b'{"uri": NaN}':
        assert said["status"] == 400


def test_of_many_errors_some_are_told() -> None:
    said = refusal({"uris": ["nonsense"] * MOST_URIS})
    assert len(said["errors"]) == 100
