-- The public read side. docs/sql.md documents every column; names here are a promise.

CREATE VIEW public.policies AS
SELECT policy_id, name, real_below, fake_above, created_at,
       policy_id = max(policy_id) OVER (PARTITION BY name) AS is_current
FROM ledger.policies;

CREATE VIEW public.models AS
SELECT model_id, key AS model, source, revision, superseded_at IS NULL AS is_current,
       architecture, labels, sides, sides_origin, fingerprint, preprocessing,
       first_loaded_at, superseded_at
FROM ledger.models;

-- Counted scan by scan (LATERAL), so that the newest few cost nothing but themselves.
CREATE VIEW public.scan_progress AS
WITH counted AS (
    SELECT s.*, p.name AS policy, b.*,
           CASE WHEN s.listed_at IS NULL THEN 'listing'
                WHEN b.batches_left > 0 THEN 'running'
                ELSE 'finished' END AS state,
           greatest(b.last_finished_at, s.listed_at) AS ended_at,
           coalesce(b.first_published_at, s.created_at) AS started_at
    FROM ledger.scans s JOIN ledger.policies p USING (policy_id)
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(image_count), 0) AS submitted,
               coalesce(sum(classified_count), 0) AS classified,
               coalesce(sum(reused_count), 0) AS reused,
               coalesce(sum(failed_count), 0) AS failed,
               count(*) FILTER (WHERE state <> 'done') AS batches_left,
               min(published_at) AS first_published_at,
               max(finished_at) AS last_finished_at,
               coalesce(sum(classified_count + reused_count + failed_count)
                   FILTER (WHERE finished_at > now() - interval '60 seconds'), 0) AS last_minute
        FROM ledger.batches WHERE batches.scan_id = s.scan_id
    ) AS b
), rated AS (
    SELECT c.*, submitted - classified - reused - failed AS pending,
           CASE WHEN state = 'finished'
                THEN submitted / greatest(0.001, extract(epoch FROM ended_at - created_at))
                ELSE last_minute / least(60, greatest(1, extract(epoch FROM now() - started_at)))
           END AS rate
    FROM counted c
)
SELECT scan_id, name, lane, state, submitted, classified, reused, failed, pending,
       round(rate::numeric, 2) AS images_per_second,
       CASE WHEN state = 'running' AND rate > 0 THEN round((pending / rate)::numeric, 1)
       END AS seconds_left,
       model_keys AS models, policy, created_at, listed_at,
       CASE WHEN state = 'finished' THEN ended_at END AS finished_at
FROM rated;

CREATE VIEW public.verdicts AS
SELECT v.scan_id, v.image_id, i.uri, o.status, v.verdict, v.kind, v.p_fake,
       m.key AS model, m.revision AS model_revision,
       m.superseded_at IS NULL AS revision_is_current,
       p.name AS policy,
       ledger.named_scores(m.labels, pr.scores) AS scores,
       encode(c.sha256, 'hex') AS sha256, c.size_bytes, c.width, c.height, c.format, c.frame_count,
       pr.classified_at, v.judged_at, v.content_id, v.model_id
FROM ledger.verdicts v
JOIN ledger.images i USING (image_id)
JOIN ledger.outcomes o USING (image_id)
JOIN ledger.models m USING (model_id)
JOIN ledger.policies p USING (policy_id)
JOIN ledger.contents c ON c.content_id = v.content_id
JOIN ledger.predictions pr ON pr.content_id = v.content_id AND pr.model_id = v.model_id;

-- What a person should look at: each content once for each model, by its newest verdict.
CREATE VIEW public.review_queue AS
SELECT v.p_fake, v.verdict, v.kind, m.key AS model, m.revision AS model_revision,
       m.superseded_at IS NULL AS revision_is_current, i.uri, v.scan_id, v.image_id,
       encode(c.sha256, 'hex') AS sha256, c.size_bytes, c.width, c.height, c.format,
       v.judged_at, v.content_id, v.model_id
FROM ledger.verdicts v
JOIN ledger.images i USING (image_id)
JOIN ledger.models m USING (model_id)
JOIN ledger.contents c ON c.content_id = v.content_id
WHERE v.verdict <> 'real'
  AND NOT EXISTS (
      SELECT FROM ledger.verdicts newer
      WHERE newer.content_id = v.content_id AND newer.model_id = v.model_id
        AND newer.image_id > v.image_id
  );

CREATE VIEW public.failures AS
SELECT o.scan_id, o.image_id, i.uri, o.failure_code AS code, o.failure_message AS message,
       encode(c.sha256, 'hex') AS sha256, c.size_bytes, o.finished_at AS failed_at, o.content_id
FROM ledger.outcomes o
JOIN ledger.images i USING (image_id)
LEFT JOIN ledger.contents c USING (content_id)
WHERE o.status = 'failed';

-- The same image, two models, two different words.
CREATE VIEW public.model_disagreements AS
SELECT a.scan_id, a.image_id, i.uri,
       ma.key AS model_a, a.verdict AS verdict_a, a.p_fake AS p_fake_a,
       mb.key AS model_b, b.verdict AS verdict_b, b.p_fake AS p_fake_b,
       abs(a.p_fake - b.p_fake) AS difference
FROM ledger.verdicts a
JOIN ledger.verdicts b ON b.image_id = a.image_id AND b.model_id > a.model_id
                      AND b.verdict <> a.verdict
JOIN ledger.images i ON i.image_id = a.image_id
JOIN ledger.models ma ON ma.model_id = a.model_id
JOIN ledger.models mb ON mb.model_id = b.model_id;
