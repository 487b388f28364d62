"""Sources: indexes on URIs of any length, paths for people, and counts of skipped entries."""

from fakesweep.schema.migrations.statements import run, run_file

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the functions, columns, tables and indexes, and a column `path` to the views."""
    run_file("0014_sources.sql")


def downgrade() -> None:
    """Drop them; fails where a URI is too long for the old index."""
    run(f"""
        SELECT ledger.forget_rights('0014');
        DROP VIEW public.left_out;
        DROP TABLE ledger.listing_counts;
        {_WITHOUT_PATH}
        DROP FUNCTION public.path_of, ledger.percent_decoded;
        ALTER TABLE ledger.scan_sources DROP COLUMN members;
        ALTER TABLE ledger.schedule_sources DROP COLUMN members;
        DROP INDEX ledger.images_uri, ledger.images_short_uri, ledger.images_long_uri,
            ledger.outputs_destination;
        CREATE UNIQUE INDEX images_uri ON ledger.images (uri, scan_id, occurrence);
        DO $$ BEGIN
            EXECUTE replace(pg_get_functiondef('ledger.add_uploads'::regproc),
                            'ON CONFLICT DO', 'ON CONFLICT (uri, scan_id, occurrence) DO');
        END $$;
        CREATE UNIQUE INDEX outputs_destination
            ON ledger.outputs (destination, coalesce(hostname, ''));
        DROP FUNCTION ledger.digest_of;
        SELECT ledger.grant_roles();
    """)


_WITHOUT_PATH = r"""
    DO $$
    DECLARE
        shown text;
        said text;
    BEGIN
        FOREACH shown IN ARRAY ARRAY['verdicts', 'review_queue', 'failures', 'model_disagreements',
                                     'audit_changes', 'audit_images', 'webhook_deliveries'] LOOP
            said := regexp_replace(
                pg_get_viewdef(('public.' || shown)::regclass, true),
                ',\s+(public\.)?path_of\(i\.uri\) AS path', '', 'g'
            );
            EXECUTE format('DROP VIEW public.%I', shown);
            EXECUTE format('CREATE VIEW public.%I AS %s', shown, said);
        END LOOP;
    END $$;
"""
