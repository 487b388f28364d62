"""Results of a scan, row by row, with the columns of the view `results`."""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, RowMapping, text

from fakesweep.schema.ledger.reports.adhoc import FETCH_ROWS
from fakesweep.schema.words import VerdictWord

_FAILURE_COUNTS = text("""
    SELECT failure_code AS code, count(*) AS images FROM failures WHERE scan_id = :scan_id
    GROUP BY failure_code ORDER BY images DESC, failure_code
""")


_VERDICT_COUNTS = text("""
    SELECT model, verdict, count(*) AS images FROM verdicts
    WHERE scan_id = :scan_id GROUP BY model, verdict ORDER BY model, verdict
""")


RESULT_COLUMNS = (
    "uri", "path", "status", "verdict", "kind", "p_fake", "model", "model_revision", "scores",
    "policy", "sha256", "width", "height", "format", "failure_code", "failure_message",
    "classified_at", "scan_id", "image_id", "size_bytes", "frame_count", "read_as", "judged_at",
    "revision_is_current", "content_id", "model_id",
)  # fmt: skip

_RESULTS = f"""
    SELECT {", ".join(RESULT_COLUMNS)} FROM results
    WHERE scan_id = :scan_id {{where}}
    ORDER BY batch_id, image_id, model_id
    LIMIT :limit
"""  # noqa: S608 - our own words


def results(
    connection: Connection,
    scan_id: int,
    verdict: VerdictWord | None = None,
    only_failed: bool = False,
    limit: int | None = None,
) -> Iterator[RowMapping]:
    """Yield every ended image of a scan in listing order, once for each model.

    `limit` is the most rows. Each has `RESULT_COLUMNS`; they are read lazily.
    """
    where = "AND status = 'failed'" if only_failed else ""
    parameters: dict[str, Any] = {"scan_id": scan_id, "limit": limit}
    if verdict is not None:
        where += " AND verdict = CAST(:verdict AS ledger.verdict)"
        parameters["verdict"] = verdict.value
    yield from connection.execute(
        text(_RESULTS.format(where=where)),
        parameters,
        execution_options={"stream_results": True, "max_row_buffer": FETCH_ROWS},
    ).mappings()


def failure_counts(connection: Connection, scan_id: int) -> dict[str, int]:
    """Return a scan's failures by code, the most frequent first."""
    rows = connection.execute(_FAILURE_COUNTS, {"scan_id": scan_id})
    return {row.code: row.images for row in rows}


def verdict_counts(connection: Connection, scan_id: int) -> dict[str, dict[str, int]]:
    """Return a scan's verdicts by model key."""
    counts: dict[str, dict[str, int]] = {}
    for row in connection.execute(_VERDICT_COUNTS, {"scan_id": scan_id}):
        counts.setdefault(row.model, {})[row.verdict] = row.images
    return counts
