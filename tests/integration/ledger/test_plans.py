"""Frequent queries use an index when the tables are large."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, make_url, text

from benchmarks.ingest import preload
from fakesweep.schema.ledger.batches import publishing, recovery
from fakesweep.schema.ledger.connection import open_engine
from fakesweep.schema.ledger.reports import results
from fakesweep.schema.ledger.retention import ended_scans, orphans
from tests.integration.ledger.rows import add_model, run, value

IMAGES = 20_000
URI = "s3://archive/1/000000000077.jpg"
LARGE = {
    "images", "contents", "outcomes", "predictions", "verdicts", "batches", "scan_counts",
    "source_parts", "sightings",
}  # fmt: skip
QUESTIONS = {
    "what was flagged in a scan": (
        "SELECT uri, p_fake, size_bytes, scores FROM verdicts "
        "WHERE scan_id = 1 AND p_fake > 0.9995 ORDER BY p_fake DESC"
    ),
    "a page of what was flagged in a scan": (
        "SELECT uri, p_fake, kind, model, size_bytes, width, height FROM verdicts "
        "WHERE scan_id = 1 AND p_fake > 0.8 AND p_fake < 0.95 ORDER BY p_fake DESC LIMIT 50"
    ),
    "one address over time": (
        "SELECT judged_at AS at, scan_id, status, model, model_revision, verdict, p_fake, sha256, "
        f"NULL AS failure FROM verdicts WHERE uri = '{URI}' UNION ALL "
        "SELECT failed_at, scan_id, 'failed', NULL, NULL, NULL, NULL, sha256, "
        f"code || ': ' || message FROM failures WHERE uri = '{URI}' ORDER BY at"
    ),
    "one address that failed": f"SELECT * FROM failures WHERE uri = '{URI}'",
    "a part of an archive": "SELECT * FROM verdicts WHERE uri LIKE 's3://archive/1/00000001999%'",
    "a content by its digest": (
        "SELECT uri FROM verdicts WHERE content_id = content_id_of(repeat('00', 32))"
    ),
    "a content by one of its addresses": (
        "SELECT DISTINCT uri FROM verdicts WHERE content_id = ANY (ARRAY("
        f"SELECT content_id FROM verdicts WHERE uri = '{URI}'))"
    ),
    "a content that failed": (
        "SELECT uri FROM failures WHERE content_id = content_id_of(repeat('00', 32))"
    ),
    "the review queue's first page": (
        "SELECT * FROM review_queue WHERE p_fake IS NOT NULL "
        "ORDER BY p_fake DESC, image_id DESC, model_id DESC LIMIT 50"
    ),
    "the review queue's next page": (
        "SELECT * FROM review_queue WHERE p_fake IS NOT NULL "
        "AND (p_fake, image_id, model_id) < (0.7, 1, 1) "
        "ORDER BY p_fake DESC, image_id DESC, model_id DESC LIMIT 50"
    ),
    "what the review queue has that nobody could judge": (
        "SELECT * FROM review_queue WHERE failure_code IS NOT NULL ORDER BY image_id DESC LIMIT 50"
    ),
    "what failed in a scan": "SELECT * FROM failures WHERE scan_id = 1",
    "where models disagree in a scan": "SELECT * FROM model_disagreements WHERE scan_id = 7",
    "how far a scan is": "SELECT * FROM scan_progress WHERE scan_id = 7",
    "how far the newest scans are": "SELECT * FROM scan_progress ORDER BY scan_id DESC LIMIT 20",
    "a code's failures in a scan": (
        "SELECT uri, message FROM failures WHERE scan_id = 1 AND code IN ('corrupt', 'not_found')"
    ),
    "what changed since the audit before": "SELECT * FROM audit_changes WHERE scan_id = 7",
    "what an audit saw": "SELECT * FROM audit_images WHERE scan_id = 7",
    "what is flagged in what an audit saw": (
        "SELECT i.uri, v.verdict FROM audit_images i JOIN verdicts v USING (image_id) "
        "WHERE i.scan_id = 7 AND v.verdict <> 'real'"
    ),
    "a scan's output": "SELECT * FROM outputs WHERE scan_id = 7",
    "what came of a scan's images": "SELECT * FROM results WHERE scan_id = 7",
    "how images stand": "SELECT * FROM images WHERE image_id = ANY ('{1,2,3}')",
    "a page of a scan's images": (
        "SELECT image_id, status FROM images WHERE scan_id = 1 AND batch_id >= 3 "
        "ORDER BY batch_id, image_id LIMIT 50"
    ),
    "what is unfinished of a scan": "SELECT * FROM batches WHERE scan_id = 7 AND state <> 'done'",
    "the newest scan of a name": (
        "SELECT scan_id FROM scan_progress WHERE name = 'x' ORDER BY scan_id DESC LIMIT 1"
    ),
}
QUICK = {
    "the review queue's first page": {"verdicts_review"},
    "the review queue's next page": {"verdicts_review"},
    "what the review queue has that nobody could judge": {"outcomes_failed_image"},
    "one address over time": {"images_uri"},
    "how far a scan is": {"scan_counts_pkey", "batches_scan", "batches_finished"},
    "a page of what was flagged in a scan": {"verdicts_scan"},
}
"""Interactive pages, with the indexes that serve them."""


@pytest.fixture(scope="module")
def large(postgres: str) -> Iterator[Engine]:
    """One large finished scan, a thousand small ones, and planner statistics."""
    name = "fakesweep_test_plans"
    server = open_engine(postgres, "tests")
    with server.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(
            text(f"CREATE DATABASE {name} TEMPLATE fakesweep_test_template STRATEGY FILE_COPY")
        )
    server.dispose()
    url = make_url(postgres).set(database=name).render_as_string(hide_password=False)
    engine = open_engine(url, "tests")
    preload(engine, IMAGES, [add_model(engine, "one"), add_model(engine, "two")])
    run(
        engine,
        "INSERT INTO ledger.scans (lane, policy_id, model_keys, listed_at) "
        "SELECT 'bulk', 1, ARRAY['one'], now() FROM generate_series(1, 1000);"
        "INSERT INTO ledger.batches (scan_id, lane, state, image_count, failed_count, finished_at) "
        "SELECT scan_id, 'bulk', 'done', 1, 1, now() "
        "FROM ledger.scans CROSS JOIN generate_series(1, 5)"
        "WHERE scan_id > 1;"
        "INSERT INTO ledger.scan_sources (scan_id, position, source) "
        "SELECT scan_id, 9, 's3://archive/' FROM ledger.scans;"
        "INSERT INTO ledger.source_parts (scan_id, position, part) "
        "SELECT scan_id, 9, part FROM ledger.scans CROSS JOIN generate_series(1, 8) AS part;"
        "INSERT INTO ledger.sightings (scan_id, image_ids) "
        "SELECT scan_id, ARRAY[scan_id] FROM ledger.scans; ANALYZE",
    )
    yield engine
    engine.dispose()


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from _nodes(below)


def _explain(engine: Engine, sql: str) -> list[dict[str, Any]]:
    plan = value(engine, f"EXPLAIN (FORMAT JSON) {sql}")[0]["Plan"]
    return list(_nodes(plan))


@pytest.mark.parametrize("question", QUESTIONS)
def test_no_large_table_is_read_as_a_whole(large: Engine, question: str) -> None:
    nodes = _explain(large, QUESTIONS[question])
    read_whole = {node["Relation Name"] for node in nodes if node["Node Type"] == "Seq Scan"}
    assert not read_whole & LARGE


@pytest.mark.parametrize("question", QUICK)
def test_what_a_person_waits_for_is_answered_by_its_index(large: Engine, question: str) -> None:
    nodes = _explain(large, QUESTIONS[question])
    assert QUICK[question] <= {node.get("Index Name") for node in nodes}


@pytest.mark.parametrize("question", [one for one in QUESTIONS if "queue" in one])
def test_a_page_of_the_review_queue_is_not_sorted_from_all_of_it(
    large: Engine, question: str
) -> None:
    assert "Sort" not in {node["Node Type"] for node in _explain(large, QUESTIONS[question])}


def test_publishing_and_reconciling_look_at_unfinished_batches_alone(large: Engine) -> None:
    """Window and next batches are found without reading done batches."""
    statements = [
        str(statement.compile(dialect=large.dialect, compile_kwargs={"literal_binds": True}))
        for statement in (
            publishing._TAKE_RECORDED.bindparams(lane="bulk", window=64),
            recovery._REQUEUE_EXPIRED.bindparams(quarantined_after=2),
            recovery._REQUEUE_LOST.bindparams(lane="bulk", older_than_seconds=30.0, waiting="{}"),
            recovery._LONG_PUBLISHED.bindparams(lane="bulk", older_than_seconds=30.0),
        )
    ]
    for statement in statements:
        nodes = _explain(large, statement.replace("%%", "%"))
        assert "Seq Scan" not in {node["Node Type"] for node in nodes}


def test_results_are_streamed_batch_by_batch(large: Engine) -> None:
    """The first row comes after one batch is sorted, not the scan."""
    sql = results._RESULTS.format(where="").replace(":scan_id", "1").replace(":limit", "NULL")
    nodes = _explain(large, f"DECLARE results CURSOR FOR {sql}")
    kinds = {node["Node Type"] for node in nodes}
    assert "Incremental Sort" in kinds
    assert not {"Seq Scan", "Sort", "Hash Join"} & {
        node["Node Type"] for node in nodes if node.get("Relation Name") in LARGE
    }
    assert "Sort" not in kinds


def test_forgetting_looks_at_what_it_forgets_alone(large: Engine) -> None:
    statements = [
        ended_scans._DELETE_IMAGES.bindparams(batch_ids=[0]),
        ended_scans._BRING_BACK,
        ended_scans._SPARE.bindparams(scan_id=7),
        ended_scans._SPARE_SINCE.bindparams(after=900),
        orphans._DELETE_CONTENTS.bindparams(after=0, until=100, auditing=[7]),
    ]
    with large.connect() as connection:
        connection.exec_driver_sql(ended_scans._CREATE_STAGES)
        connection.execute(ended_scans._MARK_IMAGES, {"scan_ids": [1]})
        connection.exec_driver_sql("UPDATE ledger.images SET batch_id = 0 WHERE image_id <= 20")
        connection.exec_driver_sql("INSERT INTO freed SELECT n, 1 FROM generate_series(1, 99) n")
        connection.exec_driver_sql("ANALYZE doomed; ANALYZE freed")
        for statement in statements:
            [plan] = connection.execute(
                text(f"EXPLAIN (FORMAT JSON) {statement.text}"), statement.compile().params
            ).scalar_one()
            read_whole = {
                node["Relation Name"]
                for node in _nodes(plan["Plan"])
                if node["Node Type"] == "Seq Scan"
            }
            assert not read_whole & LARGE, statement.text
        connection.rollback()
