"""The column `bottleneck` of the view `workers`, beside `wall`."""

from fakesweep.schema.migrations.statements import run, run_file, statement_of

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Append the column."""
    run_file("0030_bottleneck.sql")


def downgrade() -> None:
    """Restore the view of `0027`, and the view of `0028` that reads it."""
    run("DROP VIEW public.model_troubles, public.workers")
    run(statement_of("0027_reading.sql", "VIEW public.workers AS"))
    run(statement_of("0028_rules.sql", "VIEW public.model_troubles AS"))
    run("SELECT ledger.grant_roles()")
