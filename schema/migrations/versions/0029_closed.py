"""Rights on locks, the server's log and ids, by which one login could block others."""

from fakesweep.schema.migrations.statements import run, run_file

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Revoke them from every role without a need, where this user may."""
    run_file("0029_closed.sql")


def downgrade() -> None:
    """Grant them again, as PostgreSQL and the earlier migrations did."""
    run("""
        DO $$
        DECLARE
            one record;
            lock regprocedure;
            taker text;
        BEGIN
            FOR one IN
                SELECT since, role, may, substring(may FROM ' ON (.*)') AS name
                FROM ledger.role_rights WHERE may LIKE 'INSERT (%' AND may NOT LIKE '%.webhooks'
            LOOP
                CONTINUE WHEN NOT EXISTS (
                    SELECT FROM pg_attribute a
                    WHERE a.attrelid = one.name::regclass AND a.attidentity <> '');
                PERFORM ledger.take_right(one.role, one.may);
                INSERT INTO ledger.role_rights
                VALUES (one.since, one.role, 'INSERT ON ' || one.name);
            END LOOP;
            FOR lock IN
                SELECT p.oid FROM pg_catalog.pg_proc p
                WHERE p.pronamespace = 'pg_catalog'::regnamespace
                  AND (p.proname ~ '^pg_(try_)?advisory_' OR p.proname = 'pg_logical_emit_message')
                  AND has_function_privilege(p.oid, 'EXECUTE WITH GRANT OPTION')
            LOOP
                EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO PUBLIC', lock);
                FOR taker IN SELECT rolname FROM pg_roles WHERE rolname IN
                    ('fakesweep_api', 'fakesweep_producer', 'fakesweep_worker')
                LOOP
                    EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM %I', lock, taker);
                END LOOP;
            END LOOP;
        END $$;
        DO $$ BEGIN
            EXECUTE replace(pg_get_functiondef('ledger.grant_roles()'::regprocedure),
                            'PERFORM ledger.close_locks();', '');
        END $$;
        DROP FUNCTION ledger.close_locks;
        SELECT ledger.grant_roles();
    """)
