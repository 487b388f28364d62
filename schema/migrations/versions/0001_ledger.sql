-- The ledger: what was asked for, what came of it, and by which model and policy.
-- Rows are only ever added, but for batches (which move on) and verdicts (which are re-judged).

CREATE SCHEMA ledger;

CREATE TYPE ledger.lane AS ENUM ('live', 'bulk');
CREATE TYPE ledger.batch_state AS ENUM ('recorded', 'published', 'running', 'done');
CREATE TYPE ledger.image_status AS ENUM ('classified', 'reused', 'failed');
CREATE TYPE ledger.verdict AS ENUM ('real', 'uncertain', 'fake');
CREATE TYPE ledger.kind AS ENUM ('ai_generated', 'deepfake', 'unknown');
CREATE TYPE ledger.failure_code AS ENUM (
    'invalid_uri', 'not_found', 'access_denied', 'timed_out', 'unavailable', 'too_large',
    'empty', 'not_an_image', 'corrupt', 'too_many_pixels',
    'model_unavailable', 'model_failed', 'killed_worker'
);

-- A policy is changed by adding a row of the same name; a verdict points at the row it was
-- judged by, so the cut points behind it are never in doubt.
CREATE TABLE ledger.policies (
    policy_id  integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name       text NOT NULL,
    real_below double precision NOT NULL,
    fake_above double precision NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT cut_points_in_order
        CHECK (0 <= real_below AND real_below <= fake_above AND fake_above <= 1)
);
CREATE INDEX policies_name ON ledger.policies (name, policy_id DESC);
INSERT INTO ledger.policies (name, real_below, fake_above)
VALUES ('default', 0.2, 0.8), ('card', 0.5, 0.5);

-- A model is a key at one revision, with one preprocessing and one reading of its labels;
-- the fingerprint is a digest of everything but the weights that changes a score.
CREATE TABLE ledger.models (
    model_id      integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key           text NOT NULL,
    source        text NOT NULL,
    revision      text NOT NULL,
    fingerprint   text NOT NULL,
    architecture  text NOT NULL,
    preprocessing jsonb NOT NULL,
    labels        text[] NOT NULL,
    sides         text[] NOT NULL,
    sides_origin  text NOT NULL,
    first_loaded_at timestamptz NOT NULL DEFAULT now(),
    superseded_at timestamptz,
    UNIQUE (key, revision, fingerprint)
);

CREATE TABLE ledger.workers (
    worker_id  uuid PRIMARY KEY,
    hostname   text NOT NULL,
    pid        integer NOT NULL,
    device     text NOT NULL,
    version    text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    seen_at    timestamptz NOT NULL DEFAULT now(),
    stopped_at timestamptz
);

-- One row for each time a process loaded a model: exactly one a process and model.
CREATE TABLE ledger.model_loads (
    worker_id uuid NOT NULL REFERENCES ledger.workers,
    model_id  integer NOT NULL REFERENCES ledger.models,
    seconds   double precision NOT NULL,
    loaded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (worker_id, model_id)
);

CREATE TABLE ledger.scans (
    scan_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name       text,
    lane       ledger.lane NOT NULL,
    policy_id  integer NOT NULL REFERENCES ledger.policies,
    model_keys text[] NOT NULL CHECK (cardinality(model_keys) > 0),
    created_at timestamptz NOT NULL DEFAULT now(),
    listed_at  timestamptz
);
CREATE INDEX scans_listing ON ledger.scans (scan_id) WHERE listed_at IS NULL;

-- `cursor` is where listing stands, written in the transaction that records the images before
-- it; `hostname` is set where only that machine can list the source (folders, standard input).
CREATE TABLE ledger.scan_sources (
    scan_id   bigint NOT NULL REFERENCES ledger.scans,
    position  integer NOT NULL,
    source    text NOT NULL,
    hostname  text,
    cursor    text,
    listed_at timestamptz,
    PRIMARY KEY (scan_id, position)
);

CREATE TABLE ledger.batches (
    batch_id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    scan_id          bigint NOT NULL REFERENCES ledger.scans,
    lane             ledger.lane NOT NULL,
    state            ledger.batch_state NOT NULL DEFAULT 'recorded',
    image_count      integer NOT NULL,
    classified_count integer NOT NULL DEFAULT 0,
    reused_count     integer NOT NULL DEFAULT 0,
    failed_count     integer NOT NULL DEFAULT 0,
    attempt          integer NOT NULL DEFAULT 0,
    worker_id        uuid,
    lease_until      timestamptz,
    created_at       timestamptz NOT NULL DEFAULT now(),
    published_at     timestamptz,
    finished_at      timestamptz,
    CHECK (classified_count + reused_count + failed_count <= image_count),
    CHECK (state <> 'done' OR classified_count + reused_count + failed_count = image_count)
) WITH (fillfactor = 70);
CREATE INDEX batches_scan ON ledger.batches (scan_id, batch_id);
CREATE INDEX batches_unfinished ON ledger.batches (state, lane, batch_id) WHERE state <> 'done';

CREATE TABLE ledger.images (
    image_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    scan_id     bigint NOT NULL,
    batch_id    bigint NOT NULL,
    uri         text COLLATE "C" NOT NULL,
    size_bytes  bigint,
    etag        text,
    modified_at timestamptz
);
CREATE UNIQUE INDEX images_uri ON ledger.images (uri, scan_id);
CREATE INDEX images_batch ON ledger.images (batch_id);

