"""Rights of the roles, for users who log in as members."""

import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, make_url
from sqlalchemy.exc import DBAPIError

from fakesweep.producer.feeder import publish_recorded, reconcile
from fakesweep.producer.listing.scan import list_scan
from fakesweep.producer.resources import open_producer
from fakesweep.producer.scans import ScanRequest, add_scan
from fakesweep.schema.failures import FailureCode
from fakesweep.schema.judging.catalogue import read_catalogue
from fakesweep.schema.judging.policies import Policy
from fakesweep.schema.ledger.batches.leases import release_all, renew_leases
from fakesweep.schema.ledger.batches.recovery import requeue_expired, requeue_lost
from fakesweep.schema.ledger.connection import open_engine
from fakesweep.schema.ledger.registry.policies import policy_id, rejudge
from fakesweep.schema.ledger.registry.processes import (
    producer_seen,
    record_stages,
    register_worker,
    retire_producer,
    retire_worker,
)
from fakesweep.schema.ledger.reports import adhoc, progress, results, stalls, workers
from fakesweep.schema.ledger.scans import control
from fakesweep.schema.ledger.uploads import Upload, record_uploads
from fakesweep.schema.ledger.webhooks.deliveries import tell_events
from fakesweep.schema.migrations import check_migration
from fakesweep.schema.settings import Settings
from fakesweep.schema.telemetry.throughput import Counts, Stage, StageCounts, report
from fakesweep.schema.words import Lane
from fakesweep.workers.pipeline.batch import run_batch
from fakesweep.workers.process.startup import open_work
from tests.integration.ledger.forbidden import FORBIDDEN
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
    run,
    scan,
    store,
    take,
    take_one,
    tuples,
    value,
)
from tests.integration.ledger.test_sql_docs import EXAMPLES, WRITES
from tests.support.batches import publish_scan, result_rows, uris_of
from tests.support.photographs import folder_of_photographs
from tests.support.users import drop_users

ROLES = ("fakesweep_analyst", "fakesweep_api", "fakesweep_worker", "fakesweep_producer")


@pytest.fixture
def urls(database_url: str, engine: Engine) -> Iterator[Mapping[str, str]]:
    """The database's URL for a user of each role, by the role's last word."""
    with engine.begin() as connection:
        for role in ROLES:
            connection.exec_driver_sql(f"DROP USER IF EXISTS {role}_user")
            connection.exec_driver_sql(f"CREATE USER {role}_user PASSWORD 'x' IN ROLE {role}")
    yield {
        role.removeprefix("fakesweep_"): make_url(database_url)
        .set(username=f"{role}_user")
        .render_as_string(hide_password=False)
        for role in ROLES
    }
    drop_users(engine, *(f"{role}_user" for role in ROLES))


@pytest.fixture
def engines(urls: Mapping[str, str]) -> Iterator[Mapping[str, Engine]]:
    opened = {role: open_engine(url, "tests") for role, url in urls.items()}
    yield opened
    for engine in opened.values():
        engine.dispose()


def test_a_worker_brings_a_batch_to_its_end_by_the_rights_of_its_role(
    engine: Engine, urls: Mapping[str, str], tmp_path: Path
) -> None:
    folder = folder_of_photographs(tmp_path, 3)
    (folder / "0001.jpg").write_bytes(b"no image")
    [message] = publish_scan(engine, [*uris_of(folder), (folder / "0000.jpg").as_uri() + ".gone"])
    settings = Settings(
        database_url=urls["worker"],
        broker_url="redis://localhost/0",
        file_roots=(tmp_path,),
        device="cpu",
        loaders=1,
        fetch_attempts=1,
    )
    with open_work(settings) as work:
        assert value(work.engine, "SELECT current_user") == "fakesweep_worker_user"
        run_batch(message, work)
        work.hand_back()
    found = {row["failure_code"] for row in result_rows(engine, message.scan_id)}
    assert found == {None, "not_an_image", "not_found"}
    assert value(engine, "SELECT stopped_at IS NOT NULL FROM workers")


