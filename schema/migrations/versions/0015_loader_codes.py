"""Failure codes for images that timed out in their loader, or whose loader was killed."""

from fakesweep.schema.migrations.statements import run, run_file

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the codes."""
    run_file("0015_loader_codes.sql")


def downgrade() -> None:
    """Restore the former codes of such failures; the type keeps the unused words."""
    run("""
        UPDATE ledger.outcomes SET failure_code = 'corrupt'
        WHERE status = 'failed' AND failure_code::text IN ('decode_timed_out', 'killed_loader')
    """)
