-- Webhooks are told of events, too: a scan's end, a schedule's time that made no scan.

-- `events` are the types a webhook asks for; without verdicts it is told of nothing else.
ALTER TABLE ledger.webhooks ADD COLUMN events text[] NOT NULL DEFAULT '{}';
ALTER TABLE ledger.webhooks DROP CONSTRAINT webhooks_verdicts_check;
ALTER TABLE ledger.webhooks ADD CHECK (cardinality(verdicts) + cardinality(events) > 0);

-- A delivery tells of a verdict, or of an event as it was then: its type and what it `said`.
ALTER TABLE ledger.webhook_deliveries
    ALTER COLUMN image_id DROP NOT NULL, ALTER COLUMN model_id DROP NOT NULL,
    ALTER COLUMN scan_id DROP NOT NULL, ALTER COLUMN content_id DROP NOT NULL,
    ALTER COLUMN policy_id DROP NOT NULL, ALTER COLUMN p_fake DROP NOT NULL,
    ALTER COLUMN verdict DROP NOT NULL,
    ADD COLUMN event text,
    ADD COLUMN said jsonb,
    ADD CONSTRAINT webhook_deliveries_tell CHECK (
        CASE WHEN event IS NULL
             THEN num_nulls(image_id, model_id, scan_id, content_id, policy_id, p_fake, verdict) = 0
             ELSE said IS NOT NULL AND image_id IS NULL END
    );

-- What ended before this is not told any more.
ALTER TABLE ledger.scans ADD COLUMN told_at timestamptz;
UPDATE ledger.scans s SET told_at = now()
WHERE s.cancelled_at IS NOT NULL OR s.listed_at IS NOT NULL AND NOT EXISTS (
    SELECT FROM ledger.batches b WHERE b.scan_id = s.scan_id AND b.state <> 'done'
);
CREATE INDEX scans_untold ON ledger.scans (scan_id) WHERE told_at IS NULL;
ALTER TABLE ledger.schedule_runs ADD COLUMN is_told boolean NOT NULL DEFAULT true;
ALTER TABLE ledger.schedule_runs ALTER COLUMN is_told SET DEFAULT false;
CREATE INDEX schedule_runs_untold ON ledger.schedule_runs (schedule_id) WHERE NOT is_told;

-- A moment as webhooks are told it.
CREATE FUNCTION ledger.told_moment(at timestamptz) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"');

-- Write a delivery for each event that was not told yet and each webhook that asks for it; returns
-- how many events there were, `at_most` at once. Each is told once, by any caller.
CREATE FUNCTION ledger.tell_events(at_most integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    ended bigint;
    missed bigint;
BEGIN
    WITH over AS MATERIALIZED (
        SELECT s.scan_id FROM ledger.scans s
        WHERE s.told_at IS NULL AND (
            s.cancelled_at IS NOT NULL OR s.listed_at IS NOT NULL AND NOT EXISTS (
                SELECT FROM ledger.batches b WHERE b.scan_id = s.scan_id AND b.state <> 'done'
            ))
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
        WHERE w.removed_at IS NULL
          AND (w.models IS NULL OR m.model_keys && w.models)
          AND (w.lanes IS NULL OR m.lane = ANY (w.lanes))
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
        WHERE m.outcome <> 'fired' AND w.removed_at IS NULL
          AND (w.models IS NULL OR n.model_keys && w.models)
          AND (w.lanes IS NULL OR n.lane = ANY (w.lanes))
        ORDER BY m.due_at, w.webhook_id
    )
    SELECT count(*) FILTER (WHERE outcome <> 'fired') INTO missed FROM marked;
    RETURN ended + missed;
END $$;
REVOKE EXECUTE ON FUNCTION ledger.tell_events, ledger.told_moment FROM PUBLIC;

-- As before, and an event is told by its own type.
CREATE OR REPLACE VIEW public.webhook_deliveries AS
SELECT d.delivery_id, w.name AS webhook,
       coalesce(d.event, CASE WHEN d.before IS NULL THEN 'verdict.given'
                              ELSE 'verdict.changed' END) AS type,
       CASE WHEN d.delivered_at IS NOT NULL THEN 'delivered'
            WHEN w.removed_at IS NOT NULL THEN 'removed'
            WHEN d.dead_at IS NOT NULL THEN 'dead'
            WHEN d.lease IS NOT NULL AND d.next_attempt_at > now() THEN 'sending'
            WHEN w.paused_at IS NOT NULL THEN 'paused'
            ELSE 'waiting' END AS state,
       d.scan_id, d.image_id, i.uri, m.key AS model, d.verdict, d.before, d.attempts,
       d.last_status, d.last_error, d.created_at, d.next_attempt_at, d.delivered_at, d.dead_at,
       'msg_' || replace(d.message_id::text, '-', '') AS message_id,
       public.path_of(i.uri) AS path
FROM ledger.webhook_deliveries d
JOIN ledger.webhooks w USING (webhook_id)
LEFT JOIN ledger.images i USING (image_id)
LEFT JOIN ledger.models m USING (model_id);

INSERT INTO ledger.role_rights (since, role, may) VALUES
    ('0022', 'fakesweep_producer', 'INSERT (events) ON ledger.webhooks'),
    ('0022', 'fakesweep_producer', 'EXECUTE ON FUNCTION ledger.tell_events');
SELECT ledger.grant_roles();
