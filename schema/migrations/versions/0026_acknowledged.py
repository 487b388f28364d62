"""Acknowledgement of unreadable messages, which hides them."""

from fakesweep.schema.migrations.statements import run, run_file

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the time of the acknowledgement."""
    run_file("0026_acknowledged.sql")


def downgrade() -> None:
    """Drop it; all messages are shown again."""
    run("SELECT ledger.forget_rights('0026')")
    run("DROP VIEW public.unreadable_messages")
    run("ALTER TABLE ledger.unreadable_messages DROP COLUMN acknowledged_at")
    run("""
        CREATE VIEW public.unreadable_messages AS
        SELECT message_id, queue, reason, body, received_at FROM ledger.unreadable_messages
    """)
    run("SELECT ledger.grant_roles()")
