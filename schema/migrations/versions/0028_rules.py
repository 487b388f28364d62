"""Rules of several statements, each in one function or view."""

from fakesweep.schema.migrations.statements import run, run_file, statement_of

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None

_FUNCTIONS = {
    "0001_ledger.sql": ("public.set_policy",),
    "0012_rights.sql": ("ledger.open_stream",),
    "0017_faults.sql": (
        "ledger.tell_of_verdicts",
        "ledger.tell_of_changes",
        "ledger.pending_images",
        "public.rejudge",
    ),
    "0022_events.sql": ("ledger.tell_events",),
}


def upgrade() -> None:
    """Create functions of the rules, which views and functions call."""
    run_file("0028_rules.sql")


def downgrade() -> None:
    """Restore the statements with the rules written out."""
    run("SELECT ledger.forget_rights('0028')")
    for file, names in _FUNCTIONS.items():
        for name in names:
            run(statement_of(file, f"FUNCTION {name}(", "\nEND $$;"))
    run("DROP VIEW public.scan_progress")
    run(statement_of("0027_reading.sql", "VIEW public.scan_progress AS"))
    for view in ("batches", "webhooks"):
        run(statement_of("0027_reading.sql", f"VIEW public.{view} AS"))
    run(statement_of("0019_model_troubles.sql", "VIEW public.model_troubles AS"))
    run("""
        DROP VIEW ledger.pending;
        DROP FUNCTION ledger.standing_policy, ledger.is_held, ledger.pending_of, ledger.ended_of,
            ledger.is_expired, ledger.kind_told, ledger.wants, ledger.is_open, ledger.next_try;
        SELECT ledger.grant_roles()
    """)
