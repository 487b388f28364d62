"""Schemas of an image's result: in `results`, `check`, outputs, messages and webhooks."""

from fakesweep.contract.types import (
    BOOLEAN,
    COUNT,
    KIND,
    MOMENT,
    PROBABILITY,
    SHA256,
    SIDE,
    TEXT,
    VERDICT,
    Schema,
    array,
    extended,
    mapping,
    nullable,
    record,
    words,
)
from fakesweep.schema.failures import FailureCode
from fakesweep.schema.ledger.schedules.schedules import ScheduleOutcome
from fakesweep.schema.message import MESSAGE_VERSION
from fakesweep.schema.words import SCAN_LANES, Event, ImageStatus, Lane, ReadAs, ScanState

CODE = words(FailureCode)
SCAN_LANE = words(SCAN_LANES)
SCORES = mapping(PROBABILITY)

FAILURE: dict[str, Schema] = {"failure_code": CODE, "failure_message": nullable(TEXT)}

RESULT = record(
    {
        "uri": TEXT,
        "path": nullable(TEXT),
        "status": words(ImageStatus),
        "verdict": nullable(VERDICT),
        "kind": nullable(KIND),
        "p_fake": nullable(PROBABILITY),
        "model": nullable(TEXT),
        "model_revision": nullable(TEXT),
        "scores": nullable(SCORES),
        "policy": nullable(TEXT),
        "sha256": nullable(SHA256),
        "width": nullable(COUNT),
        "height": nullable(COUNT),
        "format": nullable(TEXT),
        "failure_code": nullable(CODE),
        "failure_message": nullable(TEXT),
        "classified_at": nullable(MOMENT),
        "scan_id": COUNT,
        "image_id": COUNT,
        "size_bytes": nullable(COUNT),
        "frame_count": nullable(COUNT),
        "read_as": nullable(words(ReadAs)),
        "judged_at": nullable(MOMENT),
        "revision_is_current": nullable(BOOLEAN),
        "content_id": nullable(COUNT),
        "model_id": nullable(COUNT),
    }
)

_CHECKED = record(
    {
        "uri": nullable(TEXT),
        "status": words([ImageStatus.CLASSIFIED]),
        "verdict": VERDICT,
        "kind": nullable(KIND),
        "p_fake": PROBABILITY,
        "model": TEXT,
        "model_revision": TEXT,
        "scores": SCORES,
        "labels": mapping(SIDE),
        "policy": TEXT,
        "real_below": PROBABILITY,
        "fake_above": PROBABILITY,
        "why": TEXT,
        "caveats": array(TEXT),
        "sha256": SHA256,
        "size_bytes": COUNT,
        "width": nullable(COUNT),
        "height": nullable(COUNT),
        "format": nullable(TEXT),
        "frame_count": nullable(COUNT),
        "read_as": nullable(words(ReadAs)),
        "precision": TEXT,
    }
)

CHECK: Schema = {
    "oneOf": [
        _CHECKED,
        record({"uri": TEXT, "status": words([ImageStatus.FAILED]), **FAILURE}),
    ]
}

OUTPUT_LINE = record(
    {
        "source-ref": TEXT,
        "fakesweep": mapping(
            record(
                {
                    "verdict": VERDICT,
                    "p_fake": PROBABILITY,
                    "kind": nullable(KIND),
                    "scores": nullable(SCORES),
                }
            )
        ),
        "fakesweep-metadata": record(
            {
                "scan_id": COUNT,
                "image_id": COUNT,
                "path": nullable(TEXT),
                "status": words(ImageStatus),
                "models": mapping(TEXT),
                "policy": nullable(TEXT),
                "judged_at": nullable(MOMENT),
                "ended_at": MOMENT,
                "sha256": nullable(SHA256),
                "size_bytes": nullable(COUNT),
                "width": nullable(COUNT),
                "height": nullable(COUNT),
                "format": nullable(TEXT),
                **FAILURE,
            },
            optional=FAILURE,
        ),
    }
)

