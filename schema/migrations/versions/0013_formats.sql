-- What a content's pixels were, and pictures that nothing here reads, shown to people.

-- A new word cannot be used before this transaction ends, so what names it below does so in text.
ALTER TYPE ledger.failure_code ADD VALUE IF NOT EXISTS 'unsupported' AFTER 'not_an_image';

-- NULL where a content was never decoded, or before this was noted.
CREATE TYPE ledger.read_as AS ENUM ('image', 'scaled', 'preview', 'composite');
ALTER TABLE ledger.contents ADD COLUMN read_as ledger.read_as;

CREATE OR REPLACE VIEW public.verdicts AS
SELECT v.scan_id, v.image_id, i.uri, o.status, v.verdict, v.kind, v.p_fake,
       m.key AS model, m.revision AS model_revision,
       m.superseded_at IS NULL AS revision_is_current,
       p.name AS policy,
       ledger.named_scores(m.labels, pr.scores) AS scores,
       encode(c.sha256, 'hex') AS sha256, c.size_bytes, c.width, c.height, c.format, c.frame_count,
       pr.classified_at, v.judged_at, v.content_id, v.model_id, c.read_as
FROM ledger.verdicts v
LEFT JOIN ledger.images i USING (image_id)
LEFT JOIN ledger.outcomes o USING (image_id)
LEFT JOIN ledger.models m USING (model_id)
LEFT JOIN ledger.policies p USING (policy_id)
LEFT JOIN ledger.contents c ON c.content_id = v.content_id
LEFT JOIN ledger.predictions pr ON pr.content_id = v.content_id AND pr.model_id = v.model_id;

-- The newest failure of a content is looked up by these, and the failures by their order.
DROP INDEX ledger.outcomes_failed_content;
CREATE INDEX outcomes_failed_content ON ledger.outcomes (content_id, image_id)
    WHERE status = 'failed' AND content_id IS NOT NULL;
CREATE INDEX outcomes_failed_image ON ledger.outcomes (image_id) WHERE status = 'failed';

-- As before, and what people may see though it could not be judged: each content once, by its newest
-- image, until a verdict about it is stored. `schema/failures.py` names the same codes. The arms of
-- UNION ALL are bare tables, and every condition stands outside: so the planner takes the condition
-- into each arm, and reads a page of the queue from `verdicts_review` in its order.
CREATE OR REPLACE VIEW public.review_queue AS
SELECT q.p_fake, q.verdict, q.kind, m.key AS model, m.revision AS model_revision,
       CASE WHEN q.is_judged THEN m.superseded_at IS NULL END AS revision_is_current,
       i.uri, q.scan_id, q.image_id,
       encode(c.sha256, 'hex') AS sha256, c.size_bytes, c.width, c.height, c.format,
       q.judged_at, q.content_id, q.model_id, c.read_as, q.failure_code, q.failure_message
FROM (
    SELECT p_fake, verdict, kind, scan_id, image_id, judged_at, content_id, model_id,
           is_superseded, true AS is_judged, NULL::ledger.failure_code AS failure_code,
           NULL::text AS failure_message
    FROM ledger.verdicts
    UNION ALL
    SELECT NULL, NULL, NULL, scan_id, image_id, finished_at, content_id, NULL,
           status <> 'failed', false, failure_code, failure_message
    FROM ledger.outcomes
) AS q
LEFT JOIN ledger.images i ON i.image_id = q.image_id
LEFT JOIN ledger.models m ON m.model_id = q.model_id
LEFT JOIN ledger.contents c ON c.content_id = q.content_id
WHERE CASE WHEN q.is_judged THEN q.verdict <> 'real' ELSE q.failure_code::text IN
          ('unsupported', 'corrupt', 'too_many_pixels', 'decode_timed_out', 'killed_loader',
           'killed_worker') END
  AND NOT q.is_superseded
  AND NOT EXISTS (
      SELECT FROM ledger.verdicts newer
      WHERE newer.content_id = q.content_id AND newer.image_id > q.image_id
        AND newer.model_id = coalesce(q.model_id, newer.model_id)
  )
  AND NOT EXISTS (
      SELECT FROM ledger.outcomes newer
      WHERE newer.status = 'failed' AND newer.content_id = q.content_id
        AND newer.image_id > q.image_id AND NOT q.is_judged
  );

INSERT INTO ledger.role_rights (since, role, may) VALUES
    ('0013', 'fakesweep_worker', 'UPDATE (read_as) ON ledger.contents');
SELECT ledger.grant_roles();
