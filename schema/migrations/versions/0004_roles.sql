-- Who may do what. Nobody logs in as one of these roles: people and processes are members of them.
-- Roles belong to the server and not to a database, so they are made where they are missing, and
-- dropped never.

-- Every right that the migrations give, each as GRANT says it. A migration that changes them calls
-- `revoke_roles`, replaces this view, and calls `grant_roles`.
CREATE VIEW ledger.rights (role, may) AS
SELECT role, may
FROM (VALUES
    -- Reads the views and nothing else; opens its queries as `fakesweep sql` does.
    ('fakesweep_analyst', ARRAY[
        'USAGE ON SCHEMA ledger',
        'SELECT ON alembic_version',
        'SELECT ON public.verdicts, public.review_queue, public.scan_progress, public.failures,
            public.model_disagreements, public.workers, public.producers, public.models,
            public.policies, public.unreadable_messages',
        'EXECUTE ON FUNCTION ledger.open_query, ledger.named_scores, public.content_id_of,
            public.judge'
    ]),
    -- Takes batches and answers for their images. It asks for nothing, and takes nothing back.
    ('fakesweep_worker', ARRAY[
        'USAGE ON SCHEMA ledger',
        'SELECT ON alembic_version',
        format('TEMPORARY ON DATABASE %I', current_database()),
        'SELECT ON ledger.scans, ledger.policies, ledger.batches, ledger.contents,
            ledger.predictions, ledger.models, ledger.workers',
        'INSERT ON ledger.contents, ledger.predictions, ledger.verdicts, ledger.outcomes,
            ledger.models, ledger.model_loads, ledger.workers, ledger.unreadable_messages',
        'UPDATE (state, attempt, worker_id, lease_until, finished_at, classified_count,
            reused_count, failed_count) ON ledger.batches',
        'UPDATE (width, height, format, frame_count) ON ledger.contents',
        'UPDATE (superseded_at) ON ledger.models',
        'UPDATE (seen_at, stages_lately, stages_total, stages_at, stopped_at) ON ledger.workers',
        'EXECUTE ON FUNCTION public.judge'
    ]),
    -- Asks, steers, publishes and judges again. It can put no score into the ledger, nor change one.
    ('fakesweep_producer', ARRAY[
        'USAGE ON SCHEMA ledger',
        'SELECT ON alembic_version',
        'SELECT ON public.verdicts, public.review_queue, public.scan_progress, public.failures,
            public.model_disagreements, public.workers, public.producers, public.models,
            public.policies, public.unreadable_messages',
        'SELECT ON ledger.scans, ledger.scan_sources, ledger.batches, ledger.images,
            ledger.outcomes, ledger.contents, ledger.predictions, ledger.verdicts, ledger.models,
            ledger.policies, ledger.workers, ledger.producers',
        'INSERT ON ledger.policies, ledger.scans, ledger.scan_sources, ledger.batches,
            ledger.images, ledger.outcomes, ledger.producers',
        'UPDATE (policy_id, listed_at, paused_at, cancelled_at) ON ledger.scans',
        'UPDATE (cursor, listed_at) ON ledger.scan_sources',
        'UPDATE (lane, state, image_count, failed_count, attempt, lease_until, published_at,
            finished_at, expiries, strikes) ON ledger.batches',
        'UPDATE (batch_id) ON ledger.images',
        'UPDATE (policy_id, p_fake, verdict, kind, judged_at) ON ledger.verdicts',
        'UPDATE (seen_at, stopped_at) ON ledger.producers',
        'DELETE ON ledger.batches, ledger.outcomes',
        'EXECUTE ON FUNCTION ledger.open_query, ledger.named_scores, public.content_id_of,
            public.judge, public.set_policy, public.rejudge'
    ])
) AS given (role, rights) CROSS JOIN unnest(rights) AS may;

-- Make the roles that are missing, and give each its rights; safe to repeat. Returns the roles that
-- the server lacks and this user may not make: without them everything still works for the owner.
CREATE FUNCTION ledger.grant_roles() RETURNS text[] LANGUAGE plpgsql AS $$
DECLARE
    wanted text;
    granted text;
    missing text[] := '{}';
BEGIN
    FOR wanted IN SELECT DISTINCT role FROM ledger.rights ORDER BY role LOOP
        IF to_regrole(wanted) IS NULL THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
            EXCEPTION
                WHEN duplicate_object OR unique_violation THEN
                    NULL;  -- a migration of another database made it at this moment
                WHEN insufficient_privilege THEN
                    RAISE NOTICE 'role % is missing, and % may not make it', wanted, current_user;
                    missing := missing || wanted;
                    CONTINUE;
            END;
        END IF;
        FOR granted IN SELECT may FROM ledger.rights WHERE role = wanted LOOP
            EXECUTE format('GRANT %s TO %I', granted, wanted);
        END LOOP;
    END LOOP;
    RETURN missing;
END $$;

CREATE FUNCTION ledger.revoke_roles() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    wanted text;
    granted text;
BEGIN
    FOR wanted, granted IN SELECT role, may FROM ledger.rights LOOP
        IF to_regrole(wanted) IS NOT NULL THEN
            EXECUTE format('REVOKE %s FROM %I', granted, wanted);
        END IF;
    END LOOP;
END $$;

-- What PostgreSQL gives to everybody by default, and strangers need not have: functions that write
-- or that see more than their caller, tables of their own (before PostgreSQL 15), temporary tables.
REVOKE EXECUTE ON FUNCTION ledger.grant_roles, ledger.revoke_roles, public.set_policy,
    public.rejudge, public.content_id_of FROM PUBLIC;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
DO $$ BEGIN
    EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
END $$;

SELECT ledger.grant_roles();
