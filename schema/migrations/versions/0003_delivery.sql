-- What delivery needs to stand faults. Everything is added: a worker of the version before goes on
-- with the batches it knows how to work on, and never sees the others.

-- New words cannot be used before this transaction ends, so what names them below does so in text.
ALTER TYPE ledger.lane ADD VALUE IF NOT EXISTS 'quarantine' BEFORE 'bulk';
ALTER TYPE ledger.batch_state ADD VALUE IF NOT EXISTS 'held';

ALTER TABLE ledger.scans
    ADD COLUMN paused_at timestamptz,
    ADD COLUMN cancelled_at timestamptz,
    ADD CONSTRAINT scans_ask_for_a_lane CHECK (lane::text <> 'quarantine');

-- `expiries` counts all leases that ran out; `strikes` those of runs alone.
-- `split_from` is the batch whose images these were until it was cut in halves.
ALTER TABLE ledger.batches
    ADD COLUMN expiries integer NOT NULL DEFAULT 0,
    ADD COLUMN strikes integer NOT NULL DEFAULT 0,
    ADD COLUMN split_from bigint;

CREATE TABLE ledger.producers (
    producer_id uuid PRIMARY KEY,
    hostname    text NOT NULL,
    pid         integer NOT NULL,
    version     text NOT NULL,
    started_at  timestamptz NOT NULL DEFAULT now(),
    seen_at     timestamptz NOT NULL DEFAULT now(),
    stopped_at  timestamptz
);

-- Messages that no worker could read, put aside: garbage, or of another version.
CREATE TABLE ledger.unreadable_messages (
    message_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    queue       text,
    reason      text NOT NULL,
    body        text NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now()
);

CREATE VIEW public.unreadable_messages AS
SELECT message_id, queue, reason, body, received_at FROM ledger.unreadable_messages;

CREATE VIEW public.producers AS
SELECT producer_id, hostname, pid, version, started_at, seen_at, stopped_at FROM ledger.producers;

-- As before, but for the states `paused` and `cancelled`, and `progressed_at` at the end: when
-- something of the scan was last recorded, published, taken up or finished.
CREATE OR REPLACE VIEW public.scan_progress AS
WITH counted AS (
    SELECT s.*, p.name AS policy, b.*,
           CASE WHEN s.cancelled_at IS NOT NULL THEN 'cancelled'
                WHEN s.listed_at IS NOT NULL AND b.batches_left = 0 THEN 'finished'
                WHEN s.paused_at IS NOT NULL THEN 'paused'
                WHEN s.listed_at IS NULL THEN 'listing'
                ELSE 'running' END AS state,
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
               greatest(max(created_at), max(finished_at)) AS last_moved_at,
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
       CASE state WHEN 'finished' THEN ended_at WHEN 'cancelled' THEN cancelled_at
       END AS finished_at,
       paused_at,
       greatest(created_at, listed_at, last_moved_at) AS progressed_at
FROM rated;
