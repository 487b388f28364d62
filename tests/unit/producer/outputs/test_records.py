"""Records of an output: one line per image."""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from fakesweep.producer.outputs.records import lines_of, part_file

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


def row(image_id: int, **facts: Any) -> dict[str, Any]:
    empty = dict.fromkeys(
        ("failure_code", "failure_message", "sha256", "size_bytes", "width", "height", "format",
         "model", "revision", "policy", "verdict", "kind", "p_fake", "scores", "judged_at")
    )  # fmt: skip
    known = {"scan_id": 7, "image_id": image_id, "uri": f"s3://b/{image_id}", "ended_at": NOON}
    return empty | known | {"status": "classified"} | facts


def said(*rows: dict[str, Any]) -> list[dict[str, Any]]:
    lines = list(lines_of(rows))
    assert all(line.endswith(b"\n") and line.count(b"\n") == 1 for line in lines)
    return [json.loads(line) for line in lines]


def test_the_models_of_an_image_share_its_line() -> None:
    facts = {"verdict": "fake", "p_fake": 0.9, "kind": "deepfake", "scores": {"Fake": 0.9}}
    later = NOON + timedelta(seconds=1)
    (line,) = said(
        row(1, model="a", revision="r1", policy="card", judged_at=NOON, **facts),
        row(1, model="b", revision="r2", policy="card", judged_at=later, **facts),
    )
    assert line["source-ref"] == "s3://b/1"
    assert line["fakesweep"] == {"a": facts, "b": facts}
    metadata = line["fakesweep-metadata"]
    assert metadata["models"] == {"a": "r1", "b": "r2"}
    assert metadata["policy"] == "card"
    assert metadata["judged_at"] == "2026-06-01T12:00:01+00:00"
    assert "failure_code" not in metadata


def test_an_image_that_failed_has_a_line_that_says_why() -> None:
    facts = {"status": "failed", "failure_code": "empty", "failure_message": "it has no bytes"}
    good, bad = said(row(1, model="a", revision="r", judged_at=NOON), row(2, **facts))
    assert good["fakesweep"].keys() == {"a"}
    assert bad["fakesweep"] == {}
    assert facts.items() <= bad["fakesweep-metadata"].items()


def test_a_file_has_its_path_beside_its_address() -> None:
    file, stored = said(row(1, uri="file:///gl%C3%A4ser/a%20b.jpg"), row(2))
    assert file["source-ref"] == "file:///gl%C3%A4ser/a%20b.jpg"
    assert file["fakesweep-metadata"]["path"] == "/gläser/a b.jpg"
    assert stored["fakesweep-metadata"]["path"] is None


def test_a_name_of_any_letters_stays_on_one_line_of_plain_letters() -> None:
    uri = 's3://b/"é\n\u2028\x1b]0;owned\x07.jpg'
    (line,) = lines_of([row(1, uri=uri)])
    assert line.isascii()
    assert line.strip().decode().isprintable()
    assert json.loads(line)["source-ref"] == uri


def test_moments_are_told_in_utc() -> None:
    there = NOON.astimezone(timezone(timedelta(hours=5)))
    (line,) = said(row(1, ended_at=there))
    assert line["fakesweep-metadata"]["ended_at"] == "2026-06-01T12:00:00+00:00"


def test_the_names_of_parts_sort_as_their_numbers() -> None:
    names = [part_file(number) for number in (1, 9, 10, 999_999)]
    assert names == sorted(names)
    assert part_file(1_234_567) == "results/part-1234567.jsonl"
