"""Formats: the origin of a content's pixels; undecodable pictures in the review queue."""

from importlib import resources

from fakesweep.schema.migrations.statements import run, run_file

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the words, the column and the indexes; show both in the views."""
    run_file("0013_formats.sql")


def downgrade() -> None:
    """Drop all but the word, which a type cannot lose and no row then holds."""
    run("""
        SELECT ledger.forget_rights('0013');
        DROP VIEW public.verdicts, public.review_queue;
        UPDATE ledger.outcomes SET failure_code = 'not_an_image'
        WHERE failure_code::text = 'unsupported';
        ALTER TABLE ledger.contents DROP COLUMN read_as;
        DROP TYPE ledger.read_as;
        DROP INDEX ledger.outcomes_failed_content, ledger.outcomes_failed_image;
        CREATE INDEX outcomes_failed_content ON ledger.outcomes (content_id)
            WHERE status = 'failed' AND content_id IS NOT NULL;
    """)
    for view in ("verdicts", "review_queue"):
        run(_statement("0010_scale.sql", f"CREATE OR REPLACE VIEW public.{view}"))
    run("SELECT ledger.grant_roles()")


def _statement(file: str, beginning: str) -> str:
    """Return the statement of an earlier migration that begins with a text."""
    versions = resources.files("fakesweep.schema.migrations.versions")
    _, start, rest = versions.joinpath(file).read_text("utf-8").partition(beginning)
    return start + rest.partition(";\n")[0]
