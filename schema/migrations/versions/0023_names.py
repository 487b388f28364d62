"""Names and digits: scores with seven decimals, and the usual names of failure columns."""

from fakesweep.schema.migrations.statements import run, run_file

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Round the scores of views, and add two columns to the failures."""
    run_file("0023_names.sql")


def downgrade() -> None:
    """Show scores as stored, and failures without the two columns."""
    run("""
        CREATE OR REPLACE FUNCTION ledger.named_scores(labels text[], scores real[]) RETURNS jsonb
        LANGUAGE sql IMMUTABLE PARALLEL SAFE
        RETURN (SELECT jsonb_object_agg(label, score)
                FROM (SELECT label, sum(score) AS score
                      FROM unnest(labels, scores) AS x (label, score)
                      WHERE label IS NOT NULL GROUP BY label) AS named);
        DROP VIEW public.failures;
        CREATE VIEW public.failures AS
        SELECT o.scan_id, o.image_id, i.uri, o.failure_code AS code, o.failure_message AS message,
               encode(c.sha256, 'hex') AS sha256, c.size_bytes, o.finished_at AS failed_at,
               o.content_id, public.path_of(i.uri) AS path
        FROM ledger.outcomes o
        LEFT JOIN ledger.images i USING (image_id)
        LEFT JOIN ledger.contents c ON c.content_id = o.content_id
        WHERE o.status = 'failed';
        DO $$ BEGIN
            EXECUTE 'CREATE OR REPLACE VIEW public.model_disagreements AS ' || replace(
                pg_get_viewdef('public.model_disagreements'::regclass, true),
                'round(abs(a.p_fake - b.p_fake)::numeric, 7)::double precision',
                'abs(a.p_fake - b.p_fake)');
        END $$;
        SELECT ledger.grant_roles()
    """)
