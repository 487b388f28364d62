"""Uploads: streams of images, and the answers to submissions."""

from fakesweep.schema.migrations.statements import run, run_file

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add streams and submissions."""
    run_file("0007_uploads.sql")


def downgrade() -> None:
    """Drop them; open scans of streams end, as no listing would."""
    run("""
        SELECT ledger.forget_rights('0007');
        DROP TABLE ledger.submissions;
        UPDATE ledger.scan_sources x SET listed_at = now()
        FROM ledger.scans s
        WHERE x.scan_id = s.scan_id AND s.stream IS NOT NULL AND x.listed_at IS NULL;
        UPDATE ledger.scans SET listed_at = now() WHERE stream IS NOT NULL AND listed_at IS NULL;
        ALTER TABLE ledger.scans
            DROP CONSTRAINT scans_of_streams_have_a_policy,
            DROP COLUMN stream, DROP COLUMN stream_policy;
    """)
