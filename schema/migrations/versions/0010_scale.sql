-- What tens of millions of rows ask for: counters instead of sums, views that read only what is
-- asked of them, a review queue without the copies of one picture, and what forgetting needs.

-- Each batch's counts, added up by scan. A scan has a few such rows, so that workers whose
-- transactions end at the same time seldom wait for one another.
CREATE TABLE ledger.scan_counts (
    scan_id    bigint NOT NULL,
    slot       smallint NOT NULL,
    submitted  bigint NOT NULL,
    classified bigint NOT NULL,
    reused     bigint NOT NULL,
    failed     bigint NOT NULL,
    PRIMARY KEY (scan_id, slot)
) WITH (fillfactor = 50);

CREATE FUNCTION ledger.count_batch() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    INSERT INTO ledger.scan_counts AS c (scan_id, slot, submitted, classified, reused, failed)
    VALUES (coalesce(NEW.scan_id, OLD.scan_id), pg_backend_pid() % 8,
            coalesce(NEW.image_count, 0) - coalesce(OLD.image_count, 0),
            coalesce(NEW.classified_count, 0) - coalesce(OLD.classified_count, 0),
            coalesce(NEW.reused_count, 0) - coalesce(OLD.reused_count, 0),
            coalesce(NEW.failed_count, 0) - coalesce(OLD.failed_count, 0))
    ON CONFLICT (scan_id, slot) DO UPDATE
    SET submitted = c.submitted + excluded.submitted,
        classified = c.classified + excluded.classified,
        reused = c.reused + excluded.reused,
        failed = c.failed + excluded.failed;
    RETURN NULL;
END $$;
REVOKE EXECUTE ON FUNCTION ledger.count_batch FROM PUBLIC;

-- Deferred, so that a counter is locked for the commit alone and not while a batch is stored.
-- Within the transaction that moves a batch, the counters do not show it yet.
CREATE CONSTRAINT TRIGGER batches_added AFTER INSERT ON ledger.batches
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.image_count <> 0)
EXECUTE FUNCTION ledger.count_batch();
CREATE CONSTRAINT TRIGGER batches_counted
AFTER UPDATE OF image_count, classified_count, reused_count, failed_count ON ledger.batches
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
WHEN ((NEW.image_count, NEW.classified_count, NEW.reused_count, NEW.failed_count)
      IS DISTINCT FROM
      (OLD.image_count, OLD.classified_count, OLD.reused_count, OLD.failed_count))
EXECUTE FUNCTION ledger.count_batch();
CREATE CONSTRAINT TRIGGER batches_dropped AFTER DELETE ON ledger.batches
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (OLD.image_count <> 0)
EXECUTE FUNCTION ledger.count_batch();

INSERT INTO ledger.scan_counts (scan_id, slot, submitted, classified, reused, failed)
SELECT scan_id, 0, sum(image_count), sum(classified_count), sum(reused_count), sum(failed_count)
FROM ledger.batches GROUP BY scan_id;

-- What ended in the last minute, and when the last batch did.
CREATE INDEX batches_finished ON ledger.batches (scan_id, finished_at)
    WHERE finished_at IS NOT NULL;

-- Since when images of a scan are forgotten; NULL where all are there. And an order among sightings,
-- so that pruning sees which came since.
ALTER TABLE ledger.scans ADD COLUMN pruned_at timestamptz;
ALTER TABLE ledger.sightings
    ADD COLUMN sighting_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY;

-- As before, from the counters: however many batches a scan has, a few rows are read. A scan has
-- begun when the earliest of its first batches was published. (No WITH here: the planner would not
-- look into it, and work out every scan to show the newest.)
CREATE OR REPLACE VIEW public.scan_progress AS
SELECT scan_id, name, lane, state, submitted, classified, reused, failed, pending,
       round(rate::numeric, 2) AS images_per_second,
       CASE WHEN state = 'running' AND rate > 0 THEN round((pending / rate)::numeric, 1)
       END AS seconds_left,
       model_keys AS models, policy, created_at, listed_at,
       CASE state WHEN 'finished' THEN ended_at WHEN 'cancelled' THEN cancelled_at
       END AS finished_at,
       paused_at,
       greatest(created_at, listed_at, last_created_at, last_finished_at) AS progressed_at,
       is_audit, unchanged, new, changed, again, vanished_count AS vanished, pruned_at
