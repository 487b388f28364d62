-- What keeps one batch at fault from the others, and what the ledger does with its own hands: it says
-- which images a batch has, counts them, and tells webhooks of verdicts.

-- A new word cannot be used before this transaction ends, so what names it below is read later.
ALTER TYPE ledger.batch_state ADD VALUE IF NOT EXISTS 'set_aside';

-- `trouble` is why a batch could not be stored or brought back, `refusals` how many times in a row;
-- it is set aside until `try_at`.
ALTER TABLE ledger.batches
    ADD COLUMN refusals integer NOT NULL DEFAULT 0,
    ADD COLUMN trouble text CHECK (octet_length(trouble) <= 8000),
    ADD COLUMN troubled_since timestamptz,
    ADD COLUMN try_at timestamptz;
CREATE INDEX batches_troubled ON ledger.batches (scan_id) WHERE trouble IS NOT NULL;

CREATE VIEW public.batch_troubles AS
SELECT b.scan_id, b.batch_id, b.lane::text AS lane, b.state::text AS state,
       b.image_count - b.classified_count - b.reused_count - b.failed_count AS pending,
       b.trouble AS reason, b.refusals, b.troubled_since, b.try_at
FROM ledger.batches b WHERE b.trouble IS NOT NULL AND b.state <> 'done';