CREATE TABLE ledger.contents (
    content_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sha256        bytea NOT NULL UNIQUE CHECK (length(sha256) = 32),
    size_bytes    bigint NOT NULL,
    width         integer,
    height        integer,
    format        text,
    frame_count   integer,
    first_seen_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE ledger.predictions (
    content_id    bigint NOT NULL,
    model_id      integer NOT NULL,
    scores        real[] NOT NULL,
    p_fake        double precision NOT NULL CHECK (p_fake BETWEEN 0 AND 1),
    kind          ledger.kind NOT NULL,
    classified_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (content_id, model_id)
);

-- One row for each image of a scan that has ended; an image without one is pending.
CREATE TABLE ledger.outcomes (
    image_id        bigint PRIMARY KEY,
    scan_id         bigint NOT NULL,
    status          ledger.image_status NOT NULL,
    content_id      bigint,
    failure_code    ledger.failure_code,
    failure_message text,
    finished_at     timestamptz NOT NULL DEFAULT now(),
    CHECK ((status = 'failed') = (failure_code IS NOT NULL)),
    CHECK (status = 'failed' OR content_id IS NOT NULL)
);
CREATE INDEX outcomes_failed ON ledger.outcomes (scan_id, failure_code) WHERE status = 'failed';
CREATE INDEX outcomes_failed_content ON ledger.outcomes (content_id)
    WHERE status = 'failed' AND content_id IS NOT NULL;

CREATE TABLE ledger.verdicts (
    image_id   bigint NOT NULL,
    model_id   integer NOT NULL,
    scan_id    bigint NOT NULL,
    content_id bigint NOT NULL,
    policy_id  integer NOT NULL,
    p_fake     double precision NOT NULL,
    verdict    ledger.verdict NOT NULL,
    kind       ledger.kind,
    judged_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (image_id, model_id)
);
CREATE INDEX verdicts_scan ON ledger.verdicts (scan_id, p_fake DESC);
CREATE INDEX verdicts_content ON ledger.verdicts (content_id, model_id, image_id DESC);
CREATE INDEX verdicts_review ON ledger.verdicts (p_fake, image_id, model_id)
    WHERE verdict <> 'real';

-- A model's own labels and their probabilities; one that names two classes alike gets their sum.
CREATE FUNCTION ledger.named_scores(labels text[], scores real[]) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (SELECT jsonb_object_agg(label, score)
        FROM (SELECT label, sum(score) AS score FROM unnest(labels, scores) AS x (label, score)
              WHERE label IS NOT NULL GROUP BY label) AS named);

-- The row of the content with that SHA-256, written in hexadecimal; NULL where it was never seen.
-- (An index on the hexadecimal text would double the random writes of every new content.)
CREATE FUNCTION public.content_id_of(sha256 text) RETURNS bigint
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog
RETURN (SELECT c.content_id FROM ledger.contents c
        WHERE c.sha256 = decode(content_id_of.sha256, 'hex'));

CREATE FUNCTION public.judge(
    p_fake double precision, real_below double precision, fake_above double precision
) RETURNS ledger.verdict LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN p_fake < real_below THEN 'real'::ledger.verdict
            WHEN p_fake > fake_above THEN 'fake'::ledger.verdict
            ELSE 'uncertain'::ledger.verdict END;

-- Change a policy, or add one, from now on; what was judged before keeps its verdicts until it is
-- judged again. Returns the row that holds the cut points.
CREATE FUNCTION public.set_policy(
    name text, real_below double precision, fake_above double precision
) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    newest ledger.policies;
BEGIN
    SELECT * INTO newest FROM ledger.policies p
    WHERE p.name = set_policy.name ORDER BY p.policy_id DESC LIMIT 1;
    IF (newest.real_below, newest.fake_above)
        IS DISTINCT FROM (set_policy.real_below, set_policy.fake_above)
    THEN
        INSERT INTO ledger.policies (name, real_below, fake_above)
        VALUES (set_policy.name, set_policy.real_below, set_policy.fake_above)
        RETURNING * INTO newest;
    END IF;
    RETURN newest.policy_id;
END $$;

-- Judge a scan again from its stored scores, by the newest policy of that name.
-- Returns how many verdicts changed their word.
CREATE FUNCTION public.rejudge(scan bigint, policy text)
RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    chosen ledger.policies;
    changed bigint;
BEGIN
    SELECT * INTO chosen FROM ledger.policies p
    WHERE p.name = policy ORDER BY p.policy_id DESC LIMIT 1;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no policy named %', policy;
    END IF;
    UPDATE ledger.scans SET policy_id = chosen.policy_id WHERE scan_id = scan;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no scan %', scan;
    END IF;
    WITH judged AS (
        SELECT v.image_id, v.model_id, v.verdict AS before, p.p_fake, p.kind,
               public.judge(p.p_fake, chosen.real_below, chosen.fake_above) AS after
        FROM ledger.verdicts v JOIN ledger.predictions p USING (content_id, model_id)
        WHERE v.scan_id = scan AND v.policy_id <> chosen.policy_id
    ), written AS (
        UPDATE ledger.verdicts v
        SET policy_id = chosen.policy_id, p_fake = j.p_fake, verdict = j.after,
            kind = CASE WHEN j.after <> 'real' THEN j.kind END, judged_at = now()
        FROM judged j WHERE (v.image_id, v.model_id) = (j.image_id, j.model_id)
        RETURNING j.before <> j.after AS differs
    )
    SELECT count(*) FILTER (WHERE differs) INTO changed FROM written;
    RETURN changed;
END $$;

-- Opens one query as a cursor: the server itself refuses a second statement.
CREATE FUNCTION ledger.open_query(query text) RETURNS refcursor LANGUAGE plpgsql AS $$
DECLARE opened refcursor := 'opened';
BEGIN
    OPEN opened NO SCROLL FOR EXECUTE query;
    RETURN opened;
END $$;