def test_a_worker_can_run_every_statement_of_its_side(
    engine: Engine, engines: Mapping[str, Engine]
) -> None:
    worker = engines["worker"]
    model = add_model(worker)
    busy = Counts(1.0, dict.fromkeys(Stage, StageCounts(1, 1.0, 1.0)))
    with worker.begin() as connection:
        check_migration(connection)
        register_worker(connection, WORKER, hostname="h", pid=1, device="cpu", version="0")
        record_stages(connection, WORKER, report(busy), busy)
    run(worker, "INSERT INTO ledger.unreadable_messages (reason, body) VALUES ('garbage', '?')")
    for known in (False, True):  # the second time, a content's dimensions become known
        asked = ask(engine)
        record(engine, asked, [f"s3://photos/{known}", f"s3://photos/{known}/cut"])
        message = take_one(engine)
        held = claimed(worker, message.batch_id)
        with worker.begin() as connection:
            assert renew_leases(connection, {held.batch_id: held.attempt}, WORKER, 60) == 1
        first, second = message.images
        cut = content_of("cut", **({} if known else {"width": None}))
        outcomes = [judged(held, first, content_of(1), {model: 0.9}, known=known)]
        assert store(worker, held, [*outcomes, failed(second, FailureCode.CORRUPT, content=cut)])
    with worker.begin() as connection:
        assert release_all(connection, WORKER) == 0
        retire_worker(connection, WORKER)


def test_a_producer_lists_publishes_and_brings_back_by_the_rights_of_its_role(
    urls: Mapping[str, str], broker_url: str, tmp_path: Path
) -> None:
    folder = folder_of_photographs(tmp_path / "in", 5)
    manifest = tmp_path / "manifest.jsonl"
    manifest.write_text('{"uri": broken\n')
    settings = Settings(database_url=urls["producer"], broker_url=broker_url, batch_images=2)
    with open_producer(settings, read_catalogue(None)) as producer:
        asked = ScanRequest(
            (str(folder), str(folder), str(manifest)), ("vit-tiny-cifake",), Lane.BULK, "default"
        )
        scan_id = add_scan(producer, asked)
        assert list_scan(producer, scan_id, threading.Event())
        assert publish_recorded(producer) == 3
        reconcile(producer)
        with producer.engine.connect() as connection:
            found = progress.progress(connection, scan_id)
    assert (found.submitted, found.failed) == (6, 1)


def test_a_producer_can_run_every_statement_of_its_side(
    engine: Engine, engines: Mapping[str, Engine]
) -> None:
    producer = engines["producer"]
    model = add_model(engine)
    scan_id, _ = scan(engine, {"s3://photos/a": {model: 0.4}, "s3://photos/b": {model: 0.6}})
    with producer.begin() as connection:
        check_migration(connection)
        policy_id(connection, "own", Policy("own", 0.1, 0.5))
        assert rejudge(connection, scan_id, "own") == 1
        producer_seen(connection, WORKER, hostname="h", pid=1, version="0")
        producer_seen(connection, WORKER, hostname="h", pid=1, version="0")
        retire_producer(connection, WORKER)
    asked = ask(producer)
    record(producer, asked, ["s3://photos/c", "s3://photos/d"])
    end(producer, asked)
    for _ in range(5):  # down to the images that killed their workers
        for lane in Lane:
            for message in take(producer, lane):
                claimed(engine, message.batch_id)
        run(engine, "UPDATE ledger.batches SET lease_until = now() - interval '1 second' "
                    "WHERE state = 'running'")  # fmt: skip
        with producer.begin() as connection:
            requeue_expired(connection)
            requeue_lost(connection, Lane.BULK, [], 0.0)
    with producer.begin() as connection:
        at = control.begin_retry(connection, asked)
        assert control.retry_failures(connection, asked, list(FailureCode), 10, at) == 1
    with producer.begin() as connection:
        assert control.pause_scan(connection, asked)
        assert control.resume_scan(connection, asked)
        assert control.cancel_scan(connection, asked)
        _read_everything(connection, scan_id)
    with producer.begin() as connection:
        assert tell_events(connection) == 2


