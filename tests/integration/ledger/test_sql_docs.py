"""docs/sql.md is true: its examples work on a filled database, and it is complete."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, make_url, text

from fakesweep.producer.schedules.firing import fire_due
from fakesweep.schema.failures import FailureCode
from fakesweep.schema.ledger.batches.leases import Claim
from fakesweep.schema.ledger.batches.outcomes import Outcome
from fakesweep.schema.ledger.connection import open_engine
from fakesweep.schema.ledger.outputs.parts import add_output
from fakesweep.schema.ledger.registry.processes import producer_seen, record_stages, register_worker
from fakesweep.schema.ledger.reports.adhoc import query
from fakesweep.schema.ledger.scans.listing import Page, record_page
from fakesweep.schema.ledger.scans.scans import ListedImage
from fakesweep.schema.ledger.scans.source_parts import Part
from fakesweep.schema.ledger.webhooks.webhooks import add_webhook
from fakesweep.schema.message import BatchImage, BatchMessage
from fakesweep.schema.telemetry.throughput import Bottleneck, Counts, Stage, StageCounts, report
from fakesweep.schema.words import VerdictWord
from tests.integration.ledger.rows import (
    WORKER,
    add_model,
    ask,
    claimed,
    content_of,
    end,
    failed,
    judged,
    record,
    rows,
    run,
    store,
    take,
    value,
)
from tests.integration.ledger.schedule_rows import add as add_schedule
from tests.integration.ledger.schedule_rows import make_due, producer_on

DOCUMENT = (Path(__file__).resolve().parents[3] / "docs" / "sql.md").read_text("utf-8")
EXAMPLES = re.findall(r"^```sql\n(.+?)^```", DOCUMENT, re.MULTILINE | re.DOTALL)
WRITES = re.compile(r"set_policy\(|rejudge\(|GRANT|CREATE")


def _statements(example: str) -> list[str]:
    return [one.strip() for one in re.split(r";$", example, flags=re.MULTILINE) if one.strip()]


@pytest.fixture(scope="module")
def filled(postgres: str) -> Iterator[Engine]:
    """Scans of every sort: copies, a running one, a scheduled one, and audits."""
    name = "fakesweep_test_sql_docs"
    server = open_engine(postgres, "tests")
    with server.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(
            text(f"CREATE DATABASE {name} TEMPLATE fakesweep_test_template STRATEGY FILE_COPY")
        )
    server.dispose()
    url = make_url(postgres).set(database=name).render_as_string(hide_password=False)
    engine = open_engine(url, "tests")
    _first_scan(engine)
    _second_scan(engine)
    _running_scan(engine)
    _busy_worker(engine)
    _producer_and_garbage(engine)
    _schedule(engine)
    _audits(engine)
    _files(engine)
    yield engine
    engine.dispose()


def _first_scan(engine: Engine) -> None:
    tiny, other = add_model(engine), add_model(engine, "other")
    scores = {"a": (0.99, 0.95), "b": (0.93, 0.1), "c": (0.5, 0.6), "d": (0.01, 0.02)}
    names = [*(f"2024/05/{letter}" for letter in scores), "2024/06/gone", "2024/06/cut", "x"]
    scan_id = ask(engine, name="uploads of May", models=["tiny", "other"])
    record(engine, scan_id, [f"s3://photos/{name}.jpg" for name in names])
    end(engine, scan_id)
    (message,) = take(engine)
    held = claimed(engine, message.batch_id)
    outcomes = [
        judged(held, image, content_of("meme" if letter == "a" else letter), {tiny: p, other: q})
        for image, (letter, (p, q)) in zip(message.images, scores.items(), strict=False)
    ]
    gone, cut, text_file = message.images[4:]
    outcomes += [
        failed(gone),
        failed(cut, FailureCode.CORRUPT, "the file ends too early", content_of("cut", width=None)),
        failed(text_file, FailureCode.NOT_AN_IMAGE, "this is text", content_of("x", width=None)),
    ]
    assert store(engine, held, outcomes)


def _second_scan(engine: Engine) -> None:
    tiny = add_model(engine, revision="r2")
    scan_id = ask(engine, name="the archive")
    record(engine, scan_id, ["s3://photos/2024/05/a.jpg", "s3://archive/copy.jpg"])
    record(engine, scan_id, ["s3://archive/another.jpg"])
    end(engine, scan_id)
    for message in take(engine):
        held = claimed(engine, message.batch_id)
        assert store(engine, held, [_copy(held, image, tiny) for image in message.images])
    again = ask(engine)
    record(engine, again, ["s3://photos/2024/05/a.jpg"])
    end(engine, again)
    _fail(engine, take(engine)[0])


def _copy(held: Claim, image: BatchImage, model: int) -> Outcome:
    return judged(held, image, content_of("meme"), {model: 0.98}, known="another" in image.uri)


def _running_scan(engine: Engine) -> None:
    scan_id = ask(engine, name="the rest of the archive")
    for number in range(4):
        record(engine, scan_id, [f"s3://archive/{number}/{n}.jpg" for n in range(10)])
    end(engine, scan_id)
    _fail(engine, take(engine)[0])


def _busy_worker(engine: Engine) -> None:
    busy = dict.fromkeys(Stage, StageCounts(640, 1.0, 10.0))
    counts = Counts(10.0, busy | {Stage.DEVICE: StageCounts(640, 9.0, 10.0)})
    with engine.begin() as connection:
        register_worker(connection, WORKER, hostname="h", pid=7, device="cuda:0", version="0.1")
        record_stages(connection, WORKER, report(counts), counts)


def _producer_and_garbage(engine: Engine) -> None:
    with engine.begin() as connection:
        producer_seen(connection, WORKER, hostname="h", pid=8, version="0.1")
    run(
        engine,
        "INSERT INTO ledger.unreadable_messages (queue, reason, body) "
        "VALUES ('bulk', 'the message is no JSON object', '[]')",
    )


def _schedule(engine: Engine) -> None:
    add_schedule(producer_on(engine))
    make_due(engine)
    assert fire_due(producer_on(engine)) == 1
    run(engine, "UPDATE ledger.scans SET listed_at = now() WHERE schedule_id IS NOT NULL")


def _audits(engine: Engine) -> None:
    tiny = add_model(engine, revision="r2")
    with engine.begin() as connection:
        add_webhook(
            connection, name="moderation", url="https://example.org/", secret="whsec_hush",
            verdicts=[VerdictWord.FAKE],
        )  # fmt: skip
    for scores in ({"kept": 0.9, "gone": 0.2}, {"kept": 0.9, "new": 0.95}):
        scan_id = ask(engine, is_audit=True)
        images = [ListedImage(f"s3://audited/{name}.jpg", name, 10, "e") for name in scores]
        with engine.begin() as connection:
            add_output(connection, scan_id, f"s3://out/{scan_id}/", None)
            record_page(connection, scan_id, Part(0, 0, ""), Page(images, images[-1].cursor), 10)
        end(engine, scan_id)
        for message in take(engine):
            held = claimed(engine, message.batch_id)
            found = [(image, image.uri.rpartition("/")[2][:-4]) for image in message.images]
            outcomes = [
                judged(held, image, content_of(name), {tiny: scores[name]}) for image, name in found
            ]
            assert store(engine, held, outcomes)


def _files(engine: Engine) -> None:
    tiny = add_model(engine, revision="r2")
    scan_id = ask(engine, name="a folder")
    record(engine, scan_id, ["file:///photos/glass%20plates/1.jpg"])
    end(engine, scan_id)
    (message,) = take(engine)
    held = claimed(engine, message.batch_id)
    assert store(
        engine,
        held,
        [judged(held, image, content_of("f"), {tiny: 0.1}) for image in message.images],
    )
    run(
        engine,
        "INSERT INTO ledger.listing_counts (scan_id, sort, name, files) "
        "VALUES (:id, 'left_out', 'not_an_image', 3), (:id, 'include', '1', 1)",
        id=scan_id,
    )


def _fail(engine: Engine, message: BatchMessage) -> None:
    held = claimed(engine, message.batch_id)
    assert store(engine, held, [failed(image) for image in message.images])


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_answers(filled: Engine, example: str) -> None:
    with filled.connect() as connection:
        for statement in _statements(example):
            result = connection.execute(text(statement))
            assert not result.returns_rows or result.all()
        connection.rollback()


@pytest.mark.parametrize("example", [one for one in EXAMPLES if not WRITES.search(one)])
def test_every_reading_example_answers_through_fakesweep_sql(filled: Engine, example: str) -> None:
    with filled.connect() as connection:
        columns, found = query(connection, example)
        assert columns
        assert list(found)


def test_the_examples_are_found_and_answer_with_what_they_promise(filled: Engine) -> None:
    assert len(EXAMPLES) > 15

    def answer(start: str) -> list[dict[str, object]]:
        (example,) = [one for one in EXAMPLES if start in one]
        return [dict(row) for row in rows(filled, example)]

    flagged = answer("SELECT uri, p_fake, kind, model, size_bytes")
    assert [(row["uri"], row["model"], row["size_bytes"]) for row in flagged] == [
        ("s3://photos/2024/05/a.jpg", "tiny", 1_000),
        ("s3://photos/2024/05/a.jpg", "other", 1_000),
        ("s3://photos/2024/05/b.jpg", "tiny", 1_000),
    ]
    history = answer("UNION ALL")
    assert [(row["scan_id"], row["model_revision"], row["failure"]) for row in history] == [
        (1, "r1", None),
        (1, "r1", None),
        (2, "r2", None),
        (3, None, "not_found: the object is gone"),
    ]
    seen = {(row["uri"], row["scan_id"]) for row in answer("content_id_of(")}
    assert seen == {
        ("s3://photos/2024/05/a.jpg", 1),
        ("s3://photos/2024/05/a.jpg", 2),
        ("s3://archive/copy.jpg", 2),
        ("s3://archive/another.jpg", 2),
    }
    assert {(row["uri"], row["scan_id"]) for row in answer("ANY (ARRAY(")} == seen
    (left,) = answer("FROM scan_progress")
    assert (left["submitted"], left["failed"], left["pending"]) == (40, 10, 30)
    assert left["images_per_second"] not in (None, 0)
    (worker,) = answer("FROM workers")
    assert (worker["images_per_second"], worker["bottleneck"]) == (64.0, "device")
    assert (worker["decode_busy"], worker["device_busy"]) == (0.1, 0.9)
    (other_word,) = answer("FROM model_disagreements")
    assert (other_word["uri"], other_word["verdict_b"]) == ("s3://photos/2024/05/b.jpg", "real")
    assert {row["failure_code"]: row["images"] for row in answer("min(failure_message)")} == {
        "not_found": 1,
        "corrupt": 1,
        "not_an_image": 1,
    }
    (old,) = answer("NOT revision_is_current")
    assert (old["scan_id"], old["model_revision"], old["images"]) == (1, "r1", 4)


def test_the_examples_of_audits_schedules_and_deliveries_answer_with_what_they_promise(
    filled: Engine,
) -> None:
    def answer(start: str) -> list[tuple[object, ...]]:
        (example,) = [one for one in EXAMPLES if start in one]
        return [tuple(row.values()) for row in rows(filled, example)]

    changes = {(change, uri) for change, uri, *_ in answer("FROM audit_changes")}
    assert changes == {
        ("new", "s3://audited/new.jpg"),
        ("vanished", "s3://audited/gone.jpg"),
    }
    held = {(uri, word, scan) for uri, word, _, scan in answer("FROM audit_images")}
    assert held == {("s3://audited/kept.jpg", "fake", 6), ("s3://audited/new.jpg", "fake", 7)}
    assert [row[:2] + row[4:] for row in answer("FROM schedules")] == [
        ("nightly", "active", "fired", 5)
    ]
    assert [row[2:4] for row in answer("FROM schedule_runs")] == [("fired", 5)]
    assert {row[:3] for row in answer("FROM outputs")} == {
        (6, "s3://out/6/", 0),
        (7, "s3://out/7/", 0),
    }
    assert [row[:3] for row in answer("FROM webhook_deliveries")] == [("moderation", "waiting", 2)]


def test_the_examples_of_files_answer_with_what_they_promise(filled: Engine) -> None:
    (example,) = [one for one in EXAMPLES if "SELECT path" in one]
    assert [row["path"] for row in rows(filled, example)] == ["/photos/glass plates/1.jpg"]
    (example,) = [one for one in EXAMPLES if "FROM left_out" in one]
    assert [dict(row) for row in rows(filled, example)] == [{"reason": "not_an_image", "files": 3}]


def _tables(head: str, text: str) -> list[list[str]]:
    """Return the first cells of each table with this head, without backquotes."""
    tables = re.findall(rf"^{re.escape(head)}\n\|---\|---\|\n((?:\|.+\n)+)", text, re.MULTILINE)
    return [re.findall(r"^\| `(.+?)` \| \S.* \|$", table, re.MULTILINE) for table in tables]


def _documented_columns(view: str) -> list[str]:
    _, _, section = DOCUMENT.partition(f"\n### `{view}`\n")
    return _tables("| column | meaning |", section.partition("\n##")[0])[0]


def test_every_view_and_column_is_documented_in_its_order(filled: Engine) -> None:
    found: dict[str, list[str]] = {}
    for row in rows(
        filled,
        "SELECT table_name, column_name FROM information_schema.columns "
        "JOIN information_schema.views USING (table_schema, table_name) "
        "WHERE table_schema = 'public' ORDER BY table_name, ordinal_position",
    ):
        found.setdefault(row["table_name"], []).append(row["column_name"])
    assert set(found) >= {
        "verdicts", "review_queue", "scan_progress", "failures", "model_disagreements",
    }  # fmt: skip
    assert {view: _documented_columns(view) for view in found} == found


def test_every_function_is_documented_with_its_arguments(filled: Engine) -> None:
    found = {
        f"{row['proname']}({', '.join(row['proargnames'])})"
        for row in rows(
            filled,
            "SELECT proname, proargnames FROM pg_proc WHERE pronamespace = 'public'::regnamespace",
        )
    }
    (documented,) = _tables("| function | what it does |", DOCUMENT)
    assert set(documented) == found


def test_every_failure_code_is_documented() -> None:
    assert _tables("| code | means |", DOCUMENT) == [[code.value for code in FailureCode]]


def test_every_bottleneck_is_documented() -> None:
    (said,) = re.findall(r"^\| `bottleneck` \| .*: (.+) \|$", DOCUMENT, re.MULTILINE)
    assert said == ", ".join(f"`{one}`" for one in Bottleneck)


def test_no_example_touches_a_private_table() -> None:
    for example in EXAMPLES:
        assert not re.search(r"\b(FROM|JOIN)\s+ledger\.", example)


def test_a_role_made_as_documented_can_use_fakesweep_sql_and_read_no_table(filled: Engine) -> None:
    grants = [one for one in EXAMPLES if "GRANT" in one]
    assert len(grants) == 2
    with filled.connect() as connection:
        connection.exec_driver_sql(grants[0] + grants[1].replace("CREATE ROLE analyst;", ""))
        connection.exec_driver_sql("SET LOCAL ROLE analyst")
        _, found = query(connection, "SELECT count(*) FROM verdicts WHERE scan_id = 1")
        assert [tuple(row) for row in found] == [(8,)]
        readable = connection.exec_driver_sql(
            "SELECT relname FROM pg_class WHERE relnamespace = 'ledger'::regnamespace "
            "AND relkind IN ('r', 'v') AND has_table_privilege(oid, 'SELECT')"
        ).all()
        assert readable == []
        connection.rollback()
    assert value(filled, "SELECT count(*) FROM pg_roles WHERE rolname = 'analyst'") == 0
