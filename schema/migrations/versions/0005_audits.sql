-- What audits need: who has what of an archive, what a listing chose, and where each part of it
-- stands. With it the rights of the roles become rows, so that a migration adds its own and no more.

CREATE TABLE ledger.role_rights (
    since text NOT NULL,
    role  text NOT NULL,
    may   text NOT NULL
);
INSERT INTO ledger.role_rights (since, role, may)
SELECT '0004', role, CASE WHEN may LIKE 'TEMPORARY ON DATABASE %'
                          THEN 'TEMPORARY ON DATABASE $DATABASE' ELSE may END
FROM ledger.rights;
DROP VIEW ledger.rights;

-- Each right as GRANT says it. A migration adds its rows to `role_rights` and calls `grant_roles`;
-- taken back, it calls `forget_rights`.
CREATE VIEW ledger.rights (role, may, since) AS
SELECT role, replace(may, '$DATABASE', quote_ident(current_database())), since
FROM ledger.role_rights;

CREATE FUNCTION ledger.forget_rights(migration text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    wanted text;
    granted text;
BEGIN
    FOR wanted, granted IN SELECT role, may FROM ledger.rights WHERE since = migration LOOP
        IF to_regrole(wanted) IS NOT NULL THEN
            EXECUTE format('REVOKE %s FROM %I', granted, wanted);
        END IF;
    END LOOP;
    DELETE FROM ledger.role_rights WHERE since = migration;
END $$;
REVOKE EXECUTE ON FUNCTION ledger.forget_rights FROM PUBLIC;

-- Why an audit looks at an image: it never saw it; it is another than it was; or it stands as it
-- was, and has no verdict by the current models and policy.
CREATE TYPE ledger.change AS ENUM ('new', 'changed', 'again');

-- New words cannot be used before this transaction ends.
ALTER TYPE ledger.batch_state ADD VALUE IF NOT EXISTS 'following';

-- `archive` is a digest of an audit's sources and choices: audits with the same one follow each
-- other. `vanished_count` is NULL until it is known, or where it cannot be.
ALTER TABLE ledger.scans
    ADD COLUMN is_audit boolean NOT NULL DEFAULT false,
    ADD COLUMN selection jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN archive text,
    ADD COLUMN vanished_count bigint;
CREATE INDEX scans_archive ON ledger.scans (archive, scan_id DESC) WHERE is_audit;

-- A part is a stretch of a source that is listed alone: most sources are one part, a prefix is
-- cut where its keys are many. `cursor` is where its listing stands, written in the transaction
-- that records what came before it; `until` is the last cursor that belongs to it.
CREATE TABLE ledger.source_parts (
    scan_id         bigint NOT NULL,
    position        integer NOT NULL,
    part            integer NOT NULL,
    cursor          text,
    until           text,
    listed_at       timestamptz,
    unchanged_count bigint NOT NULL DEFAULT 0,
    new_count       bigint NOT NULL DEFAULT 0,
    changed_count   bigint NOT NULL DEFAULT 0,
    again_count     bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (scan_id, position, part),
    FOREIGN KEY (scan_id, position) REFERENCES ledger.scan_sources
) WITH (fillfactor = 50);
INSERT INTO ledger.source_parts (scan_id, position, part, cursor, listed_at)
SELECT scan_id, position, 0, cursor, listed_at FROM ledger.scan_sources;
ALTER TABLE ledger.scan_sources DROP COLUMN cursor;

-- `occurrence` tells apart what one scan sees at one URI at several times, as a stream of uploads
-- does; it is empty otherwise. `known_content_id` is what an audit knows of the bytes without a look.
ALTER TABLE ledger.images
    ADD COLUMN occurrence text COLLATE "C" NOT NULL DEFAULT '',
    ADD COLUMN change ledger.change,
    ADD COLUMN known_content_id bigint;
DROP INDEX ledger.images_uri;
CREATE UNIQUE INDEX images_uri ON ledger.images (uri, scan_id, occurrence);
CREATE INDEX images_content ON ledger.images (scan_id, known_content_id)
    WHERE known_content_id IS NOT NULL;

-- The images that stand for what an audit saw, run by run: its own, and older ones that hold. By
-- `digest`, of everything that was listed of the images of a run, it is known again as a whole.
CREATE TABLE ledger.sightings (
    scan_id   bigint NOT NULL,
    image_ids bigint[] NOT NULL,
    digest    bytea
);
CREATE INDEX sightings_scan ON ledger.sightings (scan_id);
CREATE INDEX sightings_digest ON ledger.sightings (digest) WHERE digest IS NOT NULL;

-- The last images of what an audit no longer found.
CREATE TABLE ledger.vanished (
    scan_id  bigint NOT NULL,
    image_id bigint NOT NULL,
    PRIMARY KEY (scan_id, image_id)
);

-- What an audit looked at and why, and what it no longer found.
CREATE VIEW public.audit_changes AS
SELECT b.scan_id, i.change::text AS change, i.uri, i.size_bytes, i.etag, i.modified_at, i.image_id
FROM ledger.batches b JOIN ledger.images i USING (batch_id)
WHERE i.change IS NOT NULL
UNION ALL
SELECT v.scan_id, 'vanished', i.uri, i.size_bytes, i.etag, i.modified_at, i.image_id
FROM ledger.vanished v JOIN ledger.images i USING (image_id);

-- Everything an audit saw, each by the image whose verdict holds, whichever scan judged it.
CREATE VIEW public.audit_images AS
SELECT s.scan_id, i.uri, i.image_id, i.scan_id AS judged_in_scan, i.size_bytes, i.etag,
       i.modified_at
FROM ledger.sightings s CROSS JOIN LATERAL unnest(s.image_ids) AS seen (image_id)
JOIN ledger.images i ON i.image_id = seen.image_id;

-- As before, and at the end what an audit made of what it listed: `unchanged` images stand as they
-- were last judged and are not among the submitted ones, which are new, changed or looked at again.
CREATE OR REPLACE VIEW public.scan_progress AS
WITH counted AS (
    SELECT s.*, p.name AS policy, b.*, a.*,
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
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(unchanged_count), 0) AS unchanged, coalesce(sum(new_count), 0) AS new,
               coalesce(sum(changed_count), 0) AS changed, coalesce(sum(again_count), 0) AS again
        FROM ledger.source_parts x WHERE x.scan_id = s.scan_id AND s.is_audit
    ) AS a
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
       greatest(created_at, listed_at, last_moved_at) AS progressed_at,
       is_audit, unchanged, new, changed, again, vanished_count AS vanished
