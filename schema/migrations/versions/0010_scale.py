"""Tens of millions of rows: counters, faster views, retention."""

from importlib import resources

from fakesweep.schema.migrations.statements import run, run_file

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the counters, their triggers, marks and indexes; the views read them."""
    run_file("0010_scale.sql")


def downgrade() -> None:
    """Drop them; restore the views."""
    run("""
        DROP VIEW public.scan_progress;
        DROP TRIGGER verdicts_added ON ledger.verdicts;
        DROP TRIGGER batches_added ON ledger.batches;
        DROP TRIGGER batches_counted ON ledger.batches;
        DROP TRIGGER batches_dropped ON ledger.batches;
        DROP FUNCTION ledger.supersede, ledger.count_batch;
        DROP TABLE ledger.scan_counts;
        DROP INDEX ledger.batches_finished;
    """)
    for view in ("verdicts", "review_queue", "failures", "model_disagreements"):
        replaced = _statement("0001_views.sql", f"CREATE VIEW public.{view}")
        run(replaced.replace("CREATE VIEW", "CREATE OR REPLACE VIEW").replace(*AMBIGUOUS))
    run("""
        DROP INDEX ledger.verdicts_review, ledger.verdicts_newest;
        CREATE INDEX verdicts_review ON ledger.verdicts (p_fake, image_id, model_id)
            WHERE verdict <> 'real';
        ALTER TABLE ledger.verdicts DROP COLUMN is_superseded;
        ALTER TABLE ledger.sightings DROP COLUMN sighting_id;
        ALTER TABLE ledger.scans DROP COLUMN pruned_at;
    """)
    progress = _statement("0005_audits.sql", "CREATE OR REPLACE VIEW public.scan_progress")
    run(progress.replace("SELECT s.*", f"SELECT {SCANS_OF_0005}"))
    run("SELECT ledger.grant_roles()")


SCANS_OF_0005 = """
    s.scan_id, s.name, s.lane, s.model_keys, s.created_at, s.listed_at, s.paused_at,
    s.cancelled_at, s.is_audit, s.vanished_count
"""
"""The view's columns; those of later migrations would depend on it."""

AMBIGUOUS = ("contents c USING (content_id)", "contents c ON c.content_id = o.content_id")
"""Written before images had such a column."""


def _statement(file: str, beginning: str) -> str:
    """Return the statement of an earlier migration that begins with a text."""
    versions = resources.files("fakesweep.schema.migrations.versions")
    _, start, rest = versions.joinpath(file).read_text("utf-8").partition(beginning)
    return start + rest.partition(";\n")[0]