FROM (
    SELECT *,
           CASE WHEN state = 'finished'
                THEN submitted / greatest(0.001, extract(epoch FROM ended_at - created_at))
                ELSE last_minute / least(60, greatest(1, extract(epoch FROM now() - started_at)))
           END AS rate
    FROM (
        SELECT s.scan_id, s.name, s.lane, s.model_keys, s.created_at, s.listed_at, s.paused_at,
               s.cancelled_at, s.is_audit, s.vanished_count, s.pruned_at, p.name AS policy,
               c.*, b.*, a.*,
               CASE WHEN s.cancelled_at IS NOT NULL THEN 'cancelled'
                    WHEN s.listed_at IS NOT NULL AND c.pending = 0 THEN 'finished'
                    WHEN s.paused_at IS NOT NULL THEN 'paused'
                    WHEN s.listed_at IS NULL THEN 'listing'
                    ELSE 'running' END AS state,
               greatest(b.last_finished_at, s.listed_at) AS ended_at,
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
) AS rated;

-- The views below are as before, but join by LEFT JOIN what is there for every row anyhow: so the
-- planner leaves out whatever no column is asked of.
CREATE OR REPLACE VIEW public.verdicts AS
SELECT v.scan_id, v.image_id, i.uri, o.status, v.verdict, v.kind, v.p_fake,
       m.key AS model, m.revision AS model_revision,
       m.superseded_at IS NULL AS revision_is_current,
       p.name AS policy,
       ledger.named_scores(m.labels, pr.scores) AS scores,
       encode(c.sha256, 'hex') AS sha256, c.size_bytes, c.width, c.height, c.format, c.frame_count,
       pr.classified_at, v.judged_at, v.content_id, v.model_id
FROM ledger.verdicts v
LEFT JOIN ledger.images i USING (image_id)
LEFT JOIN ledger.outcomes o USING (image_id)
LEFT JOIN ledger.models m USING (model_id)
LEFT JOIN ledger.policies p USING (policy_id)
LEFT JOIN ledger.contents c ON c.content_id = v.content_id
LEFT JOIN ledger.predictions pr ON pr.content_id = v.content_id AND pr.model_id = v.model_id;

CREATE OR REPLACE VIEW public.failures AS
SELECT o.scan_id, o.image_id, i.uri, o.failure_code AS code, o.failure_message AS message,
       encode(c.sha256, 'hex') AS sha256, c.size_bytes, o.finished_at AS failed_at, o.content_id
FROM ledger.outcomes o
LEFT JOIN ledger.images i USING (image_id)
LEFT JOIN ledger.contents c ON c.content_id = o.content_id
WHERE o.status = 'failed';

CREATE OR REPLACE VIEW public.model_disagreements AS
SELECT a.scan_id, a.image_id, i.uri,
       ma.key AS model_a, a.verdict AS verdict_a, a.p_fake AS p_fake_a,
       mb.key AS model_b, b.verdict AS verdict_b, b.p_fake AS p_fake_b,
       abs(a.p_fake - b.p_fake) AS difference
FROM ledger.verdicts a
JOIN ledger.verdicts b ON b.image_id = a.image_id AND b.model_id > a.model_id
                      AND b.verdict <> a.verdict
LEFT JOIN ledger.images i ON i.image_id = a.image_id
LEFT JOIN ledger.models ma ON ma.model_id = a.model_id
LEFT JOIN ledger.models mb ON mb.model_id = b.model_id;

-- `is_superseded` marks what no longer belongs into the review queue because a newer image holds the
-- same content, so that ten thousand copies of one picture are not passed one by one. It is a hint:
-- what lacks the mark, since two workers stored copies at the same time, the view still leaves out.
ALTER TABLE ledger.verdicts ADD COLUMN is_superseded boolean NOT NULL DEFAULT false;
UPDATE ledger.verdicts v SET is_superseded = true
WHERE v.verdict <> 'real' AND EXISTS (
    SELECT FROM ledger.verdicts newer
    WHERE newer.content_id = v.content_id AND newer.model_id = v.model_id
      AND newer.image_id > v.image_id
);
DROP INDEX ledger.verdicts_review;
CREATE INDEX verdicts_review ON ledger.verdicts (p_fake, image_id, model_id)
    WHERE verdict <> 'real' AND NOT is_superseded;
CREATE INDEX verdicts_newest ON ledger.verdicts (content_id, model_id)
    WHERE verdict <> 'real' AND NOT is_superseded;

-- Whose row is in other hands is passed over: nobody waits here, so nobody can deadlock. The settings
-- keep the plan to the index, however small the table was when a session began.
CREATE FUNCTION ledger.supersede() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
    WITH older AS MATERIALIZED (
        SELECT v.image_id, v.model_id
        FROM (SELECT content_id, model_id, max(image_id) AS image_id FROM added
              GROUP BY content_id, model_id) AS a
        JOIN ledger.verdicts v ON v.content_id = a.content_id AND v.model_id = a.model_id
        WHERE v.verdict <> 'real' AND NOT v.is_superseded AND v.image_id < a.image_id
        FOR NO KEY UPDATE OF v SKIP LOCKED
    )
    UPDATE ledger.verdicts v SET is_superseded = true
    FROM older o WHERE (v.image_id, v.model_id) = (o.image_id, o.model_id);
    RETURN NULL;
END $$;
REVOKE EXECUTE ON FUNCTION ledger.supersede FROM PUBLIC;
CREATE TRIGGER verdicts_added AFTER INSERT ON ledger.verdicts
REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION ledger.supersede();

CREATE OR REPLACE VIEW public.review_queue AS
SELECT v.p_fake, v.verdict, v.kind, m.key AS model, m.revision AS model_revision,
       m.superseded_at IS NULL AS revision_is_current, i.uri, v.scan_id, v.image_id,
       encode(c.sha256, 'hex') AS sha256, c.size_bytes, c.width, c.height, c.format,
       v.judged_at, v.content_id, v.model_id
FROM ledger.verdicts v
LEFT JOIN ledger.images i USING (image_id)
LEFT JOIN ledger.models m USING (model_id)
LEFT JOIN ledger.contents c ON c.content_id = v.content_id
WHERE v.verdict <> 'real' AND NOT v.is_superseded
  AND NOT EXISTS (
      SELECT FROM ledger.verdicts newer
      WHERE newer.content_id = v.content_id AND newer.model_id = v.model_id
        AND newer.image_id > v.image_id
  );
