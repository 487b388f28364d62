"""Rates that a retry does not change, and no time left before it is known."""

from pathlib import Path

from fakesweep.schema.migrations.statements import run, run_file

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

_BEGIN = "CREATE OR REPLACE VIEW public.scan_progress AS"
_END = ") AS rated;"


def upgrade() -> None:
    """Define rates and times left once, in the view."""
    run_file("0025_rates.sql")


def downgrade() -> None:
    """Restore the view of `0010_scale.sql`."""
    made = Path(__file__).with_name("0010_scale.sql").read_text("utf-8")
    view = made[made.index(_BEGIN) :]
    run("DROP VIEW public.scan_progress")
    run(view[: view.index(_END) + len(_END)])
    run("SELECT ledger.grant_roles()")