_COUNTS: dict[str, Schema] = dict.fromkeys(
    ("submitted", "classified", "reused", "failed", "pending"), COUNT
)
_CHANGES: dict[str, Schema] = {
    **dict.fromkeys(("unchanged", "new", "changed", "again"), COUNT),
    "vanished": nullable(COUNT),
}

OUTPUT_SUMMARY = record(
    {
        "version": TEXT,
        "scan_id": COUNT,
        "name": nullable(TEXT),
        "token": nullable(TEXT),
        "state": words(ScanState),
        "sources": array(TEXT),
        "models": array(TEXT),
        "policy": TEXT,
        "created_at": MOMENT,
        "finished_at": nullable(MOMENT),
        "statistics": record(
            {
                **_COUNTS,
                "lines": COUNT,
                "verdicts": mapping(mapping(COUNT, VERDICT)),
                "failures": mapping(COUNT, CODE),
            }
        ),
        "errors": array(
            record(
                {
                    "source-ref": TEXT,
                    "image_id": COUNT,
                    **FAILURE,
                    "code": CODE,
                    "message": nullable(TEXT),
                }
            )
        ),
        "errors_left_out": COUNT,
        "parts": array(
            record({"file": TEXT, "lines": COUNT, "size_bytes": COUNT, "sha256": SHA256})
        ),
        "versions": record({"fakesweep": TEXT, "models": mapping(array(TEXT))}),
        "audit": record(_CHANGES),
    },
    optional=["audit"],
)

MANIFEST_LINE: Schema = {
    "type": "object",
    "properties": {"source-ref": TEXT, "uri": TEXT},
    "anyOf": [{"required": ["source-ref"]}, {"required": ["uri"]}],
}

MESSAGE = record(
    {
        "version": {"const": MESSAGE_VERSION},
        "batch_id": COUNT,
        "scan_id": COUNT,
        "lane": words(Lane),
        "images": array(
            {
                "type": "array",
                "prefixItems": [COUNT, TEXT],
                "items": False,
                "minItems": 2,
            }
        ),
        "attempt": nullable(COUNT),
    },
    optional=["attempt"],
)

_TOLD = record(
    {
        "image_id": COUNT,
        "uri": TEXT,
        "scan_id": COUNT,
        "model": TEXT,
        "model_revision": TEXT,
        "verdict": VERDICT,
        "kind": nullable(KIND),
        "p_fake": PROBABILITY,
        "policy": TEXT,
        "sha256": SHA256,
        "judged_at": MOMENT,
    }
)

_SCAN_ENDED = record(
    {
        "scan_id": COUNT,
        "name": nullable(TEXT),
        "schedule": nullable(TEXT),
        "state": words(ScanState),
        "lane": SCAN_LANE,
        "models": array(TEXT),
        "policy": TEXT,
        **_COUNTS,
        "is_audit": BOOLEAN,
        **_CHANGES,
        "asked_at": MOMENT,
        "ended_at": nullable(MOMENT),
    }
)

_NO_SCAN = record(
    {
        "schedule": TEXT,
        "due_at": MOMENT,
        "outcome": words(ScheduleOutcome),
        "reason": nullable(TEXT),
        "by_hand": BOOLEAN,
    }
)


def _body(types: list[str], told: Schema) -> Schema:
    return record({"type": words(types), "timestamp": MOMENT, "data": told})


WEBHOOK: Schema = {
    "oneOf": [
        _body(["verdict.given", "webhook.test"], _TOLD),
        _body(["verdict.changed"], extended(_TOLD, {"before": VERDICT})),
        _body([Event.SCAN_ENDED], _SCAN_ENDED),
        _body([Event.SCHEDULE_SKIPPED, Event.SCHEDULE_FAILED], _NO_SCAN),
    ]
}
