"""Messages that were put aside can be acknowledged: they are shown no more."""

from fakesweep.schema.migrations.statements import run, run_file

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Note when a message was acknowledged."""
    run_file("0026_acknowledged.sql")


def downgrade() -> None:
    """Forget it: all of them are shown again."""
    run("SELECT ledger.forget_rights('0026')")
    run("DROP VIEW public.unreadable_messages")
    run("ALTER TABLE ledger.unreadable_messages DROP COLUMN acknowledged_at")
    run("""
        CREATE VIEW public.unreadable_messages AS
        SELECT message_id, queue, reason, body, received_at FROM ledger.unreadable_messages
    """)
    run("SELECT ledger.grant_roles()")
