"""Schemas of the commands' JSON: `--json` writes one object, or one per line."""

from fakesweep.contract.results import CHECK, CODE, RESULT, SCAN_LANE
from fakesweep.contract.types import (
    BOOLEAN,
    COUNT,
    MOMENT,
    NUMBER,
    PROBABILITY,
    TEXT,
    VERDICT,
    Schema,
    array,
    extended,
    mapping,
    nullable,
    record,
    shape_of,
    words,
)
from fakesweep.costs import Cost
from fakesweep.diagnosis import Reason
from fakesweep.schema.ledger.api_tokens import TokenReport
from fakesweep.schema.ledger.outputs.parts import OutputReport
from fakesweep.schema.ledger.registry.models import LoadedRevision
from fakesweep.schema.ledger.registry.policies import PolicyReport
from fakesweep.schema.ledger.reports.progress import Progress
from fakesweep.schema.ledger.reports.workers import WorkerReport
from fakesweep.schema.ledger.schedules.reports import RunReport, ScheduleReport
from fakesweep.schema.ledger.webhooks.webhooks import DeadDelivery, WebhookReport
from fakesweep.schema.telemetry.throughput import StageReport
from fakesweep.schema.words import CHANGE_WORDS, LeftOutReason, Role, ScanState

PROGRESS = extended(
    shape_of(Progress),
    {
        "state": words(ScanState),
        "lane": SCAN_LANE,
        "images_per_second_overall": NUMBER,
        "listed": COUNT,
        "listed_per_second": NUMBER,
    },
)

_STAGES = shape_of(StageReport)["properties"]

SCAN = extended(
    PROGRESS,
    {
        "sources": array(TEXT),
        "verdicts": mapping(mapping(COUNT, VERDICT)),
        "failures": mapping(COUNT, CODE),
        "output": nullable(shape_of(OutputReport)),
        "left_out": mapping(COUNT, words(LeftOutReason)),
        "unmatched_patterns": array(
            record({"option": words(["include", "exclude"]), "pattern": TEXT})
        ),
        "real_below": PROBABILITY,
        "fake_above": PROBABILITY,
        "bottleneck": _STAGES["bottleneck"],
        "wall": _STAGES["bottleneck"],
        "stages": _STAGES["stages"],
    },
    optional=("real_below", "fake_above", "bottleneck", "wall", "stages"),
)

_WORKERS = array(shape_of(WorkerReport))

STATUS: Schema = {
    "oneOf": [
        record(
            {
                "scans": array(PROGRESS),
                "troubled_batches": COUNT,
                "unreadable_messages": COUNT,
                "workers": _WORKERS,
            }
        ),
        extended(
            SCAN,
            {
                "cost": nullable(shape_of(Cost)),
                "waiting": array(words(Reason)),
                "quarantined": COUNT,
                "unreadable_messages": COUNT,
                "workers": _WORKERS,
            },
        ),
    ]
}

CHANGE = record(
    {
        "change": words(CHANGE_WORDS),
        "uri": TEXT,
        "path": nullable(TEXT),
        "former_uri": nullable(TEXT),
        "former_path": nullable(TEXT),
        "size_bytes": nullable(COUNT),
        "etag": nullable(TEXT),
        "modified_at": nullable(MOMENT),
        "image_id": nullable(COUNT),
    }
)

CHANGES: Schema = {
    "oneOf": [
        record(
            {
                "scan_id": COUNT,
                "counts": mapping(COUNT, words(CHANGE_WORDS)),
                "changes": array(CHANGE),
            }
        ),
        CHANGE,
    ]
}

_SCHEDULE = extended(shape_of(ScheduleReport), {"runs": array(shape_of(RunReport))})
_WEBHOOK = extended(shape_of(WebhookReport), {"state": words(["active", "paused"])})
_POLICY = shape_of(PolicyReport)
_TOKEN = shape_of(TokenReport)
_MODEL = record(
    {
        "key": TEXT,
        "here": nullable(words(["bundled", "folder", "missing", "cached", "no"])),
        "source": TEXT,
        "revision": nullable(TEXT),
        "labels": nullable(array(TEXT)),
        "about": TEXT,
    }
)

