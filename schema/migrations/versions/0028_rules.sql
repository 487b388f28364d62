-- Each rule stands once. Functions of one expression are inlined by PostgreSQL into the statements
-- that call them, so they cost nothing and indexes answer for them.

-- Nothing of a scan is taken up while it is paused, nor once it is cancelled.
CREATE FUNCTION ledger.is_held(paused_at timestamptz, cancelled_at timestamptz) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN paused_at IS NOT NULL OR cancelled_at IS NOT NULL;

-- Images of a batch that have ended, and those that have not.
CREATE FUNCTION ledger.ended_of(batch ledger.batches) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (batch).classified_count + (batch).reused_count + (batch).failed_count;

CREATE FUNCTION ledger.pending_of(batch ledger.batches) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (batch).image_count - ledger.ended_of(batch);

-- Whether the worker that has a batch has let its lease run out.
CREATE FUNCTION ledger.is_expired(batch ledger.batches) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
RETURN (batch).state = 'running' AND (batch).lease_until < now();

-- What is real is of no kind.
CREATE FUNCTION ledger.kind_told(verdict ledger.verdict, kind ledger.kind) RETURNS ledger.kind
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN verdict <> 'real' THEN kind END;

-- Whether a webhook asks for what is of these models and this lane.
CREATE FUNCTION ledger.wants(webhook ledger.webhooks, models text[], lane ledger.lane)
RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (webhook).removed_at IS NULL
   AND ((webhook).models IS NULL OR (webhook).models && models)
   AND ((webhook).lanes IS NULL OR lane = ANY ((webhook).lanes));

-- Whether a delivery is still to be made.
CREATE FUNCTION ledger.is_open(delivery ledger.webhook_deliveries) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (delivery).delivered_at IS NULL AND (delivery).dead_at IS NULL;

-- What has been in trouble since a moment is tried again after as long as that has lasted: after a
-- second at least.
CREATE FUNCTION ledger.next_try(since timestamptz, at_most interval) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE
RETURN now() + least(at_most, greatest(interval '1 second', now() - coalesce(since, now())));

-- The images without an outcome.
CREATE VIEW ledger.pending AS
SELECT i.image_id, i.batch_id, i.scan_id, i.uri FROM ledger.images i
WHERE NOT EXISTS (SELECT FROM ledger.outcomes o WHERE o.image_id = i.image_id);

CREATE OR REPLACE FUNCTION ledger.pending_images(batch bigint, held_at integer)
RETURNS TABLE (image_id bigint, uri text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
    PERFORM FROM ledger.batches b
    WHERE b.batch_id = batch AND b.attempt = held_at AND b.state = 'running';
    IF FOUND THEN
        RETURN QUERY
        SELECT i.image_id, i.uri FROM ledger.pending i
        WHERE i.batch_id = batch ORDER BY i.image_id;
    END IF;
END $$;

-- The newest policy of a name where it has these cut points.
CREATE FUNCTION ledger.standing_policy(
    policy text, real_below double precision, fake_above double precision
) RETURNS integer LANGUAGE sql STABLE PARALLEL SAFE
RETURN (SELECT p.policy_id FROM public.policies p
        WHERE p.name = policy AND p.is_current
          AND (p.real_below, p.fake_above)
            = (standing_policy.real_below, standing_policy.fake_above));

CREATE OR REPLACE FUNCTION public.set_policy(
    name text, real_below double precision, fake_above double precision
) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    standing integer := ledger.standing_policy(name, real_below, fake_above);
BEGIN
    IF standing IS NULL THEN
        INSERT INTO ledger.policies AS p (name, real_below, fake_above)
        VALUES (set_policy.name, set_policy.real_below, set_policy.fake_above)
        RETURNING p.policy_id INTO standing;
    END IF;
    RETURN standing;
END $$;

CREATE OR REPLACE FUNCTION public.rejudge(scan bigint, policy text)
RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    chosen public.policies;
    in_pass bigint;
    changed bigint := 0;
BEGIN
    SELECT * INTO chosen FROM public.policies p WHERE p.name = policy AND p.is_current;
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
                kind = ledger.kind_told(j.after, j.kind), judged_at = now()
            FROM judged j WHERE (v.image_id, v.model_id) = (j.image_id, j.model_id)
            RETURNING j.before <> j.after AS differs
        )
        SELECT count(*) FILTER (WHERE differs) INTO in_pass FROM written;
        changed := changed + in_pass;
    END LOOP;
    RETURN changed;
END $$;

