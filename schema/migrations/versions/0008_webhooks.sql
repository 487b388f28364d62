-- Webhooks: who is told of verdicts, and what was delivered.

-- `verdicts` are the words it asks for, `models` the keys; NULL is every model, every lane.
-- The secret signs what is sent, so it stands here as it is: only producers may read it.
CREATE TABLE ledger.webhooks (
    webhook_id     integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name           text NOT NULL CHECK (name ~ '^[a-z][a-z0-9_.-]*$'),
    url            text NOT NULL,
    secret         text NOT NULL,
    verdicts       ledger.verdict[] NOT NULL DEFAULT '{fake,uncertain}'
                   CHECK (cardinality(verdicts) > 0),
    models         text[] CHECK (cardinality(models) > 0),
    lanes          ledger.lane[] CHECK (cardinality(lanes) > 0),
    created_at     timestamptz NOT NULL DEFAULT now(),
    paused_at      timestamptz,
    paused_because text,
    removed_at     timestamptz
);
CREATE UNIQUE INDEX webhooks_name ON ledger.webhooks (name) WHERE removed_at IS NULL;

-- One row for each verdict that a webhook asks for, written in the transaction of the verdict, with
-- the verdict as it was then: every attempt says the same. `before` is the word that a judgement
-- anew replaced. `lease` names who sends it; until `next_attempt_at` nobody else does.
CREATE TABLE ledger.webhook_deliveries (
    delivery_id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    message_id      uuid NOT NULL DEFAULT gen_random_uuid(),
    webhook_id      integer NOT NULL,
    image_id        bigint NOT NULL,
    model_id        integer NOT NULL,
    scan_id         bigint NOT NULL,
    content_id      bigint NOT NULL,
    policy_id       integer NOT NULL,
    p_fake          double precision NOT NULL,
    verdict         ledger.verdict NOT NULL,
    kind            ledger.kind,
    before          ledger.verdict,
    created_at      timestamptz NOT NULL DEFAULT now(),
    attempts        integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz NOT NULL DEFAULT now(),
    lease           uuid,
    delivered_at    timestamptz,
    dead_at         timestamptz,
    last_status     integer,
    last_error      text,
    CHECK (delivered_at IS NULL OR dead_at IS NULL)
) WITH (fillfactor = 70);
CREATE INDEX webhook_deliveries_due ON ledger.webhook_deliveries (webhook_id, next_attempt_at)
    WHERE delivered_at IS NULL AND dead_at IS NULL;
CREATE INDEX webhook_deliveries_dead ON ledger.webhook_deliveries (webhook_id, delivery_id)
    WHERE dead_at IS NOT NULL;
CREATE INDEX webhook_deliveries_delivered ON ledger.webhook_deliveries (webhook_id, delivered_at)
    WHERE delivered_at IS NOT NULL;

-- What was told, to whom, and what came of it: never where, nor by which secret.
CREATE VIEW public.webhook_deliveries AS
SELECT d.delivery_id, w.name AS webhook,
       CASE WHEN d.before IS NULL THEN 'verdict.given' ELSE 'verdict.changed' END AS type,
       CASE WHEN d.delivered_at IS NOT NULL THEN 'delivered'
            WHEN w.removed_at IS NOT NULL THEN 'removed'
            WHEN d.dead_at IS NOT NULL THEN 'dead'
            WHEN d.lease IS NOT NULL AND d.next_attempt_at > now() THEN 'sending'
            WHEN w.paused_at IS NOT NULL THEN 'paused'
            ELSE 'waiting' END AS state,
       d.scan_id, d.image_id, i.uri, m.key AS model, d.verdict, d.before, d.attempts,
       d.last_status, d.last_error, d.created_at, d.next_attempt_at, d.delivered_at, d.dead_at,
       'msg_' || replace(d.message_id::text, '-', '') AS message_id
FROM ledger.webhook_deliveries d
JOIN ledger.webhooks w USING (webhook_id)
LEFT JOIN ledger.images i USING (image_id)
LEFT JOIN ledger.models m USING (model_id);

-- As before, and who was told of a word, or asks for the new one, is told of the change.
CREATE OR REPLACE FUNCTION public.rejudge(scan bigint, policy text)
RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    chosen ledger.policies;
    changed bigint;
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
        RETURNING v.image_id, v.model_id, v.content_id, v.p_fake, v.verdict, v.kind, j.before
    ), told AS (
        INSERT INTO ledger.webhook_deliveries
            (webhook_id, image_id, model_id, scan_id, content_id, policy_id, p_fake, verdict, kind,
             before)
        SELECT w.webhook_id, x.image_id, x.model_id, scan, x.content_id, chosen.policy_id,
               x.p_fake, x.verdict, x.kind, x.before
        FROM written x
        JOIN ledger.webhooks w ON x.verdict = ANY (w.verdicts) OR x.before = ANY (w.verdicts)
        WHERE x.before <> x.verdict AND w.removed_at IS NULL
          AND (w.models IS NULL OR EXISTS (
              SELECT FROM ledger.models m WHERE m.model_id = x.model_id AND m.key = ANY (w.models)))
          AND (w.lanes IS NULL OR EXISTS (
              SELECT FROM ledger.scans s WHERE s.scan_id = scan AND s.lane = ANY (w.lanes)))
    )
    SELECT count(*) FILTER (WHERE before <> verdict) INTO changed FROM written;
    RETURN changed;
END $$;

INSERT INTO ledger.role_rights (since, role, may) VALUES
    ('0008', 'fakesweep_analyst', 'SELECT ON public.webhook_deliveries'),
    ('0008', 'fakesweep_worker',
     'SELECT (webhook_id, verdicts, models, lanes, removed_at) ON ledger.webhooks'),
    ('0008', 'fakesweep_worker',
     'INSERT (webhook_id, image_id, model_id, scan_id, content_id, policy_id, p_fake, verdict, kind)
        ON ledger.webhook_deliveries'),
    ('0008', 'fakesweep_producer', 'SELECT ON public.webhook_deliveries'),
    ('0008', 'fakesweep_producer', 'SELECT ON ledger.webhooks, ledger.webhook_deliveries'),
    ('0008', 'fakesweep_producer',
     'INSERT (name, url, secret, verdicts, models, lanes) ON ledger.webhooks'),
    ('0008', 'fakesweep_producer',
     'UPDATE (secret, paused_at, paused_because, removed_at) ON ledger.webhooks'),
    ('0008', 'fakesweep_producer',
     'INSERT (webhook_id, image_id, model_id, scan_id, content_id, policy_id, p_fake, verdict, kind,
        before) ON ledger.webhook_deliveries'),
    ('0008', 'fakesweep_producer',
     'UPDATE (attempts, next_attempt_at, lease, delivered_at, dead_at, last_status, last_error)
        ON ledger.webhook_deliveries'),
    ('0008', 'fakesweep_producer', 'DELETE ON ledger.webhook_deliveries');
SELECT ledger.grant_roles();
