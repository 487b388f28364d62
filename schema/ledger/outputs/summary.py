"""The summary of an output, read from one snapshot of the ledger."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, RowMapping, text

from fakesweep.schema.ledger.outputs.parts import Standing, standing

SHOWN_ERRORS = 100

_SNAPSHOT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"

_COMPLETE = text("""
    SELECT NOT EXISTS (
        SELECT FROM ledger.output_parts WHERE scan_id = :scan_id AND written_at IS NULL
    ) AND NOT EXISTS (
        SELECT FROM ledger.batches b
        WHERE b.scan_id = :scan_id AND ledger.ended_of(b) > 0
          AND NOT EXISTS (
              SELECT FROM ledger.output_batches a
              WHERE a.scan_id = b.scan_id AND a.batch_id = b.batch_id
          )
    )
""")

_SCAN = text("""
    SELECT p.*, s.token, ARRAY(
        SELECT x.source FROM ledger.scan_sources x
        WHERE x.scan_id = s.scan_id ORDER BY x.position
    ) AS sources
    FROM scan_progress p JOIN ledger.scans s USING (scan_id) WHERE p.scan_id = :scan_id
""")

_VERDICTS = text("""
    SELECT m.key AS model, m.revision, v.verdict::text AS verdict, v.images
    FROM (
        SELECT model_id, verdict, count(*) AS images FROM ledger.verdicts
        WHERE scan_id = :scan_id GROUP BY model_id, verdict
    ) AS v JOIN ledger.models m USING (model_id)
    ORDER BY m.key, v.model_id, v.verdict
""")

_FAILURES = text("""
    SELECT failure_code::text AS code, count(*) AS images FROM ledger.outcomes
    WHERE scan_id = :scan_id AND status = 'failed' GROUP BY failure_code ORDER BY failure_code
""")

_ERRORS = text("""
    SELECT i.uri, o.image_id, o.failure_code::text AS code, o.failure_message AS message
    FROM ledger.outcomes o JOIN ledger.images i USING (image_id)
    WHERE o.scan_id = :scan_id AND o.status = 'failed'
    ORDER BY o.image_id LIMIT :at_most
""")

_PARTS = text("""
    SELECT file, lines, size_bytes, sha256 FROM output_parts
    WHERE scan_id = :scan_id ORDER BY part
""")


@dataclass(frozen=True, slots=True)
class OutputSummary:
    """The facts of an output's summary; `scan` has the columns of `scan_progress` and the sources.

    `errors` are the first `SHOWN_ERRORS` failures.
    """

    standing: Standing
    scan: RowMapping
    verdicts: Sequence[RowMapping]
    failures: Mapping[str, int]
    errors: Sequence[RowMapping]
    parts: Sequence[RowMapping]


def read_output_summary(connection: Connection, scan_id: int) -> OutputSummary | None:
    """Return the summary of a complete output, None where parts are unwritten.

    Begins a transaction that reads one snapshot.
    """
    wanted = {"scan_id": scan_id}
    connection.exec_driver_sql(_SNAPSHOT)
    now = standing(connection, scan_id)
    if not now.has_ended or not connection.execute(_COMPLETE, wanted).scalar_one():
        return None
    errors = connection.execute(_ERRORS, wanted | {"at_most": SHOWN_ERRORS})
    return OutputSummary(
        now,
        connection.execute(_SCAN, wanted).mappings().one(),
        connection.execute(_VERDICTS, wanted).mappings().all(),
        {row.code: row.images for row in connection.execute(_FAILURES, wanted)},
        errors.mappings().all(),
        connection.execute(_PARTS, wanted).mappings().all(),
    )