CREATE OR REPLACE FUNCTION ledger.open_stream(
    wanted text, wanted_lane ledger.lane, policy text, models text[]
) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    found_id bigint;
    closed bigint[];
    is_locked boolean := false;
BEGIN
    LOOP
        SELECT s.scan_id INTO found_id FROM ledger.scans s
        WHERE s.stream = wanted AND s.lane = wanted_lane AND s.stream_policy = policy
          AND s.model_keys = models AND s.listed_at IS NULL AND s.cancelled_at IS NULL
          AND s.created_at >= date_trunc('day', now(), 'UTC')
          AND s.policy_id = (
              SELECT p.policy_id FROM public.policies p WHERE p.name = s.stream_policy AND p.is_current
          )
        FOR SHARE OF s;
        IF FOUND THEN
            RETURN found_id;
        ELSIF NOT is_locked THEN
            PERFORM pg_advisory_xact_lock(hashtext('fakesweep stream'), hashtext(wanted));
            is_locked := true;
            CONTINUE;
        END IF;
        WITH ended AS (
            UPDATE ledger.scans s SET listed_at = now()
            WHERE s.stream = wanted AND s.lane = wanted_lane AND s.stream_policy = policy
              AND s.model_keys = models AND s.listed_at IS NULL AND s.cancelled_at IS NULL
            RETURNING s.scan_id
        ) SELECT array_agg(scan_id) INTO closed FROM ended;
        UPDATE ledger.scan_sources x SET listed_at = now()
        WHERE x.scan_id = ANY (closed) AND x.listed_at IS NULL;
        INSERT INTO ledger.scans (name, lane, policy_id, model_keys, stream, stream_policy)
        SELECT wanted || ' ' || to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD'),
               wanted_lane, p.policy_id, models, wanted, policy
        FROM public.policies p WHERE p.name = policy AND p.is_current
        RETURNING scan_id INTO found_id;
        INSERT INTO ledger.scan_sources (scan_id, position, source)
        VALUES (found_id, 0, 'stream:' || wanted);
    END LOOP;
END $$;

CREATE OR REPLACE FUNCTION ledger.tell_of_verdicts() RETURNS trigger
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
    WHERE ledger.wants(w, ARRAY[m.key], s.lane)
      AND p.p_fake = g.p_fake
      AND public.judge(p.p_fake, q.real_below, q.fake_above) = g.verdict
      AND NOT EXISTS (SELECT FROM ledger.outcomes o WHERE o.image_id = g.image_id)
    ORDER BY g.image_id, g.model_id, w.webhook_id;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION ledger.tell_of_changes() RETURNS trigger
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
    WHERE f.verdict <> g.verdict AND ledger.wants(w, ARRAY[m.key], s.lane)
    ORDER BY g.image_id, g.model_id, w.webhook_id;
    RETURN NULL;
END $$;

-- As before, and whether a scan stays as it is until somebody acts.
CREATE OR REPLACE VIEW public.scan_progress AS
SELECT scan_id, name, lane, state, submitted, classified, reused, failed, pending,
       round(rate::numeric, 2) AS images_per_second,
       CASE WHEN state = 'running' AND is_known THEN round((pending / rate)::numeric, 1)
       END AS seconds_left,
       model_keys AS models, policy, created_at, listed_at,
       CASE state WHEN 'finished' THEN ended_at WHEN 'cancelled' THEN cancelled_at
       END AS finished_at,
       paused_at,
       greatest(created_at, listed_at, last_created_at, last_finished_at) AS progressed_at,
       is_audit, unchanged, new, changed, again, vanished_count AS vanished, pruned_at,
       CASE WHEN state = 'listing' AND is_known THEN round((pending / rate)::numeric, 1)
       END AS seconds_left_so_far,
       CASE state WHEN 'finished' THEN first_ended_at END AS first_finished_at,
       policy_id, selection, state IN ('finished', 'cancelled') AS has_ended
