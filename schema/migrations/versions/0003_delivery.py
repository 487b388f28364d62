"""Fault tolerance of delivery: quarantine, held batches, producers, unreadable messages."""

from importlib import resources

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the words, columns, tables and views; existing ones keep their meaning."""
    here = resources.files("fakesweep.schema.migrations.versions")
    op.get_bind().exec_driver_sql(
        here.joinpath("0003_delivery.sql").read_text("utf-8"),
        execution_options={"no_parameters": True},
    )


def downgrade() -> None:
    """Drop all but the two words, which a type cannot lose and no row then holds."""
    op.get_bind().exec_driver_sql(
        """
        DROP VIEW public.scan_progress, public.producers, public.unreadable_messages;
        DROP TABLE ledger.producers, ledger.unreadable_messages;
        UPDATE ledger.batches b SET state = 'recorded' WHERE state = 'held';
        UPDATE ledger.batches b SET lane = s.lane
        FROM ledger.scans s WHERE s.scan_id = b.scan_id AND b.lane <> s.lane;
        ALTER TABLE ledger.batches
            DROP COLUMN expiries, DROP COLUMN strikes, DROP COLUMN split_from;
        ALTER TABLE ledger.scans
            DROP CONSTRAINT scans_ask_for_a_lane, DROP COLUMN paused_at, DROP COLUMN cancelled_at;
        """,
        execution_options={"no_parameters": True},
    )
    op.get_bind().exec_driver_sql(
        _first_view("scan_progress"), execution_options={"no_parameters": True}
    )


def _first_view(name: str) -> str:
    """Return the statement that first created a view."""
    views = resources.files("fakesweep.schema.migrations.versions").joinpath("0001_views.sql")
    _, start, rest = views.read_text("utf-8").partition(f"CREATE VIEW public.{name} AS")
    return start + rest.partition(";")[0]
