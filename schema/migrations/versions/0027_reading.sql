-- Everything that a person is shown comes from a view, so that `fakesweep_analyst` reads it too.

-- As before, with what a scan takes of its sources and the policy's row at the end.
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
       policy_id, selection
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
                   (SELECT coalesce(sum(x.classified_count + x.reused_count + x.failed_count), 0)
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

-- As before, and how many scans are judged by each.
CREATE OR REPLACE VIEW public.policies AS
SELECT policy_id, name, real_below, fake_above, created_at,
       policy_id = max(policy_id) OVER (PARTITION BY name) AS is_current,
       (SELECT count(*) FROM ledger.scans s WHERE s.policy_id = p.policy_id) AS scans
FROM ledger.policies p;

-- As before, and what a worker counted since it started.
CREATE OR REPLACE VIEW public.workers AS
SELECT worker_id, hostname, pid, device, version,
       (stages_lately ->> 'images_per_second')::double precision AS images_per_second,
       stages_lately ->> 'wall' AS wall,
       stages_lately -> 'stages' AS stages,
       stages_at AS measured_at,
       started_at, greatest(seen_at, stages_at) AS seen_at, stopped_at, stages_total
FROM ledger.workers;

CREATE VIEW public.scan_sources AS
SELECT scan_id, position, source, hostname, listed_at FROM ledger.scan_sources;

CREATE VIEW public.pattern_matches AS
SELECT scan_id, sort AS option, name::integer AS place, files
FROM ledger.listing_counts WHERE sort <> 'left_out';

CREATE VIEW public.batches AS
SELECT b.batch_id, b.scan_id, b.lane, b.state, b.image_count AS images,
       b.classified_count AS classified, b.reused_count AS reused, b.failed_count AS failed,
       b.image_count - b.classified_count - b.reused_count - b.failed_count AS pending,
       b.attempt, b.worker_id, b.lease_until,
       b.state = 'running' AND b.lease_until < now() AS is_expired,
       b.created_at, b.published_at, b.finished_at,
       b.trouble, b.refusals, b.troubled_since, b.try_at
FROM ledger.batches b;

CREATE OR REPLACE VIEW public.batch_troubles AS
SELECT scan_id, batch_id, lane::text AS lane, state::text AS state, pending, trouble AS reason,
       refusals, troubled_since, try_at
FROM public.batches WHERE trouble IS NOT NULL AND state <> 'done';

-- An image without an outcome is pending.
CREATE VIEW public.images AS
SELECT i.image_id, b.scan_id, b.batch_id, i.uri, public.path_of(i.uri) AS path,
       coalesce(o.status::text, 'pending') AS status, o.failure_code, o.failure_message,
       o.content_id, o.finished_at, i.size_bytes, i.etag, i.modified_at
FROM ledger.batches b
JOIN ledger.images i USING (batch_id)
LEFT JOIN ledger.outcomes o USING (image_id);

-- What came of each image that has ended, once for each model that judged it.
CREATE VIEW public.results AS
SELECT i.uri, public.path_of(i.uri) AS path, o.status, v.verdict, v.kind, v.p_fake,
       m.key AS model, m.revision AS model_revision,
       ledger.named_scores(m.labels, s.scores) AS scores, p.name AS policy,
       encode(c.sha256, 'hex') AS sha256, c.width, c.height, c.format,
       o.failure_code, o.failure_message, s.classified_at, b.scan_id, i.image_id,
       c.size_bytes, c.frame_count, c.read_as, v.judged_at,
       CASE WHEN v.model_id IS NOT NULL THEN m.superseded_at IS NULL END AS revision_is_current,
       o.content_id, v.model_id, b.batch_id, o.finished_at
FROM ledger.batches b
JOIN ledger.images i USING (batch_id)
JOIN ledger.outcomes o USING (image_id)
LEFT JOIN ledger.contents c USING (content_id)
LEFT JOIN ledger.verdicts v USING (image_id)
LEFT JOIN ledger.models m USING (model_id)
LEFT JOIN ledger.policies p USING (policy_id)
LEFT JOIN ledger.predictions s ON (s.content_id, s.model_id) = (v.content_id, v.model_id);

-- Webhooks without their secrets. An address may be one itself: who cannot read the table sees no
-- more of it than its host.
CREATE VIEW public.webhooks AS
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
    FROM ledger.webhook_deliveries d
    WHERE d.webhook_id = w.webhook_id AND d.delivered_at IS NULL AND d.dead_at IS NULL
) AS open
CROSS JOIN LATERAL (
    SELECT count(*) AS dead FROM ledger.webhook_deliveries d
    WHERE d.webhook_id = w.webhook_id AND d.dead_at IS NOT NULL
) AS gone;

INSERT INTO ledger.role_rights (since, role, may) VALUES
    ('0027', 'fakesweep_analyst', 'SELECT ON public.scan_sources, public.pattern_matches,
        public.batches, public.images, public.results, public.webhooks'),
    ('0027', 'fakesweep_producer', 'SELECT ON public.scan_sources, public.pattern_matches,
        public.batches, public.images, public.results, public.webhooks'),
    ('0027', 'fakesweep_api', 'SELECT ON public.images');
SELECT ledger.grant_roles();