FROM (
    SELECT *, rate > 0 AND (first_finished_at <= now() - interval '10 seconds'
                            OR started_at <= now() - interval '60 seconds') AS is_known
    FROM (
    SELECT *,
           CASE WHEN state = 'finished'
                THEN submitted / greatest(0.001, extract(epoch FROM first_ended_at - created_at))
                ELSE last_minute / least(60, greatest(1, extract(epoch FROM now() - started_at)))
           END AS rate
    FROM (
        SELECT s.scan_id, s.name, s.lane, s.model_keys, s.created_at, s.listed_at, s.paused_at,
               s.cancelled_at, s.is_audit, s.vanished_count, s.pruned_at, s.policy_id, s.selection,
               p.name AS policy, c.*, b.*, a.*,
               CASE WHEN s.cancelled_at IS NOT NULL THEN 'cancelled'
                    WHEN s.listed_at IS NOT NULL AND c.pending = 0 THEN 'finished'
                    WHEN s.paused_at IS NOT NULL THEN 'paused'
                    WHEN s.listed_at IS NULL THEN 'listing'
                    ELSE 'running' END AS state,
               greatest(b.last_finished_at, s.listed_at) AS ended_at,
               greatest(b.last_listed_finished_at, s.listed_at) AS first_ended_at,
               coalesce(b.first_published_at, s.created_at) AS started_at
        FROM ledger.scans s
        LEFT JOIN ledger.policies p USING (policy_id)
        CROSS JOIN LATERAL (
            SELECT coalesce(sum(x.submitted), 0)::bigint AS submitted,
                   coalesce(sum(x.classified), 0)::bigint AS classified,
                   coalesce(sum(x.reused), 0)::bigint AS reused,
                   coalesce(sum(x.failed), 0)::bigint AS failed,
                   coalesce(sum(x.submitted - x.classified - x.reused - x.failed), 0)::bigint
                       AS pending
            FROM ledger.scan_counts x WHERE x.scan_id = s.scan_id
        ) AS c
        CROSS JOIN LATERAL (
            SELECT (SELECT min(first.published_at) FROM (
                        SELECT x.published_at FROM ledger.batches x
                        WHERE x.scan_id = s.scan_id ORDER BY x.batch_id LIMIT 16
                    ) AS first) AS first_published_at,
                   (SELECT max(x.finished_at) FROM ledger.batches x
                    WHERE x.scan_id = s.scan_id AND x.finished_at IS NOT NULL) AS last_finished_at,
                   (SELECT max(x.finished_at) FROM ledger.batches x
                    WHERE x.scan_id = s.scan_id AND x.finished_at IS NOT NULL
                      AND x.created_at <= s.listed_at) AS last_listed_finished_at,
                   (SELECT min(x.finished_at) FROM ledger.batches x
                    WHERE x.scan_id = s.scan_id AND x.finished_at IS NOT NULL) AS first_finished_at,
                   (SELECT x.created_at FROM ledger.batches x WHERE x.scan_id = s.scan_id
                    ORDER BY x.batch_id DESC LIMIT 1) AS last_created_at,
                   (SELECT coalesce(sum(ledger.ended_of(x)), 0)
                    FROM ledger.batches x WHERE x.scan_id = s.scan_id
                      AND x.finished_at > now() - interval '60 seconds') AS last_minute
            OFFSET 0  -- so that each of them is looked up once
        ) AS b
        CROSS JOIN LATERAL (
            SELECT coalesce(sum(x.unchanged_count), 0) AS unchanged,
                   coalesce(sum(x.new_count), 0) AS new,
                   coalesce(sum(x.changed_count), 0) AS changed,
                   coalesce(sum(x.again_count), 0) AS again
            FROM ledger.source_parts x WHERE x.scan_id = s.scan_id AND s.is_audit
        ) AS a
    ) AS counted
    ) AS rated
) AS known;

