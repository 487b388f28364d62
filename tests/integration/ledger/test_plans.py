"""The questions people ask most are answered by an index when the tables are large."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, make_url, text

from benchmarks.ingest import preload
from schema import ledger, recovery, reports
from schema.database import open_engine
from tests.integration.ledger.rows import add_model, run, value

IMAGES = 20_000
URI = "s3://archive/1/000000000077.jpg"
LARGE = {"images", "contents", "outcomes", "predictions", "verdicts"}
QUESTIONS = {
    "what was flagged in a scan": (
        "SELECT uri, p_fake, size_bytes, scores FROM verdicts "
        "WHERE scan_id = 1 AND p_fake > 0.9995 ORDER BY p_fake DESC"
    ),
    "one address over time": f"SELECT * FROM verdicts WHERE uri = '{URI}'",
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
        "SELECT * FROM review_queue ORDER BY p_fake DESC, image_id DESC, model_id DESC LIMIT 50"
    ),
    "the review queue's next page": (
        "SELECT * FROM review_queue WHERE (p_fake, image_id, model_id) < (0.7, 1, 1) "
        "ORDER BY p_fake DESC, image_id DESC, model_id DESC LIMIT 50"
    ),
    "what failed in a scan": "SELECT * FROM failures WHERE scan_id = 1",
    "where models disagree in a scan": "SELECT * FROM model_disagreements WHERE scan_id = 7",
    "how far a scan is": "SELECT * FROM scan_progress WHERE scan_id = 7",
    "how far the newest scans are": "SELECT * FROM scan_progress ORDER BY scan_id DESC LIMIT 20",
}


@pytest.fixture(scope="module")
def large(postgres: str) -> Iterator[Engine]:
    """One large finished scan, then a thousand small ones, and statistics about them."""
    name = "fakesweep_test_plans"
    server = open_engine(postgres, "tests")
    with server.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE fakesweep_test_template"))
    server.dispose()
    url = make_url(postgres).set(database=name).render_as_string(hide_password=False)
    engine = open_engine(url, "tests")
    preload(engine, IMAGES, [add_model(engine, "one"), add_model(engine, "two")])
    run(
        engine,
        "INSERT INTO ledger.scans (lane, policy_id, model_keys, listed_at) "
        "SELECT 'bulk', 1, ARRAY['one'], now() FROM generate_series(1, 1000);"
        "INSERT INTO ledger.batches (scan_id, lane, state, image_count, failed_count) "
        "SELECT scan_id, 'bulk', 'done', 1, 1 FROM ledger.scans CROSS JOIN generate_series(1, 5)"
        "WHERE scan_id > 1; ANALYZE",
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
    assert not read_whole & (LARGE | {"batches"})


@pytest.mark.parametrize("question", [one for one in QUESTIONS if "queue" in one])
def test_a_page_of_the_review_queue_is_not_sorted_from_all_of_it(
    large: Engine, question: str
) -> None:
    assert "Sort" not in {node["Node Type"] for node in _explain(large, QUESTIONS[question])}


def test_publishing_and_reconciling_look_at_unfinished_batches_alone(large: Engine) -> None:
    """The window is counted and the next batches are found without a look at the rest."""
    statements = [
        str(statement.compile(dialect=large.dialect, compile_kwargs={"literal_binds": True}))
        for statement in (
            ledger._TAKE_RECORDED.bindparams(lane="bulk", window=64),
            recovery._RETURN_EXPIRED.bindparams(quarantined_after=2),
            recovery._RETURN_LOST.bindparams(lane="bulk", older_than_seconds=30.0, waiting="{}"),
            recovery._LONG_PUBLISHED.bindparams(lane="bulk", older_than_seconds=30.0),
        )
    ]
    for statement in statements:
        nodes = _explain(large, statement.replace("%%", "%"))
        assert "Seq Scan" not in {node["Node Type"] for node in nodes}


def test_results_are_streamed_batch_by_batch(large: Engine) -> None:
    """The first row comes after one batch is sorted, not after the scan is."""
    sql = reports._RESULTS.format(where="").replace(":scan_id", "1")
    nodes = _explain(large, f"DECLARE results CURSOR FOR {sql}")
    kinds = {node["Node Type"] for node in nodes}
    assert "Incremental Sort" in kinds
    assert not {"Seq Scan", "Sort", "Hash Join"} & {
        node["Node Type"] for node in nodes if node.get("Relation Name") in LARGE
    }
    assert "Sort" not in kinds