def _read_everything(connection: Connection, scan_id: int) -> None:
    assert len(list(results.results(connection, scan_id))) == 2
    assert progress.recent_scans(connection)
    assert progress.sources_of(connection, scan_id)
    assert results.failure_counts(connection, scan_id) == {}
    assert results.verdict_counts(connection, scan_id)
    assert workers.live_workers(connection, 60) == []
    assert stalls.movement(connection, scan_id, within_seconds=60)
    workers.counted_since(connection, scan_id, workers.counted(connection))


@pytest.mark.parametrize("example", [one for one in EXAMPLES if not WRITES.search(one)])
def test_an_analyst_can_run_every_documented_query(
    engines: Mapping[str, Engine], example: str
) -> None:
    with engines["analyst"].connect() as connection:
        check_migration(connection)
        connection.rollback()
        columns, rows = adhoc.query(connection, example)
        assert columns
        list(rows)


def test_an_analyst_can_read_every_view_and_no_table(engines: Mapping[str, Engine]) -> None:
    readable = """
        SELECT relnamespace::regnamespace::text, relname::text FROM pg_class
        WHERE relkind IN ('r', 'v') AND relnamespace::regnamespace::text IN ('ledger', 'public')
          AND {} has_any_column_privilege(oid, 'SELECT')
    """
    analyst = engines["analyst"]
    found = tuples(analyst, readable.format(""))
    views = tuples(analyst, "SELECT 'public', viewname FROM pg_views WHERE schemaname = 'public'")
    assert len(views) > 8
    assert sorted(found) == sorted([*views, ("public", "alembic_version")])


@pytest.mark.parametrize("role", FORBIDDEN)
def test_a_statement_beyond_a_roles_rights_is_refused(
    engines: Mapping[str, Engine], role: str
) -> None:
    statements = FORBIDDEN[role].splitlines()
    assert len(statements) > 60
    assert {one: _refusal(engines[role], one) for one in statements} == dict.fromkeys(
        statements, "42501"
    )


def _refusal(engine: Engine, statement: str) -> str | None:
    """Return PostgreSQL's error code for a statement; 42501 means missing rights."""
    with engine.connect() as connection:
        try:
            connection.exec_driver_sql(statement, execution_options={"no_parameters": True})
        except DBAPIError as error:
            return getattr(error.orig, "pgcode", None)
        finally:
            connection.rollback()
    return None


def test_nobody_may_delete_but_the_producer_and_nobody_may_change_the_shape(
    engine: Engine,
) -> None:
    held = """
        SELECT role, privilege, relname::text
        FROM unnest(CAST(:roles AS text[])) AS role, pg_class,
             unnest(ARRAY['DELETE', 'TRUNCATE', 'TRIGGER', 'REFERENCES']) AS privilege
        WHERE relnamespace IN ('ledger'::regnamespace, 'public'::regnamespace)
          AND relkind IN ('r', 'v') AND has_table_privilege(role, oid, privilege)
        ORDER BY relname
    """
    assert tuples(engine, held, roles=list(ROLES)) == [
        ("fakesweep_producer", "DELETE", "webhook_deliveries"),
    ]


def test_functions_with_their_owners_rights_have_a_search_path_and_are_not_everybodys(
    engine: Engine,
) -> None:
    """The path ends with the temporary schema, which would be searched first if unnamed."""
    loose = """
        SELECT p.oid::regprocedure::text FROM pg_proc p
        WHERE prosecdef AND pronamespace IN ('ledger'::regnamespace, 'public'::regnamespace)
          AND (NOT coalesce('search_path=pg_catalog, pg_temp' = ANY (proconfig), false)
               OR has_function_privilege('public', p.oid, 'EXECUTE'))
    """
    kept = """
        SELECT count(*) FROM pg_proc WHERE prosecdef AND pronamespace = 'ledger'::regnamespace
    """
    assert tuples(engine, loose) == []
    assert value(engine, kept) > 5