CREATE OR REPLACE FUNCTION ledger.tell_events(at_most integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    ended bigint;
    missed bigint;
BEGIN
    WITH over AS MATERIALIZED (
        SELECT s.scan_id FROM ledger.scans s
        WHERE s.told_at IS NULL AND (
            SELECT p.has_ended FROM public.scan_progress p WHERE p.scan_id = s.scan_id
        )
        ORDER BY s.scan_id LIMIT at_most FOR NO KEY UPDATE SKIP LOCKED
    ), marked AS (
        UPDATE ledger.scans s SET told_at = now() FROM over WHERE s.scan_id = over.scan_id
        RETURNING s.scan_id, s.lane, s.model_keys, s.schedule_id
    ), told AS (
        INSERT INTO ledger.webhook_deliveries (webhook_id, scan_id, event, said)
        SELECT w.webhook_id, m.scan_id, 'scan.ended', jsonb_build_object(
            'scan_id', p.scan_id, 'name', p.name, 'schedule', n.name, 'state', p.state,
            'lane', p.lane, 'models', p.models, 'policy', p.policy,
            'submitted', p.submitted, 'classified', p.classified, 'reused', p.reused,
            'failed', p.failed, 'pending', p.pending, 'is_audit', p.is_audit,
            'unchanged', p.unchanged, 'new', p.new, 'changed', p.changed, 'again', p.again,
            'vanished', p.vanished,
            'asked_at', ledger.told_moment(p.created_at),
            'ended_at', ledger.told_moment(p.finished_at))
        FROM marked m
        JOIN ledger.webhooks w ON 'scan.ended' = ANY (w.events)
        CROSS JOIN LATERAL (SELECT * FROM public.scan_progress x WHERE x.scan_id = m.scan_id) AS p
        LEFT JOIN ledger.schedules n ON n.schedule_id = m.schedule_id
        WHERE ledger.wants(w, m.model_keys, m.lane)
        ORDER BY m.scan_id, w.webhook_id
    )
    SELECT count(*) INTO ended FROM marked;
    WITH marked AS (
        UPDATE ledger.schedule_runs r SET is_told = true
        WHERE NOT r.is_told AND (r.schedule_id, r.due_at) IN (
            SELECT u.schedule_id, u.due_at FROM ledger.schedule_runs u WHERE NOT u.is_told
            ORDER BY u.due_at LIMIT at_most FOR UPDATE SKIP LOCKED
        ) RETURNING r.*
    ), told AS (
        INSERT INTO ledger.webhook_deliveries (webhook_id, event, said)
        SELECT w.webhook_id, e.event, jsonb_build_object(
            'schedule', n.name, 'due_at', ledger.told_moment(m.due_at), 'outcome', m.outcome,
            'reason', m.reason, 'by_hand', m.by_hand)
        FROM marked m JOIN ledger.schedules n USING (schedule_id)
        CROSS JOIN LATERAL (
            SELECT CASE WHEN m.outcome = 'refused' THEN 'schedule.failed'
                        ELSE 'schedule.skipped' END AS event
        ) AS e
        JOIN ledger.webhooks w ON e.event = ANY (w.events)
        WHERE m.outcome <> 'fired' AND ledger.wants(w, n.model_keys, n.lane)
        ORDER BY m.due_at, w.webhook_id
    )
    SELECT count(*) FILTER (WHERE outcome <> 'fired') INTO missed FROM marked;
    RETURN ended + missed;
END $$;

CREATE OR REPLACE VIEW public.batches AS
SELECT b.batch_id, b.scan_id, b.lane, b.state, b.image_count AS images,
       b.classified_count AS classified, b.reused_count AS reused, b.failed_count AS failed,
       ledger.pending_of(b) AS pending, b.attempt, b.worker_id, b.lease_until,
       ledger.is_expired(b) AS is_expired, b.created_at, b.published_at, b.finished_at,
       b.trouble, b.refusals, b.troubled_since, b.try_at
FROM ledger.batches b;

CREATE OR REPLACE VIEW public.webhooks AS
SELECT w.webhook_id, w.name,
       CASE WHEN has_column_privilege('ledger.webhooks'::regclass, 'url', 'SELECT') THEN w.url
            ELSE regexp_replace(w.url, '^([^/]*//[^/?#]*).*$', '\1/…') END AS url,
       w.verdicts, w.events, w.models, w.lanes, w.created_at, w.paused_at, w.paused_because,
       w.removed_at, open.waiting, open.waiting_since, gone.dead,
       (SELECT max(d.delivered_at) FROM ledger.webhook_deliveries d
        WHERE d.webhook_id = w.webhook_id AND d.delivered_at IS NOT NULL) AS last_delivered_at
FROM ledger.webhooks w
CROSS JOIN LATERAL (
    SELECT count(*) AS waiting, min(d.created_at) AS waiting_since
    FROM ledger.webhook_deliveries d WHERE d.webhook_id = w.webhook_id AND ledger.is_open(d)
) AS open
CROSS JOIN LATERAL (
    SELECT count(*) AS dead FROM ledger.webhook_deliveries d
    WHERE d.webhook_id = w.webhook_id AND d.dead_at IS NOT NULL
) AS gone;

-- By the signs of life that the view `workers` knows.
CREATE OR REPLACE VIEW public.model_troubles AS
SELECT t.key AS model, w.hostname, w.pid, t.reason, t.tries, t.since, t.next_try_at, t.worker_id
FROM ledger.model_troubles t JOIN public.workers w USING (worker_id)
WHERE t.ended_at IS NULL AND w.stopped_at IS NULL AND w.seen_at > now() - interval '1 minute';

INSERT INTO ledger.role_rights (since, role, may) VALUES
    ('0028', 'fakesweep_producer', 'SELECT ON ledger.pending'),
    ('0028', 'fakesweep_api', 'SELECT ON ledger.pending, public.policies');
SELECT ledger.grant_roles();
