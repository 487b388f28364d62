"""Parser of S3 events: direct, through SNS or EventBridge, and from compatible stores."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_plus

from fakesweep.producer.sources.metadata import etag_of, size_of
from fakesweep.producer.sources.names import may_be_image
from fakesweep.schema.failures import InvalidUri
from fakesweep.schema.ledger.uploads import Upload
from fakesweep.schema.net.egress import admits_bucket
from fakesweep.schema.net.storage import one_line
from fakesweep.schema.settings import Settings
from fakesweep.schema.uris import from_s3

_CREATED = "ObjectCreated:"
_CREATED_BY_BRIDGE = "Object Created"


class UnreadableEvent(Exception):  # noqa: N818 - says what the event is
    """An event, or a record in it, is malformed or refused; the message says why."""


@dataclass(frozen=True, slots=True)
class ParsedEvents:
    """Content of one message: its uploads, and the faults of its other records.

    `passed_over` counts irrelevant records: other kinds of events, and keys of other files.
    """

    uploads: tuple[Upload, ...] = ()
    faults: tuple[str, ...] = ()
    passed_over: int = 0
    is_test: bool = False


@dataclass(frozen=True, slots=True)
class _Object:
    bucket: str
    key: str
    facts: Mapping[str, Any]
    at: object


def read_events(body: str, settings: Settings) -> ParsedEvents:
    """Parse the body of a message; faults are part of the result and never raised."""
    uploads: list[Upload] = []
    faults: list[str] = []
    passed_over = 0
    try:
        said = _opened(body)
        if said.get("Event") == "s3:TestEvent":
            return ParsedEvents(is_test=True)
        for record in _records(said):
            try:
                found = _created(record)
                if found is None or not may_be_image(found.key):
                    passed_over += 1
                else:
                    uploads.append(_upload(found, settings))
            except UnreadableEvent as error:
                faults.append(str(error))
    except UnreadableEvent as error:
        faults.append(str(error))
    return ParsedEvents(tuple(uploads), tuple(dict.fromkeys(faults)), passed_over)


def _opened(body: str) -> Mapping[str, Any]:
    """Return the event, without the envelope of SNS."""
    said = _parsed(body, "the message")
    if said.get("Type") == "Notification" and isinstance(said.get("Message"), str):
        return _parsed(said["Message"], "the message that SNS passes on")
    return said


def _parsed(text: str, what: str) -> Mapping[str, Any]:
    try:
        said = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UnreadableEvent(f"{what} is no JSON") from error
    if not isinstance(said, dict):
        raise UnreadableEvent(f"{what} is no JSON object")
    return said


def _records(said: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the records of an S3 event; an EventBridge event is a single record."""
    if isinstance(said.get("detail-type"), str):
        yield said
        return
    records = said.get("Records")
    if not isinstance(records, list):
        raise UnreadableEvent("it is no event of S3: it has neither Records nor a detail-type")
    for record in records:
        if not isinstance(record, dict):
            raise UnreadableEvent("one of its Records is no JSON object")
        yield record


def _created(record: Mapping[str, Any]) -> _Object | None:
    """Return the created object, None for another kind of event."""
    if "detail-type" in record:
        detail = record.get("detail")
        if record["detail-type"] == _CREATED_BY_BRIDGE:
            return _object(detail, record.get("time"), is_encoded=False)
        if record.get("source") != "aws.s3":
            raise UnreadableEvent("it is no event of S3, but EventBridge's of another source")
        return None
    name = record.get("eventName")
    if not isinstance(name, str) or "s3" not in record:
        raise UnreadableEvent("it is no event of S3: it lacks s3 or eventName")
    if not name.removeprefix("s3:").startswith(_CREATED):
        return None
    return _object(record["s3"], record.get("eventTime"), is_encoded=True)


def _object(said: object, at: object, *, is_encoded: bool) -> _Object:
    parts = said if isinstance(said, dict) else {}
    bucket, facts = parts.get("bucket"), parts.get("object")
    name = bucket.get("name") if isinstance(bucket, dict) else None
    key = facts.get("key") if isinstance(facts, dict) else None
    if not isinstance(name, str) or not isinstance(key, str) or not isinstance(facts, dict):
        raise UnreadableEvent("the event lacks the bucket's name or the object's key")
    try:
        return _Object(name, unquote_plus(key, errors="strict") if is_encoded else key, facts, at)
    except UnicodeDecodeError as error:
        raise UnreadableEvent(f"key {one_line(key, 120)} is no percent-encoded UTF-8") from error


def _upload(found: _Object, settings: Settings) -> Upload:
    if not admits_bucket(found.bucket, settings):
        raise UnreadableEvent(
            f"bucket {one_line(found.bucket, 80)!r} is refused; FAKESWEEP_BUCKETS names those "
            f"that may be read"
        )
    try:
        uri = from_s3(found.bucket, found.key)
    except InvalidUri as error:
        raise UnreadableEvent(f"key {one_line(found.key, 120)}: {error}") from error
    size = found.facts.get("size")
    return Upload(
        uri,
        _occurrence(found),
        size_bytes=size_of(size) if isinstance(size, int) else None,
        etag=etag_of(_etag(found)),
    )


def _occurrence(found: _Object) -> str:
    """Return the identity of one write of an object, the same in each event about it.

    The sequencer is normalised: stores differ in its leading zeros and its case.
    """
    version = _text(found, "versionId") or _text(found, "version-id")
    if version and version != "null":
        return f"version {version}"
    sequencer = _text(found, "sequencer").lower().lstrip("0")
    marks = [mark for mark in (_etag(found), sequencer) if mark]
    if not sequencer and isinstance(found.at, str) and found.at:
        marks.append(found.at)
    if not marks:
        raise UnreadableEvent("the event lacks versionId, eTag, sequencer and time alike")
    return " ".join(["written", *marks])


def _etag(found: _Object) -> str:
    return (_text(found, "eTag") or _text(found, "etag")).strip('"')


def _text(found: _Object, name: str) -> str:
    said = found.facts.get(name)
    return said if isinstance(said, str) else ""