FROM rated;

UPDATE ledger.role_rights SET may = 'UPDATE (listed_at) ON ledger.scan_sources'
WHERE may = 'UPDATE (cursor, listed_at) ON ledger.scan_sources';
INSERT INTO ledger.role_rights (since, role, may) VALUES
    ('0005', 'fakesweep_analyst', 'SELECT ON public.audit_changes, public.audit_images'),
    ('0005', 'fakesweep_worker', 'SELECT (image_id, batch_id, known_content_id) ON ledger.images'),
    ('0005', 'fakesweep_producer', 'SELECT ON public.audit_changes, public.audit_images'),
    ('0005', 'fakesweep_producer',
     'SELECT ON ledger.source_parts, ledger.sightings, ledger.vanished'),
    ('0005', 'fakesweep_producer',
     'INSERT ON ledger.source_parts, ledger.sightings, ledger.vanished'),
    ('0005', 'fakesweep_producer',
     'UPDATE (cursor, until, listed_at, unchanged_count, new_count, changed_count, again_count)
        ON ledger.source_parts'),
    ('0005', 'fakesweep_producer', 'UPDATE (vanished_count) ON ledger.scans'),
    ('0005', 'fakesweep_producer', 'TEMPORARY ON DATABASE $DATABASE');
SELECT ledger.grant_roles();
