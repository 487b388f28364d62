"""What came of each image of a scan, row by row, under the names of the view `verdicts`."""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, RowMapping, text

from schema.reports import FETCH_ROWS
from schema.words import VerdictWord

RESULT_COLUMNS = (
    "uri", "path", "status", "verdict", "kind", "p_fake", "model", "model_revision", "scores",
    "policy", "sha256", "width", "height", "format", "failure_code", "failure_message",
    "classified_at", "scan_id", "image_id", "size_bytes", "frame_count", "read_as", "judged_at",
    "revision_is_current", "content_id", "model_id",
)  # fmt: skip

_RESULTS = """
    SELECT i.uri, path_of(i.uri) AS path, o.status, v.verdict, v.kind, v.p_fake,
           m.key AS model, m.revision AS model_revision,
           ledger.named_scores(m.labels, s.scores) AS scores, p.name AS policy,
           encode(c.sha256, 'hex') AS sha256, c.width, c.height, c.format,
           o.failure_code, o.failure_message, s.classified_at, o.scan_id, i.image_id,
           c.size_bytes, c.frame_count, c.read_as, v.judged_at,
           CASE WHEN v.model_id IS NOT NULL THEN m.superseded_at IS NULL END
               AS revision_is_current,
           o.content_id, v.model_id
    FROM ledger.batches b
    JOIN ledger.images i USING (batch_id)
    JOIN ledger.outcomes o USING (image_id)
    LEFT JOIN ledger.contents c USING (content_id)
    LEFT JOIN ledger.verdicts v USING (image_id)
    LEFT JOIN ledger.models m USING (model_id)
    LEFT JOIN ledger.policies p USING (policy_id)
    LEFT JOIN ledger.predictions s ON (s.content_id, s.model_id) = (v.content_id, v.model_id)
    WHERE b.scan_id = :scan_id {where}
    ORDER BY b.batch_id, i.image_id, v.model_id
    LIMIT :limit
"""


def results(
    connection: Connection,
    scan_id: int,
    verdict: VerdictWord | None = None,
    only_failed: bool = False,
    limit: int | None = None,
) -> Iterator[RowMapping]:
    """Yield every ended image of a scan in listing order, once for each model that judged it.

    `limit` is the most rows. Each has `RESULT_COLUMNS`; they are read as they are asked for, not
    all at once.
    """
    where = "AND o.status = 'failed'" if only_failed else ""
    parameters: dict[str, Any] = {"scan_id": scan_id, "limit": limit}
    if verdict is not None:
        where += " AND v.verdict = CAST(:verdict AS ledger.verdict)"
        parameters["verdict"] = verdict.value
    yield from connection.execute(
        text(_RESULTS.format(where=where)),
        parameters,
        execution_options={"stream_results": True, "max_row_buffer": FETCH_ROWS},
    ).mappings()
