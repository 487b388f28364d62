-- Models that a worker could not load: one row for each model and worker while that lasts, and after.

CREATE TABLE ledger.model_troubles (
    worker_id   uuid NOT NULL REFERENCES ledger.workers ON DELETE CASCADE,
    key         text NOT NULL,
    reason      text NOT NULL,
    tries       integer NOT NULL,
    since       timestamptz NOT NULL DEFAULT now(),
    next_try_at timestamptz,
    ended_at    timestamptz,
    PRIMARY KEY (worker_id, key)
);

CREATE VIEW public.model_troubles AS
SELECT t.key AS model, w.hostname, w.pid, t.reason, t.tries, t.since, t.next_try_at, t.worker_id
FROM ledger.model_troubles t JOIN ledger.workers w USING (worker_id)
WHERE t.ended_at IS NULL AND w.stopped_at IS NULL AND w.seen_at > now() - interval '60 seconds';

INSERT INTO ledger.role_rights (since, role, may) VALUES
    ('0019', 'fakesweep_worker', 'SELECT ON ledger.model_troubles'),
    ('0019', 'fakesweep_worker', 'INSERT ON ledger.model_troubles'),
    ('0019', 'fakesweep_worker',
     'UPDATE (reason, tries, since, next_try_at, ended_at) ON ledger.model_troubles'),
    ('0019', 'fakesweep_analyst', 'SELECT ON public.model_troubles'),
    ('0019', 'fakesweep_producer', 'SELECT ON public.model_troubles');
SELECT ledger.grant_roles();