def test_nobody_chooses_an_id_that_others_will_be_given(engine: Engine) -> None:
    chosen = """
        SELECT role, attrelid::regclass::text FROM pg_attribute, unnest(CAST(:roles AS text[])) role
        WHERE attidentity <> ''
          AND (has_column_privilege(role, attrelid, attnum, 'INSERT')
               OR has_column_privilege(role, attrelid, attnum, 'UPDATE'))
    """
    assert tuples(engine, chosen, roles=list(ROLES)) == []


def test_only_roles_that_need_advisory_locks_may_take_them(engine: Engine) -> None:
    takers = """
        SELECT DISTINCT role FROM pg_proc p, unnest(CAST(:roles AS text[]) || '{public}') role
        WHERE p.proname ~ '^pg_(try_)?advisory_' AND has_function_privilege(role, p.oid, 'EXECUTE')
        ORDER BY role
    """
    found = tuples(engine, takers, roles=list(ROLES))
    assert found == [("fakesweep_api",), ("fakesweep_producer",), ("fakesweep_worker",)]


def test_a_producer_drops_no_batch_that_holds_an_image_and_forgets_no_verdict(
    engine: Engine, engines: Mapping[str, Engine]
) -> None:
    model = add_model(engine)
    asked = ask(engine)
    record(engine, asked, ["s3://photos/a", "s3://photos/b"])
    end(engine, asked)
    message = take_one(engine)
    held = claimed(engine, message.batch_id)
    first, second = message.images
    sound = judged(held, first, content_of(1), {model: 0.4})
    assert store(engine, held, [sound, failed(second, FailureCode.NOT_FOUND)])
    with engines["producer"].begin() as connection:
        run_on = connection.exec_driver_sql
        run_on("SELECT ledger.drop_empty_batches(array(SELECT batch_id FROM ledger.batches))")
        moment = control.begin_retry(connection, asked)
        assert control.retry_failures(connection, asked, list(FailureCode), 10, moment) == 1
    assert value(engine, "SELECT count(*) FROM ledger.images") == 2
    assert tuples(engine, "SELECT status::text FROM ledger.outcomes") == [("classified",)]


def test_uploads_go_into_open_streams_and_into_no_other_scan(
    engine: Engine, engines: Mapping[str, Engine]
) -> None:
    asked = ask(engine)
    refused = pytest.raises(DBAPIError, match=f"scan {asked} takes no uploads")
    with refused, engines["api"].begin() as connection:
        record_uploads(connection, asked, [Upload("s3://photos/a")])
    assert value(engine, "SELECT count(*) FROM ledger.batches") == 0


def test_the_roles_themselves_have_no_power_over_the_server(engine: Engine) -> None:
    powers = """
        SELECT DISTINCT rolcanlogin, rolsuper, rolcreatedb, rolcreaterole, rolreplication,
               rolbypassrls, EXISTS (SELECT FROM pg_auth_members m WHERE m.member = r.oid)
        FROM pg_roles r WHERE rolname = ANY(:roles)
    """
    assert tuples(engine, powers, roles=list(ROLES)) == [(False,) * 7]


def test_a_user_without_a_role_reads_nothing_and_changes_no_policy(
    engine: Engine, database_url: str
) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE USER fakesweep_test_stranger")
    url = make_url(database_url).set(username="fakesweep_test_stranger")
    stranger = open_engine(url.render_as_string(hide_password=False), "tests")
    try:
        statements = (
            "SELECT * FROM verdicts", "SELECT * FROM ledger.scans", "CREATE TABLE public.mine ()",
            "CREATE TEMPORARY TABLE mine ()", "SELECT set_policy('default', 0, 0)",
            "SELECT content_id_of('00')", "SELECT pg_advisory_lock(1)",
        )  # fmt: skip
        assert [_refusal(stranger, one) for one in statements] == ["42501"] * len(statements)
    finally:
        stranger.dispose()
        drop_users(engine, "fakesweep_test_stranger")
