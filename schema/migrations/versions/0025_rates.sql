-- One definition of rates: of the last minute, and of the whole life until a scan first ended. What
-- `retry` runs again lies in batches that were made after the listing, so it changes no past rate.
-- The time left is told once results came for ten seconds, or work has gone on for a minute.
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
       CASE state WHEN 'finished' THEN first_ended_at END AS first_finished_at
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
               s.cancelled_at, s.is_audit, s.vanished_count, s.pruned_at, p.name AS policy,
               c.*, b.*, a.*,
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
