"""Outputs: files written while a scan runs; tokens of requests."""

from fakesweep.schema.migrations.statements import run, run_file

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables, the views, and the request of a scan with a token."""
    run_file("0009_outputs.sql")


def downgrade() -> None:
    """Drop them; written files stay where they are."""
    run("""
        SELECT ledger.forget_rights('0009');
        DROP VIEW public.output_parts, public.outputs;
        DROP TABLE ledger.output_batches, ledger.output_parts, ledger.outputs;
        ALTER TABLE ledger.scans DROP COLUMN asked, DROP COLUMN token;
    """)