-- The images of a batch in work, and those that it still waits for, for who holds it at this attempt.
-- The settings keep the plan to the indexes, however small the tables were when a session began.
CREATE FUNCTION ledger.batch_images(batch bigint, held_at integer)
RETURNS TABLE (image_id bigint, uri text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
    RETURN QUERY
    SELECT i.image_id, i.uri FROM ledger.batches b JOIN ledger.images i ON i.batch_id = b.batch_id
    WHERE b.batch_id = batch AND b.attempt = held_at AND b.state = 'running'
    ORDER BY i.image_id;
END $$;
CREATE FUNCTION ledger.pending_images(batch bigint, held_at integer)
RETURNS TABLE (image_id bigint, uri text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
    PERFORM FROM ledger.batches b
    WHERE b.batch_id = batch AND b.attempt = held_at AND b.state = 'running';
    IF FOUND THEN
        RETURN QUERY
        SELECT i.image_id, i.uri FROM ledger.images i
        WHERE i.batch_id = batch
          AND NOT EXISTS (SELECT FROM ledger.outcomes o WHERE o.image_id = i.image_id)
        ORDER BY i.image_id;
    END IF;
END $$;

-- Let a batch's counts be those of the rows there are, and the batch be done where none is pending.
-- Returns whether it is done.
CREATE FUNCTION ledger.recount_batch(batch bigint) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    is_done boolean;
BEGIN
    PERFORM FROM ledger.batches b WHERE b.batch_id = batch FOR UPDATE;
    UPDATE ledger.batches b
    SET image_count = c.images, classified_count = c.classified, reused_count = c.reused,
        failed_count = c.failed,
        attempt = CASE WHEN c.is_done AND b.state <> 'done' THEN b.attempt + 1 ELSE b.attempt END,
        finished_at = CASE WHEN c.is_done THEN coalesce(b.finished_at, now()) END,
        lease_until = CASE WHEN NOT c.is_done THEN b.lease_until END,
        state = CASE WHEN c.is_done THEN 'done' WHEN b.state = 'done' THEN 'recorded'
                     ELSE b.state END
    FROM (
        SELECT count(*) AS images, count(*) = count(o.image_id) AS is_done,
               count(*) FILTER (WHERE o.status = 'classified') AS classified,
               count(*) FILTER (WHERE o.status = 'reused') AS reused,
               count(*) FILTER (WHERE o.status = 'failed') AS failed
        FROM ledger.images i LEFT JOIN ledger.outcomes o ON o.image_id = i.image_id
        WHERE i.batch_id = batch
    ) AS c
    WHERE b.batch_id = batch
    RETURNING b.state = 'done' INTO is_done;
    RETURN coalesce(is_done, false);
END $$;

-- Webhooks are told of the verdicts that the ledger holds, and by the ledger alone: of an image that
-- has just ended, by a model that its scan asks for, as its score and its policy say. Verdicts are
-- written before outcomes, so an image that has one already ended before.
CREATE FUNCTION ledger.tell_of_verdicts() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
    PERFORM FROM ledger.webhooks w WHERE w.removed_at IS NULL;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    INSERT INTO ledger.webhook_deliveries
        (webhook_id, image_id, model_id, scan_id, content_id, policy_id, p_fake, verdict, kind)
    SELECT w.webhook_id, g.image_id, g.model_id, g.scan_id, g.content_id, g.policy_id, g.p_fake,
           g.verdict, g.kind
    FROM given g
    JOIN ledger.webhooks w ON g.verdict = ANY (w.verdicts)
    JOIN ledger.images i ON i.image_id = g.image_id AND i.scan_id = g.scan_id
    JOIN ledger.scans s ON s.scan_id = g.scan_id
    JOIN ledger.models m ON m.model_id = g.model_id AND m.key = ANY (s.model_keys)
    JOIN ledger.policies q ON q.policy_id = g.policy_id
    JOIN ledger.predictions p ON p.content_id = g.content_id AND p.model_id = g.model_id
    WHERE w.removed_at IS NULL
      AND (w.models IS NULL OR m.key = ANY (w.models))
      AND (w.lanes IS NULL OR s.lane = ANY (w.lanes))
      AND p.p_fake = g.p_fake
      AND public.judge(p.p_fake, q.real_below, q.fake_above) = g.verdict
      AND NOT EXISTS (SELECT FROM ledger.outcomes o WHERE o.image_id = g.image_id)
    ORDER BY g.image_id, g.model_id, w.webhook_id;
    RETURN NULL;
END $$;
CREATE TRIGGER verdicts_told AFTER INSERT ON ledger.verdicts
REFERENCING NEW TABLE AS given FOR EACH STATEMENT EXECUTE FUNCTION ledger.tell_of_verdicts();

-- Who was told of a word, or asks for the new one, is told of a change.
CREATE FUNCTION ledger.tell_of_changes() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM FROM ledger.webhooks w WHERE w.removed_at IS NULL;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    INSERT INTO ledger.webhook_deliveries
        (webhook_id, image_id, model_id, scan_id, content_id, policy_id, p_fake, verdict, kind,
         before)
    SELECT w.webhook_id, g.image_id, g.model_id, g.scan_id, g.content_id, g.policy_id, g.p_fake,
           g.verdict, g.kind, f.verdict
    FROM former f
    JOIN given g ON g.image_id = f.image_id AND g.model_id = f.model_id
    JOIN ledger.webhooks w ON g.verdict = ANY (w.verdicts) OR f.verdict = ANY (w.verdicts)
    JOIN ledger.scans s ON s.scan_id = g.scan_id
    JOIN ledger.models m ON m.model_id = g.model_id
    WHERE f.verdict <> g.verdict AND w.removed_at IS NULL
      AND (w.models IS NULL OR m.key = ANY (w.models))
      AND (w.lanes IS NULL OR s.lane = ANY (w.lanes))
    ORDER BY g.image_id, g.model_id, w.webhook_id;
    RETURN NULL;
END $$;
CREATE TRIGGER verdicts_changed AFTER UPDATE ON ledger.verdicts
REFERENCING OLD TABLE AS former NEW TABLE AS given
FOR EACH STATEMENT EXECUTE FUNCTION ledger.tell_of_changes();

-- As before, and no store of the scan goes by the former policy when this ends: what was stored while
-- it judged, it judges too, and what is stored after that waits for it.
CREATE OR REPLACE FUNCTION public.rejudge(scan bigint, policy text)
RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    chosen ledger.policies;
    in_pass bigint;
    changed bigint := 0;
BEGIN
    SELECT * INTO chosen FROM ledger.policies p
    WHERE p.name = policy ORDER BY p.policy_id DESC LIMIT 1;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no policy named %', policy;
    END IF;
    UPDATE ledger.scans SET policy_id = chosen.policy_id WHERE scan_id = scan;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no scan %', scan;
    END IF;
    FOR pass IN 1..2 LOOP
        IF pass = 2 THEN
            PERFORM pg_advisory_xact_lock(hashtext('fakesweep judging'), scan::integer);
        END IF;
        WITH judged AS (
            SELECT v.image_id, v.model_id, v.verdict AS before, p.p_fake, p.kind,
                   public.judge(p.p_fake, chosen.real_below, chosen.fake_above) AS after
            FROM ledger.verdicts v JOIN ledger.predictions p USING (content_id, model_id)
            WHERE v.scan_id = scan AND v.policy_id <> chosen.policy_id
        ), written AS (
            UPDATE ledger.verdicts v
            SET policy_id = chosen.policy_id, p_fake = j.p_fake, verdict = j.after,
                kind = CASE WHEN j.after <> 'real' THEN j.kind END, judged_at = now()
            FROM judged j WHERE (v.image_id, v.model_id) = (j.image_id, j.model_id)
            RETURNING j.before <> j.after AS differs
        )
        SELECT count(*) FILTER (WHERE differs) INTO in_pass FROM written;
        changed := changed + in_pass;
    END LOOP;
    RETURN changed;
END $$;

REVOKE EXECUTE ON FUNCTION ledger.batch_images, ledger.pending_images, ledger.recount_batch, ledger.tell_of_verdicts,
    ledger.tell_of_changes, public.rejudge FROM PUBLIC;

-- Nobody but the ledger writes a delivery, and workers need not know that there are webhooks.
SELECT ledger.take_right('fakesweep_worker', may) FROM ledger.role_rights
WHERE role = 'fakesweep_worker'
  AND (may LIKE 'INSERT (%ON ledger.webhook_deliveries' OR may LIKE 'SELECT (%ON ledger.webhooks');

INSERT INTO ledger.role_rights (since, role, may) VALUES
    ('0017', 'fakesweep_analyst', 'SELECT ON public.batch_troubles'),
    ('0017', 'fakesweep_worker', 'EXECUTE ON FUNCTION ledger.batch_images, ledger.pending_images, ledger.recount_batch'),
    ('0017', 'fakesweep_worker',
     'UPDATE (refusals, trouble, troubled_since, try_at) ON ledger.batches'),
    ('0017', 'fakesweep_producer', 'SELECT ON public.batch_troubles'),
    ('0017', 'fakesweep_producer', 'EXECUTE ON FUNCTION ledger.recount_batch'),
    ('0017', 'fakesweep_producer',
     'UPDATE (refusals, trouble, troubled_since, try_at) ON ledger.batches');
SELECT ledger.grant_roles();
