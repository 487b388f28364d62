"""Verdicts of a failed image by its other models, which a retry deletes with the failure."""

from pathlib import Path

from fakesweep.schema.migrations.statements import run, run_file

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

_FORGETS_VERDICTS = """, unsaid AS (
        DELETE FROM ledger.verdicts v USING forgotten f WHERE v.image_id = f.image_id
    )"""


def upgrade() -> None:
    """Make a retry delete the verdicts of other models."""
    run_file("0024_models_apart.sql")


def downgrade() -> None:
    """Make a retry delete failures alone; drop verdicts of failed images."""
    written = (Path(__file__).parent / "0024_models_apart.sql").read_text("utf-8")
    run(written.replace(_FORGETS_VERDICTS, ""))
    run("""
        DELETE FROM ledger.verdicts v USING ledger.outcomes o
        WHERE o.image_id = v.image_id AND o.status = 'failed'
    """)
