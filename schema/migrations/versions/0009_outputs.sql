-- Outputs: manifests that are written while a scan runs, and tokens that make asking again harmless.

-- `asked` is what was asked for with the token, in the words of the request: asking again with the
-- same token is held against it.
ALTER TABLE ledger.scans
    ADD COLUMN token text,
    ADD COLUMN asked jsonb,
    ADD CONSTRAINT tokens_are_short CHECK (length(token) BETWEEN 1 AND 64);
CREATE UNIQUE INDEX scans_token ON ledger.scans (token) WHERE token IS NOT NULL;

-- Where a scan's output goes, one destination for each scan for ever: `hostname` is set where it is
-- a folder of that machine. Every batch before `from_batch_id` is in a part, as far as could be
-- seen; `last_batch_id` is the newest one when the output ended. `trouble` is why it could not be
-- written, and `try_at` when that is tried again.
CREATE TABLE ledger.outputs (
    scan_id        bigint PRIMARY KEY REFERENCES ledger.scans ON DELETE CASCADE,
    destination    text NOT NULL,
    hostname       text,
    from_batch_id  bigint NOT NULL DEFAULT 0,
    last_batch_id  bigint,
    ended_at       timestamptz,
    trouble        text,
    troubled_since timestamptz,
    try_at         timestamptz
);
CREATE UNIQUE INDEX outputs_destination ON ledger.outputs (destination, coalesce(hostname, ''));
CREATE INDEX outputs_open ON ledger.outputs (scan_id) WHERE ended_at IS NULL;

-- A part is recorded with its batches before it is written, so that a successor writes the
-- same part again; `lines`, `size_bytes` and `sha256` are of the file that was written.
CREATE TABLE ledger.output_parts (
    scan_id    bigint NOT NULL REFERENCES ledger.outputs ON DELETE CASCADE,
    part       integer NOT NULL,
    lines      bigint,
    size_bytes bigint,
    sha256     bytea,
    cut_at     timestamptz NOT NULL DEFAULT now(),
    written_at timestamptz,
    PRIMARY KEY (scan_id, part),
    CHECK (written_at IS NULL OR num_nulls(lines, size_bytes, sha256) = 0)
) WITH (fillfactor = 70);
CREATE INDEX output_parts_unwritten ON ledger.output_parts (scan_id, part)
    WHERE written_at IS NULL;

CREATE TABLE ledger.output_batches (
    scan_id  bigint NOT NULL REFERENCES ledger.outputs ON DELETE CASCADE,
    batch_id bigint NOT NULL,
    part     integer NOT NULL,
    PRIMARY KEY (scan_id, batch_id)
);
CREATE INDEX output_batches_part ON ledger.output_batches (scan_id, part);

CREATE VIEW public.outputs AS
SELECT o.scan_id, o.destination, o.hostname, p.parts, p.lines, p.size_bytes, p.last_written_at,
       o.ended_at, o.trouble, o.troubled_since
FROM ledger.outputs o CROSS JOIN LATERAL (
    SELECT count(*) AS parts, coalesce(sum(lines), 0)::bigint AS lines,
           coalesce(sum(size_bytes), 0)::bigint AS size_bytes, max(written_at) AS last_written_at
    FROM ledger.output_parts x WHERE x.scan_id = o.scan_id AND x.written_at IS NOT NULL
) AS p;

CREATE VIEW public.output_parts AS
SELECT scan_id, part,
       format('results/part-%s.jsonl', lpad(part::text, greatest(6, length(part::text)), '0'))
           AS file,
       lines, size_bytes, encode(sha256, 'hex') AS sha256, written_at
FROM ledger.output_parts WHERE written_at IS NOT NULL;

INSERT INTO ledger.role_rights (since, role, may) VALUES
    ('0009', 'fakesweep_analyst', 'SELECT ON public.outputs, public.output_parts'),
    ('0009', 'fakesweep_producer', 'SELECT ON public.outputs, public.output_parts'),
    ('0009', 'fakesweep_producer',
     'SELECT ON ledger.outputs, ledger.output_parts, ledger.output_batches'),
    ('0009', 'fakesweep_producer',
     'INSERT ON ledger.outputs, ledger.output_parts, ledger.output_batches'),
    ('0009', 'fakesweep_producer',
     'UPDATE (from_batch_id, last_batch_id, ended_at, trouble, troubled_since, try_at)
        ON ledger.outputs'),
    ('0009', 'fakesweep_producer',
     'UPDATE (lines, size_bytes, sha256, written_at) ON ledger.output_parts'),
    ('0009', 'fakesweep_producer', 'UPDATE (token, asked) ON ledger.scans');
SELECT ledger.grant_roles();
