"""Renamed images in `audit_changes`."""

from fakesweep.schema.migrations.statements import run, run_file

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Pair new and vanished images by content."""
    run_file("0018_renamed.sql")


def downgrade() -> None:
    """Show them as new and vanished again."""
    run("""
        DROP VIEW public.audit_changes, ledger.renamed;
        CREATE VIEW public.audit_changes AS
        SELECT b.scan_id, i.change::text AS change, i.uri, i.size_bytes, i.etag, i.modified_at,
               i.image_id,
               public.path_of(i.uri) AS path
        FROM ledger.batches b JOIN ledger.images i USING (batch_id)
        WHERE i.change IS NOT NULL
        UNION ALL
        SELECT v.scan_id, 'vanished', i.uri, i.size_bytes, i.etag, i.modified_at, i.image_id,
               public.path_of(i.uri)
        FROM ledger.vanished v JOIN ledger.images i USING (image_id);
        SELECT ledger.grant_roles();
    """)
