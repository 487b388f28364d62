"""API tokens: scopes and rates."""

from fakesweep.schema.migrations.statements import run, run_file

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add their table."""
    run_file("0011_tokens.sql")


def downgrade() -> None:
    """Drop it; every holder needs a new token."""
    run("""
        SELECT ledger.forget_rights('0011');
        DROP TABLE ledger.api_tokens;
    """)
