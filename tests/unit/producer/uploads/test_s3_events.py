"""Parsing of S3 events and of queue names."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakesweep.producer.uploads.event_listener import read_queue
from fakesweep.producer.uploads.s3_events import ParsedEvents, read_events
from fakesweep.producer.uploads.sqs import Queue
from fakesweep.schema.errors import SourceError
from fakesweep.schema.ledger.uploads import Upload
from fakesweep.schema.settings import Settings
from fakesweep.schema.uris import normalise
from tests.support.queues_server import TEST_EVENT, by_bridge, by_sns, event, record

SETTINGS = Settings()
ETAG = "d41d8cd98f00b204e9800998ecf8427e"


def read(said: object, settings: Settings = SETTINGS) -> ParsedEvents:
    return read_events(said if isinstance(said, str) else json.dumps(said), settings)


def the_upload(said: object) -> Upload:
    told = read(said)
    assert (told.faults, told.passed_over) == ((), 0)
    [upload] = told.uploads
    return upload


def the_fault(said: object, settings: Settings = SETTINGS) -> str:
    told = read(said, settings)
    assert told.uploads == ()
    [fault] = told.faults
    return fault


def test_an_event_tells_of_an_object_with_its_size_and_etag() -> None:
    upload = the_upload(event("2026/cat.jpg"))
    assert upload.uri == "s3://photos/2026/cat.jpg"
    assert (upload.size_bytes, upload.etag) == (1_024, ETAG)
    assert upload.modified_at is None


@pytest.mark.parametrize(
    "key",
    ["a b.jpg", "a+b.jpg", "50%.jpg", "Köln/Ä.jpg", "日本/写真.jpg", "a&b=c?d#e.jpg", "//x//.png",
     "plain", "a%20b.jpg"],
)  # fmt: skip
def test_the_same_key_is_read_whether_it_is_encoded_or_comes_by_the_bridge(key: str) -> None:
    assert the_upload(event(key)).uri == the_upload(by_bridge(key)).uri == f"s3://photos/{key}"


def test_every_way_of_an_event_is_the_same_upload() -> None:
    ways = [
        event("cat.jpg"),
        by_sns(event("cat.jpg")),
        by_bridge("cat.jpg"),
        by_sns(by_bridge("cat.jpg")),
        {"Records": [record("cat.jpg", name="s3:ObjectCreated:Put")]},
    ]
    assert len({the_upload(way) for way in ways}) == 1


def test_one_message_can_tell_of_many_objects() -> None:
    told = read(event("a.jpg", "b.jpg", "c.jpg"))
    assert [upload.uri[-5:] for upload in told.uploads] == ["a.jpg", "b.jpg", "c.jpg"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"sequencer": "01"}, {"sequencer": "02"}),
        ({"eTag": "a"}, {"eTag": "b"}),
        ({"versionId": "a"}, {"versionId": "b"}),
        ({"versionId": "a"}, {}),
    ],
)
def test_an_overwritten_object_is_another_occurrence(
    before: dict[str, Any], after: dict[str, Any]
) -> None:
    first, second = the_upload(event("a.jpg", **before)), the_upload(event("a.jpg", **after))
    assert first.uri == second.uri
    assert first.occurrence != second.occurrence
    assert the_upload(event("a.jpg", **before)).occurrence == first.occurrence


@pytest.mark.parametrize("version", ["null", "", None])
def test_a_version_that_is_none_leaves_etag_and_sequencer_to_tell(version: str | None) -> None:
    with_it, without = event("a.jpg", versionId=version), event("a.jpg")
    assert the_upload(with_it) == the_upload(without)


def test_without_a_sequencer_the_time_of_the_event_tells_writings_apart() -> None:
    said = event("a.jpg", sequencer=None)
    first = the_upload(said)
    said["Records"][0]["eventTime"] = "2026-11-21T15:00:00.000Z"
    assert the_upload(said).occurrence != first.occurrence
    del said["Records"][0]["eventTime"]
    assert the_upload(said).occurrence not in ("", first.occurrence)
    del said["Records"][0]["s3"]["object"]["eTag"]
    assert "lacks versionId, eTag, sequencer and time" in the_fault(said)


def test_the_test_event_of_a_new_configuration_is_neither_upload_nor_fault() -> None:
    assert read(TEST_EVENT) == read(by_sns(TEST_EVENT)) == ParsedEvents(is_test=True)


@pytest.mark.parametrize(
    "said",
    [
        event("a.jpg", name="ObjectRemoved:Delete"),
        event("a.jpg", name="s3:ObjectRemoved:Delete"),
        event("a.jpg", name="ObjectTagging:Put"),
        by_bridge("a.jpg", **{"detail-type": "Object Deleted"}),
        event("notes.txt"),
        event("folder/"),
        event("archive.tar.gz"),
    ],
)
def test_records_of_no_image_are_passed_over(said: object) -> None:
    assert read(said) == ParsedEvents(passed_over=1)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("", "the message is no JSON"),
        ("hello", "the message is no JSON"),
        ("[" * 100_000, "the message is no JSON"),
        ("[]", "the message is no JSON object"),
        ("null", "the message is no JSON object"),
        ("{}", "it has neither Records nor a detail-type"),
        ({"Records": {}}, "it has neither Records nor a detail-type"),
        ({"Records": ["a"]}, "one of its Records is no JSON object"),
        ({"Records": [{"eventName": "INSERT", "dynamodb": {}}]}, "it lacks s3 or eventName"),
        ({"Records": [record("a.jpg") | {"eventName": 5}]}, "it lacks s3 or eventName"),
        ({"Records": [record("a.jpg") | {"s3": None}]}, "lacks the bucket's name or the object"),
        ({"Records": [record("a.jpg") | {"s3": {"bucket": {}}}]}, "lacks the bucket's name"),
        (by_bridge("a.jpg", detail=[]), "lacks the bucket's name"),
        (by_bridge("a.jpg", source="aws.ec2", **{"detail-type": "Stopped"}), "another source"),
        (by_sns("hello"), "the message that SNS passes on is no JSON"),
        ({"Type": "SubscriptionConfirmation", "Token": "a"}, "it has neither Records"),
        ({"Records": [record("a.jpg", key="%FF%FE.jpg")]}, "is no percent-encoded UTF-8"),
        (event("a" * 8_192), "the URI is longer than 8192 bytes"),
        (event("a\x00.jpg"), "NUL"),
        (by_bridge("\ud800.jpg"), "not valid Unicode"),
        (event("a.jpg", bucket="a/b"), "is no bucket name"),
    ],
)
def test_a_malformed_event_is_a_fault(said: object, why: str) -> None:
    assert why in the_fault(said)


def test_a_bad_record_spoils_nothing_for_the_others_of_its_message() -> None:
    said = event("a.jpg", "b.jpg", "c.txt")
    del said["Records"][0]["s3"]["object"]["key"]
    told = read(said)
    assert [upload.uri for upload in told.uploads] == ["s3://photos/b.jpg"]
    assert (len(told.faults), told.passed_over) == (1, 1)


def test_a_bucket_that_may_not_be_read_is_a_fault() -> None:
    only = Settings(buckets=("photos",))
    assert read(event("a.jpg"), only).uploads
    assert "bucket 'secrets' is refused" in the_fault(event("a.jpg", bucket="secrets"), only)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["Records", "s3", "bucket", "object", "name", "key", "eventName", "detail",
             "detail-type", "source", "Type", "Message", "Event", "versionId", "size", "eTag"]
        ),
        inner | st.sampled_from(["ObjectCreated:Put", "Object Created", "Notification", "a.jpg"]),
        max_size=4,
    ),
    max_leaves=30,
)  # fmt: skip


@given(_JSON | st.text(max_size=50))
def test_any_message_yields_only_images_with_an_occurrence(said: object) -> None:
    for upload in read(said).uploads:
        assert normalise(upload.uri) == upload.uri
        assert upload.occurrence


@pytest.mark.parametrize(
    ("text", "queue"),
    [
        ("sqs://uploads", Queue("uploads")),
        ("sqs://uploads.fifo", Queue("uploads.fifo")),
        (
            "sqs://sqs.eu-west-1.amazonaws.com/123456789012/uploads",
            Queue(
                "uploads", "https://sqs.eu-west-1.amazonaws.com/123456789012/uploads", "eu-west-1"
            ),
        ),
        (
            "sqs://queues.example.com/1/uploads",
            Queue("uploads", "https://queues.example.com/1/uploads"),
        ),
        ("sqs://localhost:9324/1/uploads", Queue("uploads", "http://localhost:9324/1/uploads")),
    ],
)
def test_a_queue_is_named_by_its_name_or_its_url(text: str, queue: Queue) -> None:
    assert read_queue(text, Settings(sqs_endpoint_url="http://localhost:9324")) == queue


@pytest.mark.parametrize(
    "text",
    ["uploads", "sqs:uploads", "sqs://", "sqs://a b", "sqs:///uploads", "sqs://host/1/",
     "https://sqs.eu-west-1.amazonaws.com/1/uploads", "sqs://" + "a" * 81],
)  # fmt: skip
def test_an_invalid_queue_name_is_refused_with_the_right_form(text: str) -> None:
    with pytest.raises(SourceError, match="names no queue; write sqs://NAME"):
        read_queue(text, SETTINGS)
