-- Schedules: scans that are asked for by a clock. Whichever producer finds a schedule due holds its
-- row and, in one transaction, records the scan, what became of the time, and the next time.

CREATE TYPE ledger.schedule_outcome AS ENUM ('fired', 'skipped', 'missed', 'refused');

-- `model_keys` and `policy` are names, looked up anew each time. `next_at` is the first time that
-- nothing is recorded of yet. A removed schedule stays as the history of its scans.
CREATE TABLE ledger.schedules (
    schedule_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name        text NOT NULL,
    cron        text NOT NULL,
    timezone    text NOT NULL,
    model_keys  text[] NOT NULL CHECK (cardinality(model_keys) > 0),
    policy      text NOT NULL,
    lane        ledger.lane NOT NULL,
    selection   jsonb NOT NULL DEFAULT '{}',
    is_full     boolean NOT NULL DEFAULT false,
    next_at     timestamptz NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    paused_at   timestamptz,
    removed_at  timestamptz
);
CREATE UNIQUE INDEX schedules_name ON ledger.schedules (name) WHERE removed_at IS NULL;
CREATE INDEX schedules_due ON ledger.schedules (next_at)
    WHERE paused_at IS NULL AND removed_at IS NULL;

-- `hostname` is set where only the machine on which the schedule was added can list the source.
CREATE TABLE ledger.schedule_sources (
    schedule_id bigint NOT NULL REFERENCES ledger.schedules,
    position    integer NOT NULL,
    source      text NOT NULL,
    hostname    text,
    PRIMARY KEY (schedule_id, position)
);

-- What became of each time. `scan_id` is a number alone: it outlives a scan that is forgotten.
CREATE TABLE ledger.schedule_runs (
    schedule_id bigint NOT NULL REFERENCES ledger.schedules,
    due_at      timestamptz NOT NULL,
    outcome     ledger.schedule_outcome NOT NULL,
    by_hand     boolean NOT NULL DEFAULT false,
    scan_id     bigint,
    reason      text,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (schedule_id, due_at),
    CHECK ((outcome = 'fired') = (scan_id IS NOT NULL)),
    CHECK ((outcome IN ('skipped', 'refused')) = (reason IS NOT NULL))
);

-- No time makes two scans, whatever happens to the rows above.
ALTER TABLE ledger.scans
    ADD COLUMN schedule_id bigint REFERENCES ledger.schedules,
    ADD COLUMN due_at timestamptz,
    ADD CONSTRAINT scans_schedule_and_time CHECK ((schedule_id IS NULL) = (due_at IS NULL));
CREATE UNIQUE INDEX scans_schedule ON ledger.scans (schedule_id, due_at)
    WHERE schedule_id IS NOT NULL;

CREATE VIEW public.schedules AS
SELECT s.schedule_id, s.name,
       CASE WHEN s.removed_at IS NOT NULL THEN 'removed'
            WHEN s.paused_at IS NOT NULL THEN 'paused'
            ELSE 'active' END AS state,
       s.cron, s.timezone,
       CASE WHEN s.removed_at IS NULL AND s.paused_at IS NULL THEN s.next_at END AS next_at,
       ARRAY(SELECT x.source FROM ledger.schedule_sources x
             WHERE x.schedule_id = s.schedule_id ORDER BY x.position) AS sources,
       s.model_keys AS models, s.policy, s.lane, s.is_full, s.selection,
       r.due_at AS last_due_at, r.outcome::text AS last_outcome,
       (SELECT max(c.scan_id) FROM ledger.scans c WHERE c.schedule_id = s.schedule_id)
           AS last_scan_id,
       s.created_at, s.paused_at, s.removed_at
FROM ledger.schedules s
LEFT JOIN LATERAL (
    SELECT x.due_at, x.outcome FROM ledger.schedule_runs x
    WHERE x.schedule_id = s.schedule_id ORDER BY x.due_at DESC LIMIT 1
) AS r ON true;

CREATE VIEW public.schedule_runs AS
SELECT r.schedule_id, s.name AS schedule, r.due_at, r.outcome::text AS outcome, r.by_hand,
       r.scan_id, r.reason, r.recorded_at
FROM ledger.schedule_runs r JOIN ledger.schedules s USING (schedule_id);

INSERT INTO ledger.role_rights (since, role, may) VALUES
    ('0006', 'fakesweep_analyst', 'SELECT ON public.schedules, public.schedule_runs'),
    ('0006', 'fakesweep_producer', 'SELECT ON public.schedules, public.schedule_runs'),
    ('0006', 'fakesweep_producer',
     'SELECT ON ledger.schedules, ledger.schedule_sources, ledger.schedule_runs'),
    ('0006', 'fakesweep_producer',
     'INSERT ON ledger.schedules, ledger.schedule_sources, ledger.schedule_runs'),
    ('0006', 'fakesweep_producer', 'UPDATE (next_at, paused_at, removed_at) ON ledger.schedules'),
    ('0006', 'fakesweep_producer', 'UPDATE (schedule_id, due_at) ON ledger.scans');
SELECT ledger.grant_roles();
