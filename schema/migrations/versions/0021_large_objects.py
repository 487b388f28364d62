"""Large objects: no role may write them."""

from fakesweep.schema.migrations.statements import run, run_file

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Revoke their functions from PUBLIC, where this user may."""
    run_file("0021_large_objects.sql")


def downgrade() -> None:
    """Grant them again, as PostgreSQL does."""
    run("""
        DROP FUNCTION ledger.close_large_objects;
        DO $$
        DECLARE one regprocedure;
        BEGIN
            FOR one IN
                SELECT p.oid FROM pg_catalog.pg_proc p
                WHERE p.pronamespace = 'pg_catalog'::regnamespace
                  AND (p.proname ~ '^lo_' OR p.proname IN ('loread', 'lowrite'))
                  AND p.proname NOT IN ('lo_import', 'lo_export')
            LOOP
                BEGIN
                    EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO PUBLIC', one);
                EXCEPTION WHEN insufficient_privilege THEN NULL;
                END;
            END LOOP;
        END $$;
    """)
