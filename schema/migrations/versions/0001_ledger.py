"""The ledger's tables and the public views over them."""

from importlib import resources

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the schema `ledger`, then the views in `public`."""
    here = resources.files("fakesweep.schema.migrations.versions")
    for name in ("0001_ledger.sql", "0001_views.sql"):
        op.get_bind().exec_driver_sql(
            here.joinpath(name).read_text("utf-8"), execution_options={"no_parameters": True}
        )


def downgrade() -> None:
    """Drop everything, rows included."""
    op.get_bind().exec_driver_sql("DROP SCHEMA ledger CASCADE; DROP FUNCTION set_policy, rejudge")
