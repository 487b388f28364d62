"""Uploads: streams of images that are handed in, and the answers to those who handed them in."""

from fakesweep.schema.migrations.statements import run, run_file

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add what streams and submissions are known by."""
    run_file("0007_uploads.sql")


def downgrade() -> None:
    """Take all of it back; scans of streams are ended, as no listing will."""
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
