"""Faults of single batches: batches set aside, recounts, and deliveries by trigger."""

from importlib import resources

from fakesweep.schema.migrations.statements import run, run_file

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the state, its columns and functions; the ledger records deliveries."""
    run_file("0017_faults.sql")


def downgrade() -> None:
    """Drop all but the word, which a type cannot lose and no row then holds."""
    run("""
        SELECT ledger.forget_rights('0017');
        DROP TRIGGER verdicts_told ON ledger.verdicts;
        DROP TRIGGER verdicts_changed ON ledger.verdicts;
        DROP FUNCTION ledger.tell_of_verdicts, ledger.tell_of_changes, ledger.batch_images,
            ledger.pending_images, ledger.recount_batch;
        DROP VIEW public.batch_troubles;
        UPDATE ledger.batches SET state = 'recorded' WHERE state = 'set_aside';
        ALTER TABLE ledger.batches
            DROP COLUMN refusals, DROP COLUMN trouble, DROP COLUMN troubled_since,
            DROP COLUMN try_at;
        INSERT INTO ledger.role_rights (since, role, may) VALUES
            ('0008', 'fakesweep_worker',
             'SELECT (webhook_id, verdicts, models, lanes, removed_at) ON ledger.webhooks'),
            ('0008', 'fakesweep_worker',
             'INSERT (webhook_id, image_id, model_id, scan_id, content_id, policy_id, p_fake,
                verdict, kind) ON ledger.webhook_deliveries');
    """)
    versions = resources.files("fakesweep.schema.migrations.versions")
    written = versions.joinpath("0008_webhooks.sql").read_text("utf-8")
    _, start, rest = written.partition("CREATE OR REPLACE FUNCTION public.rejudge")
    run(start + rest.partition("END $$;")[0] + "END $$;")
    run("""
        ALTER FUNCTION public.rejudge SECURITY DEFINER;
        ALTER FUNCTION public.rejudge SET search_path = pg_catalog, pg_temp;
        SELECT ledger.grant_roles();
    """)
