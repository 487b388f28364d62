"""Records of an output: a JSON line for each image, and the summary."""

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from fakesweep.schema import __version__
from fakesweep.schema.ledger.outputs.summary import OutputSummary
from fakesweep.schema.uris import path_of

SUMMARY_FILE = "manifest-summary.json"
FORMAT_VERSION = "1.0"

Row = Mapping[Any, Any]


def part_file(part: int) -> str:
    """Return the name of a part's file."""
    return f"results/part-{part:06}.jsonl"


def lines_of(rows: Iterable[Row]) -> Iterator[bytes]:
    """Yield the JSON line of each image; rows must be grouped by image."""
    for _, of_image in itertools.groupby(rows, key=lambda row: row["image_id"]):
        yield _written(_line(list(of_image)))


def summary_of(totals: OutputSummary) -> bytes:
    """Return the summary as indented JSON."""
    scan = totals.scan
    failed = sum(totals.failures.values())
    summary = {
        "version": FORMAT_VERSION,
        "scan_id": scan["scan_id"],
        "name": scan["name"],
        "token": scan["token"],
        "state": scan["state"],
        "sources": list(scan["sources"]),
        "models": list(scan["models"]),
        "policy": scan["policy"],
        "created_at": _moment(scan["created_at"]),
        "finished_at": _moment(scan["finished_at"]),
        "statistics": {
            **{
                name: int(scan[name])
                for name in ("submitted", "classified", "reused", "failed", "pending")
            },
            "lines": sum(part["lines"] for part in totals.parts),
            "verdicts": _verdicts(totals.verdicts),
            "failures": dict(totals.failures),
        },
        "errors": [
            {
                "source-ref": row["uri"],
                "image_id": row["image_id"],
                "failure_code": row["code"],
                "failure_message": row["message"],
                "code": row["code"],
                "message": row["message"],
            }
            for row in totals.errors
        ],
        "errors_left_out": failed - len(totals.errors),
        "parts": [dict(part) for part in totals.parts],
        "versions": {"fakesweep": __version__, "models": _revisions(totals.verdicts)},
    }
    if scan["is_audit"]:
        counts = ("unchanged", "new", "changed", "again", "vanished")
        summary["audit"] = {
            name: None if scan[name] is None else int(scan[name]) for name in counts
        }
    return json.dumps(summary, indent=1).encode() + b"\n"


def _line(rows: Sequence[Row]) -> dict[str, Any]:
    first = rows[0]
    judged = [row for row in rows if row["model"] is not None]
    metadata = {
        "scan_id": first["scan_id"],
        "image_id": first["image_id"],
        "path": path_of(first["uri"]),
        "status": first["status"],
        "models": {row["model"]: row["revision"] for row in judged},
        "policy": judged[0]["policy"] if judged else None,
        "judged_at": _moment(max(row["judged_at"] for row in judged)) if judged else None,
        "ended_at": _moment(first["ended_at"]),
        "sha256": first["sha256"],
        "size_bytes": first["size_bytes"],
        "width": first["width"],
        "height": first["height"],
        "format": first["format"],
    }
    if first["failure_code"] is not None:
        metadata |= {
            "failure_code": first["failure_code"],
            "failure_message": first["failure_message"],
        }
    verdicts = {
        row["model"]: {name: row[name] for name in ("verdict", "p_fake", "kind", "scores")}
        for row in judged
    }
    return {"source-ref": first["uri"], "fakesweep": verdicts, "fakesweep-metadata": metadata}


def _verdicts(rows: Iterable[Row]) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {}
    for row in rows:
        of_model = counts.setdefault(row["model"], {})
        of_model[row["verdict"]] = of_model.get(row["verdict"], 0) + row["images"]
    return counts


def _revisions(rows: Iterable[Row]) -> dict[str, list[str]]:
    revisions: dict[str, list[str]] = {}
    for row in rows:
        known = revisions.setdefault(row["model"], [])
        if row["revision"] not in known:
            known.append(row["revision"])
    return revisions


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat()


def _written(line: Mapping[str, Any]) -> bytes:
    return json.dumps(line, separators=(",", ":")).encode() + b"\n"
