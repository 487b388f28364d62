"""Schedules: scans at times of a clock."""

from fakesweep.schema.migrations.statements import run, run_file

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables of schedules and their views."""
    run_file("0006_schedules.sql")


def downgrade() -> None:
    """Drop them; the scans of schedules stay."""
    run("""
        SELECT ledger.forget_rights('0006');
        DROP VIEW public.schedule_runs, public.schedules;
        DROP INDEX ledger.scans_schedule;
        ALTER TABLE ledger.scans DROP CONSTRAINT scans_schedule_and_time,
            DROP COLUMN due_at, DROP COLUMN schedule_id;
        DROP TABLE ledger.schedule_runs, ledger.schedule_sources, ledger.schedules;
        DROP TYPE ledger.schedule_outcome;
    """)
