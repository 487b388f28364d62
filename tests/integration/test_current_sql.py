from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from fakesweep.schema.ledger.connection import open_engine
from fakesweep.schema.migrations import upgrade
from tests.current_sql import COMMAND, CURRENT_SQL, current_sql
from tests.integration.ledger.rows import tuples

NOT_SHOWN = """
    SELECT 'relation', c.relname::text FROM pg_class c
    WHERE c.relnamespace IN ('ledger'::regnamespace, 'public'::regnamespace)
      AND (c.relkind NOT IN ('r', 'v', 'i', 'S') OR c.relpersistence <> 'p' OR c.relrowsecurity
           OR c.relispartition)
    UNION ALL
    SELECT 'sequence without a column', c.relname::text FROM pg_class c
    WHERE c.relkind = 'S' AND NOT EXISTS (
        SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'i'
    )
    UNION ALL
    SELECT 'type', t.typname::text FROM pg_type t
    WHERE t.typnamespace IN ('ledger'::regnamespace, 'public'::regnamespace)
      AND t.typtype NOT IN ('e', 'c') AND t.typelem = 0
    UNION ALL
    SELECT 'function', p.proname::text FROM pg_proc p
    WHERE p.pronamespace IN ('ledger'::regnamespace, 'public'::regnamespace) AND p.prokind <> 'f'
    UNION ALL
    SELECT 'column', a.attname::text FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
    WHERE c.relnamespace IN ('ledger'::regnamespace, 'public'::regnamespace)
      AND (a.attgenerated <> '' OR a.attoptions IS NOT NULL OR a.attstattarget >= 0)
    UNION ALL
    SELECT 'rule', r.rulename::text FROM pg_rewrite r WHERE r.rulename <> '_RETURN'
      AND r.ev_class >= 16384
    UNION ALL
    SELECT 'statistics', s.stxname::text FROM pg_statistic_ext s
    UNION ALL
    SELECT 'extension', e.extname::text FROM pg_extension e WHERE e.extname <> 'plpgsql'
"""


@pytest.fixture
def migrated(empty_database_url: str) -> Iterator[Engine]:
    engine = open_engine(empty_database_url, "tests")
    with engine.begin() as connection:
        upgrade(connection)
    yield engine
    engine.dispose()


def test_the_file_of_the_current_schema_is_what_the_migrations_make(migrated: Engine) -> None:
    with migrated.connect() as connection:
        made = current_sql(connection)
    assert CURRENT_SQL.read_text("utf-8") == made, f"run `{COMMAND}` after a new migration"


def test_the_database_holds_nothing_of_a_kind_that_the_file_does_not_show(
    migrated: Engine,
) -> None:
    assert tuples(migrated, NOT_SHOWN) == []
