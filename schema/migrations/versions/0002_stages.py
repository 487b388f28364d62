"""Throughput of workers, and the public view of workers."""

from importlib import resources

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns of a worker's report, and the view `workers`."""
    here = resources.files("fakesweep.schema.migrations.versions")
    op.get_bind().exec_driver_sql(
        here.joinpath("0002_stages.sql").read_text("utf-8"),
        execution_options={"no_parameters": True},
    )


def downgrade() -> None:
    """Drop the view and the reports."""
    op.get_bind().exec_driver_sql("""
        DROP VIEW public.workers;
        ALTER TABLE ledger.workers
            DROP COLUMN stages_lately, DROP COLUMN stages_total, DROP COLUMN stages_at
    """)
