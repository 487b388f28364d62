"""Reasons of limited length."""

from fakesweep.schema.migrations.statements import run, run_file

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Cut long reasons, and refuse new ones."""
    run_file("0016_reasons.sql")


def downgrade() -> None:
    """Refuse none; cut reasons stay cut."""
    run("""
        ALTER TABLE ledger.outcomes DROP CONSTRAINT messages_are_short;
        ALTER TABLE ledger.unreadable_messages DROP CONSTRAINT reasons_are_short;
        ALTER TABLE ledger.schedule_runs DROP CONSTRAINT reasons_are_short;
        ALTER TABLE ledger.webhook_deliveries DROP CONSTRAINT errors_are_short;
        ALTER TABLE ledger.outputs DROP CONSTRAINT troubles_are_short;
    """)
