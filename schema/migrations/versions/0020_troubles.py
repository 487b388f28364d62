"""Listing errors: why a scan cannot be listed."""

from fakesweep.schema.migrations.statements import run, run_file

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add their table and its view."""
    run_file("0020_troubles.sql")


def downgrade() -> None:
    """Drop both; listing errors are found again."""
    run("""
        SELECT ledger.forget_rights('0020');
        DROP VIEW public.listing_troubles;
        DROP TABLE ledger.listing_troubles;
    """)
