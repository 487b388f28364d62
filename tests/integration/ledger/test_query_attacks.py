"""Writes through `fakesweep sql` as the owner of all tables, the worst case."""

from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from fakesweep.schema.errors import DatabaseError
from fakesweep.schema.ledger.reports.adhoc import query
from tests.integration.ledger.rows import add_model, scan, tuples

SHAPE = """
    SELECT (SELECT count(*) FROM pg_class), (SELECT count(*) FROM pg_proc),
           (SELECT count(*) FROM pg_largeobject_metadata), (SELECT count(*) FROM ledger.policies),
           (SELECT string_agg(verdict::text, '' ORDER BY image_id) FROM ledger.verdicts),
           (SELECT last_value FROM ledger.scans_scan_id_seq)
"""

WRITES = r"""
INSERT INTO ledger.policies (name, real_below, fake_above) VALUES ('x', 0, 0)
INSERT INTO ledger.policies (name, real_below, fake_above) VALUES ('x', 0, 0) RETURNING *
WITH x AS (DELETE FROM ledger.verdicts RETURNING *) SELECT * FROM x
WITH x AS (UPDATE ledger.verdicts SET verdict = 'real' RETURNING 1) SELECT count(*) FROM x
MERGE INTO ledger.verdicts v USING (SELECT 1) s ON true WHEN MATCHED THEN DELETE
SELECT 1; DROP VIEW verdicts
SELECT 1; COMMIT; DROP VIEW verdicts
SELECT 1;; DROP VIEW verdicts
COMMIT
ROLLBACK AND CHAIN
SET TRANSACTION READ WRITE
SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE
SELECT set_config('transaction_read_only', 'off', false)
SELECT set_config('transaction_read_only', 'off', true), set_policy('default', 0, 0)
SELECT set_policy('default', 0, 0)
SELECT rejudge(1, 'card')
SELECT * FROM verdicts WHERE rejudge(scan_id, 'card') > 0
SELECT ledger.forget_rights('0006')
SELECT ledger.open_query('DELETE FROM ledger.verdicts RETURNING 1')
SELECT query_to_xml('DELETE FROM ledger.verdicts', true, true, '')
COPY ledger.policies TO '{folder}/copied'
COPY (SELECT 1) TO PROGRAM 'touch {folder}/program'
COPY ledger.policies FROM '/dev/null'
DO $$ BEGIN DROP VIEW verdicts; END $$
CREATE TABLE public.mine (a integer)
CREATE TEMPORARY TABLE mine (a integer)
SELECT * INTO mine FROM verdicts
SELECT nextval('ledger.scans_scan_id_seq')
SELECT setval('ledger.scans_scan_id_seq', 4711)
SELECT lo_export(lo_from_bytea(0, 'x'), '{folder}/exported')
SELECT * FROM ledger.scans FOR UPDATE
LOCK TABLE ledger.scans
EXPLAIN ANALYZE DELETE FROM ledger.verdicts
PREPARE mine AS DELETE FROM ledger.verdicts
DECLARE mine CURSOR WITH HOLD FOR SELECT 1
CALL mine()
VACUUM
ALTER SYSTEM SET fsync = on
NOTIFY mine
"""


@pytest.fixture
def filled(engine: Engine) -> Engine:
    scan(engine, {"s3://photos/a": {add_model(engine): 0.6}})
    return engine


@pytest.mark.parametrize("attack", WRITES.strip().splitlines())
def test_a_query_that_would_write_is_refused_and_has_written_nothing(
    filled: Engine, attack: str, tmp_path: Path
) -> None:
    tmp_path.chmod(0o777)
    before = tuples(filled, SHAPE)
    with filled.connect() as connection, pytest.raises((DatabaseError, DBAPIError)):
        list(query(connection, attack.format(folder=tmp_path))[1])
    assert tuples(filled, SHAPE) == before
    assert not list(tmp_path.iterdir())


# A superuser's powers over the server are no writes to the ledger; read-only transactions
# leave them, the role for queries removes them.
@pytest.mark.parametrize(
    "power",
    [
        "SELECT pg_read_file('/etc/passwd')",
        "SELECT pg_ls_dir('/')",
        "SELECT pg_reload_conf()",
        "SELECT pg_switch_wal()",
        "SELECT pg_stat_reset()",
        "SELECT pg_create_restore_point('mine')",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename <> current_user",
        "SELECT rolpassword FROM pg_authid",
        "SELECT set_config('session_replication_role', 'replica', false)",
    ],
)
def test_what_a_superuser_can_do_by_reading_an_analyst_cannot(filled: Engine, power: str) -> None:
    with filled.connect() as connection:
        connection.exec_driver_sql("SET LOCAL ROLE fakesweep_analyst")
        with pytest.raises(DBAPIError, match="permission denied"):
            list(query(connection, power)[1])
