-- As before, and the bottleneck by its name; workers of earlier versions tell `wall` alone.
CREATE OR REPLACE VIEW public.workers AS
SELECT worker_id, hostname, pid, device, version,
       (stages_lately ->> 'images_per_second')::double precision AS images_per_second,
       stages_lately ->> 'wall' AS wall,
       stages_lately -> 'stages' AS stages,
       stages_at AS measured_at,
       started_at, greatest(seen_at, stages_at) AS seen_at, stopped_at, stages_total,
       coalesce(stages_lately ->> 'bottleneck', stages_lately ->> 'wall') AS bottleneck
FROM ledger.workers;
