"""Webhook events: the end of a scan, and a schedule's run without a scan."""

from fakesweep.schema.migrations.statements import run, run_file

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add events to deliveries; the ledger records them."""
    run_file("0022_events.sql")


def downgrade() -> None:
    """Drop deliveries of events, and webhooks for events alone."""
    run("""
        SELECT ledger.forget_rights('0022');
        DROP FUNCTION ledger.tell_events;
        DROP FUNCTION ledger.told_moment;
        DELETE FROM ledger.webhook_deliveries WHERE event IS NOT NULL;
        DO $$ BEGIN
            EXECUTE 'CREATE OR REPLACE VIEW public.webhook_deliveries AS ' || replace(
                pg_get_viewdef('public.webhook_deliveries'::regclass, true),
                'COALESCE(d.event,', 'COALESCE(NULL::text,');
        END $$;
        ALTER TABLE ledger.webhook_deliveries
            DROP CONSTRAINT webhook_deliveries_tell, DROP COLUMN event, DROP COLUMN said,
            ALTER COLUMN image_id SET NOT NULL, ALTER COLUMN model_id SET NOT NULL,
            ALTER COLUMN scan_id SET NOT NULL, ALTER COLUMN content_id SET NOT NULL,
            ALTER COLUMN policy_id SET NOT NULL, ALTER COLUMN p_fake SET NOT NULL,
            ALTER COLUMN verdict SET NOT NULL;
        UPDATE ledger.webhooks
        SET verdicts = '{fake}', removed_at = coalesce(removed_at, now()), secret = ''
        WHERE cardinality(verdicts) = 0;
        ALTER TABLE ledger.webhooks DROP COLUMN events;
        ALTER TABLE ledger.webhooks ADD CHECK (cardinality(verdicts) > 0);
        ALTER TABLE ledger.scans DROP COLUMN told_at;
        ALTER TABLE ledger.schedule_runs DROP COLUMN is_told;
        SELECT ledger.grant_roles();
    """)
