"""Audits: sightings, parts of a listing, selections; rights as rows."""

from importlib import resources

from fakesweep.schema.migrations.statements import run, run_file

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables and columns; existing ones keep their meaning."""
    run_file("0005_audits.sql")


def downgrade() -> None:
    """Drop all but the word, which a type cannot lose and no row then holds."""
    run("""
        SELECT ledger.forget_rights('0005');
        DROP VIEW public.audit_changes, public.audit_images, public.scan_progress, ledger.rights;
        DROP FUNCTION ledger.forget_rights;
        DROP TABLE ledger.role_rights;
        UPDATE ledger.batches SET state = 'recorded' WHERE state = 'following';
        DROP INDEX ledger.images_content, ledger.images_uri;
        DELETE FROM ledger.images WHERE occurrence <> '';
        ALTER TABLE ledger.images
            DROP COLUMN occurrence, DROP COLUMN change, DROP COLUMN known_content_id;
        CREATE UNIQUE INDEX images_uri ON ledger.images (uri, scan_id);
        ALTER TABLE ledger.scan_sources ADD COLUMN cursor text;
        UPDATE ledger.scan_sources s SET cursor = p.cursor FROM ledger.source_parts p
        WHERE (p.scan_id, p.position, p.part) = (s.scan_id, s.position, 0);
        DROP TABLE ledger.source_parts, ledger.sightings, ledger.vanished;
        ALTER TABLE ledger.scans
            DROP COLUMN is_audit, DROP COLUMN selection, DROP COLUMN archive,
            DROP COLUMN vanished_count;
        DROP TYPE ledger.change;
    """)
    run(_statement("0003_delivery.sql", "CREATE OR REPLACE VIEW public.scan_progress"))
    run(_statement("0004_roles.sql", "CREATE VIEW ledger.rights"))
    run("SELECT ledger.grant_roles()")


def _statement(file: str, beginning: str) -> str:
    """Return the statement of an earlier migration that begins with a text."""
    versions = resources.files("fakesweep.schema.migrations.versions")
    _, start, rest = versions.joinpath(file).read_text("utf-8").partition(beginning)
    return start + rest.partition(";\n\n")[0]
