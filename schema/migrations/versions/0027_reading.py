"""Views of everything that people see."""

from fakesweep.schema.migrations.statements import run, run_file, statement_of

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add views, and columns at the end of others."""
    run_file("0027_reading.sql")


def downgrade() -> None:
    """Drop them, and restore the views of `0001`, `0002`, `0017` and `0025`."""
    run("SELECT ledger.forget_rights('0027')")
    run("""
        DROP VIEW public.scan_sources, public.pattern_matches, public.images, public.results,
            public.webhooks, public.batch_troubles, public.batches;
        DROP VIEW public.scan_progress, public.policies, public.workers
    """)
    for name, view in (
        ("0001_views.sql", "policies"),
        ("0002_stages.sql", "workers"),
        ("0017_faults.sql", "batch_troubles"),
        ("0025_rates.sql", "scan_progress"),
    ):
        run(statement_of(name, f"VIEW public.{view} AS"))
    run("SELECT ledger.grant_roles()")
