"""Fewer rights for producers, and a role for the HTTP API."""

from fakesweep.schema.migrations.statements import run, run_file

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add functions in place of rights that allow too much, and revoke these rights."""
    run_file("0012_rights.sql")


def downgrade() -> None:
    """Grant the rights again; the role stays, as other databases of the server may use it."""
    run("""
        SELECT ledger.forget_rights('0012');
        DROP FUNCTION ledger.take_right, ledger.retry_failures, ledger.drop_empty_batches,
            ledger.take_recorded, ledger.open_stream, ledger.add_uploads;
        ALTER TABLE ledger.outcomes ALTER status DROP DEFAULT;
        ALTER FUNCTION public.rejudge SECURITY INVOKER RESET search_path;
        INSERT INTO ledger.role_rights (since, role, may) VALUES
            ('0004', 'fakesweep_producer', 'INSERT ON ledger.policies, ledger.scans,
                ledger.scan_sources, ledger.batches, ledger.images, ledger.outcomes,
                ledger.producers'),
            ('0004', 'fakesweep_producer',
             'UPDATE (policy_id, listed_at, paused_at, cancelled_at) ON ledger.scans'),
            ('0004', 'fakesweep_producer',
             'UPDATE (policy_id, p_fake, verdict, kind, judged_at) ON ledger.verdicts'),
            ('0004', 'fakesweep_producer', 'DELETE ON ledger.batches, ledger.outcomes'),
            ('0008', 'fakesweep_producer',
             'INSERT (webhook_id, image_id, model_id, scan_id, content_id, policy_id, p_fake,
                verdict, kind, before) ON ledger.webhook_deliveries'),
            ('0011', 'fakesweep_producer', 'SELECT ON ledger.api_tokens'),
            ('0011', 'fakesweep_producer', 'UPDATE (last_used_at) ON ledger.api_tokens');
        SELECT ledger.grant_roles();
    """)