_PLAN = record(
    {
        "before": MOMENT,
        "scans": array(
            record(
                {
                    "scan_id": COUNT,
                    "name": nullable(TEXT),
                    "ended_at": MOMENT,
                    "images": COUNT,
                    "to_forget": COUNT,
                }
            )
        ),
        "images_to_forget": COUNT,
        "kept_whole": COUNT,
    }
)

_FORGOTTEN = extended(
    _PLAN,
    {
        "forgotten": record(dict.fromkeys(("scans", "images", "verdicts", "contents"), COUNT)),
        "contents_stay": BOOLEAN,
        "is_whole": BOOLEAN,
    },
    optional=("forgotten", "contents_stay", "is_whole"),
)

_REMOVED = record({"name": TEXT, "state": words(["removed"])})

COMMANDS: dict[tuple[str, ...], Schema] = {
    ("results",): RESULT,
    ("check",): CHECK,
    ("scan",): SCAN,
    ("resume",): SCAN,
    ("retry",): SCAN,
    ("schedule", "run-now"): SCAN,
    ("status",): STATUS,
    ("pause",): PROGRESS,
    ("cancel",): PROGRESS,
    ("changes",): CHANGES,
    ("rejudge",): record({"scan_id": COUNT, "policy": TEXT, "verdicts_changed": COUNT}),
    ("prune",): _FORGOTTEN,
    ("schedule", "list"): record({"schedules": array(shape_of(ScheduleReport))}),
    **dict.fromkeys(
        (("schedule", "add"), ("schedule", "show"), ("schedule", "pause"), ("schedule", "resume")),
        _SCHEDULE,
    ),
    ("schedule", "remove"): _REMOVED,
    ("policy", "list"): record({"policies": array(_POLICY)}),
    ("policy", "show"): record({"policy": TEXT, "history": array(_POLICY)}),
    ("policy", "set"): _POLICY,
    ("models", "list"): record({"models": array(_MODEL)}),
    ("models", "show"): extended(_MODEL, {"revisions": array(shape_of(LoadedRevision))}),
    ("models", "pull"): record({"key": TEXT, "revision": TEXT, "folder": TEXT}),
    ("token", "add"): extended(_TOKEN, {"token": TEXT}),
    ("token", "list"): record({"tokens": array(_TOKEN)}),
    ("token", "revoke"): record({"name": TEXT, "state": words(["revoked"])}),
    ("webhook", "add"): extended(_WEBHOOK, {"secret": TEXT}, optional=["secret"]),
    ("webhook", "list"): record({"webhooks": array(_WEBHOOK)}),
    ("webhook", "pause"): _WEBHOOK,
    ("webhook", "resume"): _WEBHOOK,
    ("webhook", "remove"): _REMOVED,
    ("webhook", "test"): record(
        {
            "webhook": TEXT,
            "is_delivered": BOOLEAN,
            "status": nullable(COUNT),
            "answer": TEXT,
            "seconds": NUMBER,
        }
    ),
    ("webhook", "dead"): record({"count": COUNT, "deliveries": array(shape_of(DeadDelivery))}),
    ("webhook", "retry"): record({"due_again": COUNT}),
    ("backup",): record({"file": TEXT, "bytes": COUNT}),
    ("restore",): record({"file": TEXT, "home": TEXT}),
    ("up",): record({"database": TEXT, "broker": TEXT, "home": TEXT}),
    ("down",): record({"stopped": array(TEXT), "at_work": array(TEXT)}),
    ("db", "upgrade"): record({"database": TEXT, "migration": TEXT}),
    ("db", "login"): record(
        {"logins": array(record({"name": TEXT, "role": TEXT, "group": TEXT, "is_new": BOOLEAN}))}
    ),
    ("health",): record(
        {
            "role": words(Role),
            "is_healthy": BOOLEAN,
            "processes": array(
                record({"pid": COUNT, "complaint": nullable(TEXT), "activity": nullable(TEXT)})
            ),
        }
    ),
}
"""By the command's words; servers, which write logs, and `sql` have no schema."""
