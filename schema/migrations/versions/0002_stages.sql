-- Where a worker's time goes: a report of its last ten seconds for people to read, and everything
-- it counted since its start, of which two readings can be subtracted (schema/stages.py).

ALTER TABLE ledger.workers
    ADD COLUMN stages_lately jsonb,
    ADD COLUMN stages_total jsonb,
    ADD COLUMN stages_at timestamptz;

CREATE VIEW public.workers AS
SELECT worker_id, hostname, pid, device, version,
       (stages_lately ->> 'images_per_second')::double precision AS images_per_second,
       stages_lately ->> 'wall' AS wall,
       stages_lately -> 'stages' AS stages,
       stages_at AS measured_at,
       started_at, greatest(seen_at, stages_at) AS seen_at, stopped_at
FROM ledger.workers;
