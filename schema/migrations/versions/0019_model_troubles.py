"""Models that a worker cannot load."""

from fakesweep.schema.migrations.statements import run, run_file

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table and its view."""
    run_file("0019_model_troubles.sql")


def downgrade() -> None:
    """Drop both."""
    run("""
        SELECT ledger.forget_rights('0019');
        DROP VIEW public.model_troubles;
        DROP TABLE ledger.model_troubles;
    """)
