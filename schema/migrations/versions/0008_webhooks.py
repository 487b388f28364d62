"""Webhooks: subscriptions to verdicts, and deliveries."""

from importlib import resources

from fakesweep.schema.migrations.statements import run, run_file

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add their tables and view; a rejudgement records deliveries."""
    run_file("0008_webhooks.sql")


def downgrade() -> None:
    """Drop them; a rejudgement records no deliveries."""
    run(_first_rejudge())
    run("""
        SELECT ledger.forget_rights('0008');
        DROP VIEW public.webhook_deliveries;
        DROP TABLE ledger.webhook_deliveries, ledger.webhooks;
    """)


def _first_rejudge() -> str:
    """Return the function of the first migration."""
    versions = resources.files("fakesweep.schema.migrations.versions")
    file = versions.joinpath("0001_ledger.sql").read_text("utf-8")
    _, _, rest = file.partition("CREATE FUNCTION public.rejudge")
    return "CREATE OR REPLACE FUNCTION public.rejudge" + rest.partition(";\n\n")[0]
