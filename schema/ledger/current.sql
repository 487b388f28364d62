-- The database after every migration up to 0030: types, tables, views, functions and grants, each
-- in the order of schema and name. `make current-sql` writes this file from PostgreSQL's catalogs;
-- nothing runs it. The migrations say what each thing is for.

-- Types

CREATE TYPE ledger.batch_state AS ENUM (
    'recorded',
    'published',
    'running',
    'done',
    'held',
    'following',
    'set_aside'
);

CREATE TYPE ledger.change AS ENUM (
    'new',
    'changed',
    'again'
);

CREATE TYPE ledger.failure_code AS ENUM (
    'invalid_uri',
    'not_found',
    'access_denied',
    'timed_out',
    'unavailable',
    'too_large',
    'empty',
    'not_an_image',
    'unsupported',
    'corrupt',
    'decode_timed_out',
    'killed_loader',
    'too_many_pixels',
    'model_unavailable',
    'model_failed',
    'killed_worker'
);

CREATE TYPE ledger.image_status AS ENUM (
    'classified',
    'reused',
    'failed'
);

CREATE TYPE ledger.kind AS ENUM (
    'ai_generated',
    'deepfake',
    'unknown'
);

CREATE TYPE ledger.lane AS ENUM (
    'live',
    'quarantine',
    'bulk'
);

CREATE TYPE ledger.read_as AS ENUM (
    'image',
    'scaled',
    'preview',
    'composite'
);

CREATE TYPE ledger.schedule_outcome AS ENUM (
    'fired',
    'skipped',
    'missed',
    'refused'
);

CREATE TYPE ledger.verdict AS ENUM (
    'real',
    'uncertain',
    'fake'
);

-- Tables

CREATE TABLE ledger.api_tokens (
    token_id integer GENERATED ALWAYS AS IDENTITY NOT NULL,
    name text NOT NULL,
    sha256 bytea NOT NULL,
    scopes text[] NOT NULL,
    rate_per_minute integer NOT NULL,
    created_at timestamp with time zone NOT NULL DEFAULT now(),
    expires_at timestamp with time zone,
    revoked_at timestamp with time zone,
    last_used_at timestamp with time zone,
    CONSTRAINT api_tokens_pkey PRIMARY KEY (token_id),
    CONSTRAINT api_tokens_sha256_key UNIQUE (sha256),
    CONSTRAINT api_tokens_name_check CHECK (name <> ''::text),
    CONSTRAINT api_tokens_rate_per_minute_check CHECK (rate_per_minute > 0),
    CONSTRAINT api_tokens_sha256_check CHECK (length(sha256) = 32),
    CONSTRAINT scopes_are_known CHECK (cardinality(scopes) > 0 AND scopes <@ ARRAY['submit'::text, 'read'::text])
) WITH (fillfactor=70);
CREATE UNIQUE INDEX api_tokens_name ON ledger.api_tokens USING btree (name) WHERE (revoked_at IS NULL);

CREATE TABLE ledger.batches (
    batch_id bigint GENERATED ALWAYS AS IDENTITY NOT NULL,
    scan_id bigint NOT NULL,
    lane ledger.lane NOT NULL,
    state ledger.batch_state NOT NULL DEFAULT 'recorded'::ledger.batch_state,
    image_count integer NOT NULL,
    classified_count integer NOT NULL DEFAULT 0,
    reused_count integer NOT NULL DEFAULT 0,
    failed_count integer NOT NULL DEFAULT 0,
    attempt integer NOT NULL DEFAULT 0,
    worker_id uuid,
    lease_until timestamp with time zone,
    created_at timestamp with time zone NOT NULL DEFAULT now(),
    published_at timestamp with time zone,
    finished_at timestamp with time zone,
    expiries integer NOT NULL DEFAULT 0,
    strikes integer NOT NULL DEFAULT 0,
    split_from bigint,
    refusals integer NOT NULL DEFAULT 0,
    trouble text,
    troubled_since timestamp with time zone,
    try_at timestamp with time zone,
    CONSTRAINT batches_pkey PRIMARY KEY (batch_id),
    CONSTRAINT batches_scan_id_fkey FOREIGN KEY (scan_id) REFERENCES ledger.scans(scan_id),
    CONSTRAINT batches_check CHECK ((classified_count + reused_count + failed_count) <= image_count),
    CONSTRAINT batches_check1 CHECK (state <> 'done'::ledger.batch_state OR (classified_count + reused_count + failed_count) = image_count),
    CONSTRAINT batches_trouble_check CHECK (octet_length(trouble) <= 8000)
) WITH (fillfactor=70);
CREATE INDEX batches_finished ON ledger.batches USING btree (scan_id, finished_at) WHERE (finished_at IS NOT NULL);
CREATE INDEX batches_scan ON ledger.batches USING btree (scan_id, batch_id);
CREATE INDEX batches_troubled ON ledger.batches USING btree (scan_id) WHERE (trouble IS NOT NULL);
CREATE INDEX batches_unfinished ON ledger.batches USING btree (state, lane, batch_id) WHERE (state <> 'done'::ledger.batch_state);
CREATE CONSTRAINT TRIGGER batches_added AFTER INSERT ON ledger.batches DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN ((new.image_count <> 0)) EXECUTE FUNCTION ledger.count_batch();
CREATE CONSTRAINT TRIGGER batches_counted AFTER UPDATE OF image_count, classified_count, reused_count, failed_count ON ledger.batches DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (((((new.image_count IS DISTINCT FROM old.image_count) OR (new.classified_count IS DISTINCT FROM old.classified_count)) OR (new.reused_count IS DISTINCT FROM old.reused_count)) OR (new.failed_count IS DISTINCT FROM old.failed_count))) EXECUTE FUNCTION ledger.count_batch();
CREATE CONSTRAINT TRIGGER batches_dropped AFTER DELETE ON ledger.batches DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN ((old.image_count <> 0)) EXECUTE FUNCTION ledger.count_batch();

CREATE TABLE ledger.contents (
    content_id bigint GENERATED ALWAYS AS IDENTITY NOT NULL,
    sha256 bytea NOT NULL,
    size_bytes bigint NOT NULL,
    width integer,
    height integer,
    format text,
    frame_count integer,
    first_seen_at timestamp with time zone NOT NULL DEFAULT now(),
    read_as ledger.read_as,
    CONSTRAINT contents_pkey PRIMARY KEY (content_id),
    CONSTRAINT contents_sha256_key UNIQUE (sha256),
    CONSTRAINT contents_sha256_check CHECK (length(sha256) = 32)
);

CREATE TABLE ledger.images (
    image_id bigint GENERATED ALWAYS AS IDENTITY NOT NULL,
    scan_id bigint NOT NULL,
    batch_id bigint NOT NULL,
    uri text COLLATE "C" NOT NULL,
    size_bytes bigint,
    etag text,
    modified_at timestamp with time zone,
    occurrence text COLLATE "C" NOT NULL DEFAULT ''::text,
    change ledger.change,
    known_content_id bigint,
    CONSTRAINT images_pkey PRIMARY KEY (image_id)
);
CREATE INDEX images_batch ON ledger.images USING btree (batch_id);
CREATE INDEX images_content ON ledger.images USING btree (scan_id, known_content_id) WHERE (known_content_id IS NOT NULL);
CREATE UNIQUE INDEX images_long_uri ON ledger.images USING btree (ledger.digest_of(uri), scan_id, occurrence) WHERE (octet_length(uri) > 2048);
CREATE UNIQUE INDEX images_short_uri ON ledger.images USING btree (uri, scan_id, occurrence) WHERE (octet_length(uri) <= 2048);
CREATE INDEX images_uri ON ledger.images USING spgist (uri);

CREATE TABLE ledger.listing_counts (
    scan_id bigint NOT NULL,
    sort text NOT NULL,
    name text NOT NULL,
    files bigint NOT NULL,
    CONSTRAINT listing_counts_pkey PRIMARY KEY (scan_id, sort, name)
) WITH (fillfactor=50);

CREATE TABLE ledger.listing_troubles (
    scan_id bigint NOT NULL,
    reason text,
    since timestamp with time zone,
    try_at timestamp with time zone,
    CONSTRAINT listing_troubles_pkey PRIMARY KEY (scan_id),
    CONSTRAINT listing_troubles_scan_id_fkey FOREIGN KEY (scan_id) REFERENCES ledger.scans(scan_id) ON DELETE CASCADE,
    CONSTRAINT listing_troubles_check CHECK (num_nulls(reason, since, try_at) = ANY (ARRAY[0, 3]))
) WITH (fillfactor=50);

CREATE TABLE ledger.model_loads (
    worker_id uuid NOT NULL,
    model_id integer NOT NULL,
    seconds double precision NOT NULL,
    loaded_at timestamp with time zone NOT NULL DEFAULT now(),
    CONSTRAINT model_loads_pkey PRIMARY KEY (worker_id, model_id),
    CONSTRAINT model_loads_model_id_fkey FOREIGN KEY (model_id) REFERENCES ledger.models(model_id),
    CONSTRAINT model_loads_worker_id_fkey FOREIGN KEY (worker_id) REFERENCES ledger.workers(worker_id)
);

CREATE TABLE ledger.model_troubles (
    worker_id uuid NOT NULL,
    key text NOT NULL,
    reason text NOT NULL,
    tries integer NOT NULL,
    since timestamp with time zone NOT NULL DEFAULT now(),
    next_try_at timestamp with time zone,
    ended_at timestamp with time zone,
    CONSTRAINT model_troubles_pkey PRIMARY KEY (worker_id, key),
    CONSTRAINT model_troubles_worker_id_fkey FOREIGN KEY (worker_id) REFERENCES ledger.workers(worker_id) ON DELETE CASCADE
);

CREATE TABLE ledger.models (
    model_id integer GENERATED ALWAYS AS IDENTITY NOT NULL,
    key text NOT NULL,
    source text NOT NULL,
    revision text NOT NULL,
    fingerprint text NOT NULL,
    architecture text NOT NULL,
    preprocessing jsonb NOT NULL,
    labels text[] NOT NULL,
    sides text[] NOT NULL,
    sides_origin text NOT NULL,
    first_loaded_at timestamp with time zone NOT NULL DEFAULT now(),
    superseded_at timestamp with time zone,
    CONSTRAINT models_pkey PRIMARY KEY (model_id),
    CONSTRAINT models_key_revision_fingerprint_key UNIQUE (key, revision, fingerprint)
);

CREATE TABLE ledger.outcomes (
    image_id bigint NOT NULL,
    scan_id bigint NOT NULL,
    status ledger.image_status NOT NULL DEFAULT 'failed'::ledger.image_status,
    content_id bigint,
    failure_code ledger.failure_code,
    failure_message text,
    finished_at timestamp with time zone NOT NULL DEFAULT now(),
    CONSTRAINT outcomes_pkey PRIMARY KEY (image_id),
    CONSTRAINT messages_are_short CHECK (octet_length(failure_message) <= 8000),
    CONSTRAINT outcomes_check CHECK ((status = 'failed'::ledger.image_status) = (failure_code IS NOT NULL)),
    CONSTRAINT outcomes_check1 CHECK (status = 'failed'::ledger.image_status OR content_id IS NOT NULL)
);
CREATE INDEX outcomes_failed ON ledger.outcomes USING btree (scan_id, failure_code) WHERE (status = 'failed'::ledger.image_status);
CREATE INDEX outcomes_failed_content ON ledger.outcomes USING btree (content_id, image_id) WHERE ((status = 'failed'::ledger.image_status) AND (content_id IS NOT NULL));
CREATE INDEX outcomes_failed_image ON ledger.outcomes USING btree (image_id) WHERE (status = 'failed'::ledger.image_status);

CREATE TABLE ledger.output_batches (
    scan_id bigint NOT NULL,
    batch_id bigint NOT NULL,
    part integer NOT NULL,
    CONSTRAINT output_batches_pkey PRIMARY KEY (scan_id, batch_id),
    CONSTRAINT output_batches_scan_id_fkey FOREIGN KEY (scan_id) REFERENCES ledger.outputs(scan_id) ON DELETE CASCADE
);
CREATE INDEX output_batches_part ON ledger.output_batches USING btree (scan_id, part);

CREATE TABLE ledger.output_parts (
    scan_id bigint NOT NULL,
    part integer NOT NULL,
    lines bigint,
    size_bytes bigint,
    sha256 bytea,
    cut_at timestamp with time zone NOT NULL DEFAULT now(),
    written_at timestamp with time zone,
    CONSTRAINT output_parts_pkey PRIMARY KEY (scan_id, part),
    CONSTRAINT output_parts_scan_id_fkey FOREIGN KEY (scan_id) REFERENCES ledger.outputs(scan_id) ON DELETE CASCADE,
    CONSTRAINT output_parts_check CHECK (written_at IS NULL OR num_nulls(lines, size_bytes, sha256) = 0)
) WITH (fillfactor=70);
CREATE INDEX output_parts_unwritten ON ledger.output_parts USING btree (scan_id, part) WHERE (written_at IS NULL);

CREATE TABLE ledger.outputs (
    scan_id bigint NOT NULL,
    destination text NOT NULL,
    hostname text,
    from_batch_id bigint NOT NULL DEFAULT 0,
    last_batch_id bigint,
    ended_at timestamp with time zone,
    trouble text,
    troubled_since timestamp with time zone,
    try_at timestamp with time zone,
    CONSTRAINT outputs_pkey PRIMARY KEY (scan_id),
    CONSTRAINT outputs_scan_id_fkey FOREIGN KEY (scan_id) REFERENCES ledger.scans(scan_id) ON DELETE CASCADE,
    CONSTRAINT troubles_are_short CHECK (octet_length(trouble) <= 8000)
);
CREATE UNIQUE INDEX outputs_destination ON ledger.outputs USING btree (ledger.digest_of(destination), COALESCE(hostname, ''::text));
CREATE INDEX outputs_open ON ledger.outputs USING btree (scan_id) WHERE (ended_at IS NULL);

CREATE TABLE ledger.policies (
    policy_id integer GENERATED ALWAYS AS IDENTITY NOT NULL,
    name text NOT NULL,
    real_below double precision NOT NULL,
    fake_above double precision NOT NULL,
    created_at timestamp with time zone NOT NULL DEFAULT now(),
    CONSTRAINT policies_pkey PRIMARY KEY (policy_id),
    CONSTRAINT cut_points_in_order CHECK (0::double precision <= real_below AND real_below <= fake_above AND fake_above <= 1::double precision)
);
CREATE INDEX policies_name ON ledger.policies USING btree (name, policy_id DESC);

CREATE TABLE ledger.predictions (
    content_id bigint NOT NULL,
    model_id integer NOT NULL,
    scores real[] NOT NULL,
    p_fake double precision NOT NULL,
    kind ledger.kind NOT NULL,
    classified_at timestamp with time zone NOT NULL DEFAULT now(),
    CONSTRAINT predictions_pkey PRIMARY KEY (content_id, model_id),
    CONSTRAINT predictions_p_fake_check CHECK (p_fake >= 0::double precision AND p_fake <= 1::double precision)
);

CREATE TABLE ledger.producers (
    producer_id uuid NOT NULL,
    hostname text NOT NULL,
    pid integer NOT NULL,
    version text NOT NULL,
    started_at timestamp with time zone NOT NULL DEFAULT now(),
    seen_at timestamp with time zone NOT NULL DEFAULT now(),
    stopped_at timestamp with time zone,
    CONSTRAINT producers_pkey PRIMARY KEY (producer_id)
);

CREATE TABLE ledger.role_rights (
    since text NOT NULL,
    role text NOT NULL,
    may text NOT NULL
);

CREATE TABLE ledger.scan_counts (
    scan_id bigint NOT NULL,
    slot smallint NOT NULL,
    submitted bigint NOT NULL,
    classified bigint NOT NULL,
    reused bigint NOT NULL,
    failed bigint NOT NULL,
    CONSTRAINT scan_counts_pkey PRIMARY KEY (scan_id, slot)
) WITH (fillfactor=50);

CREATE TABLE ledger.scan_sources (
    scan_id bigint NOT NULL,
    "position" integer NOT NULL,
    source text NOT NULL,
    hostname text,
    listed_at timestamp with time zone,
    members text[],
    CONSTRAINT scan_sources_pkey PRIMARY KEY (scan_id, "position"),
    CONSTRAINT scan_sources_scan_id_fkey FOREIGN KEY (scan_id) REFERENCES ledger.scans(scan_id)
);

CREATE TABLE ledger.scans (
    scan_id bigint GENERATED ALWAYS AS IDENTITY NOT NULL,
    name text,
    lane ledger.lane NOT NULL,
    policy_id integer NOT NULL,
    model_keys text[] NOT NULL,
    created_at timestamp with time zone NOT NULL DEFAULT now(),
    listed_at timestamp with time zone,
    paused_at timestamp with time zone,
    cancelled_at timestamp with time zone,
    is_audit boolean NOT NULL DEFAULT false,
    selection jsonb NOT NULL DEFAULT '{}'::jsonb,
    archive text,
    vanished_count bigint,
    schedule_id bigint,
    due_at timestamp with time zone,
    stream text,
    stream_policy text,
    token text,
    asked jsonb,
    pruned_at timestamp with time zone,
    told_at timestamp with time zone,
    CONSTRAINT scans_pkey PRIMARY KEY (scan_id),
    CONSTRAINT scans_policy_id_fkey FOREIGN KEY (policy_id) REFERENCES ledger.policies(policy_id),
    CONSTRAINT scans_schedule_id_fkey FOREIGN KEY (schedule_id) REFERENCES ledger.schedules(schedule_id),
    CONSTRAINT scans_ask_for_a_lane CHECK (lane::text <> 'quarantine'::text),
    CONSTRAINT scans_model_keys_check CHECK (cardinality(model_keys) > 0),
    CONSTRAINT scans_of_streams_have_a_policy CHECK ((stream IS NULL) = (stream_policy IS NULL)),
    CONSTRAINT scans_schedule_and_time CHECK ((schedule_id IS NULL) = (due_at IS NULL)),
    CONSTRAINT tokens_are_short CHECK (length(token) >= 1 AND length(token) <= 64)
);
CREATE INDEX scans_archive ON ledger.scans USING btree (archive, scan_id DESC) WHERE is_audit;
CREATE INDEX scans_listing ON ledger.scans USING btree (scan_id) WHERE (listed_at IS NULL);
CREATE UNIQUE INDEX scans_open_stream ON ledger.scans USING btree (stream, lane, stream_policy, model_keys) WHERE ((stream IS NOT NULL) AND (listed_at IS NULL) AND (cancelled_at IS NULL));
CREATE UNIQUE INDEX scans_schedule ON ledger.scans USING btree (schedule_id, due_at) WHERE (schedule_id IS NOT NULL);
CREATE UNIQUE INDEX scans_token ON ledger.scans USING btree (token) WHERE (token IS NOT NULL);
CREATE INDEX scans_untold ON ledger.scans USING btree (scan_id) WHERE (told_at IS NULL);

CREATE TABLE ledger.schedule_runs (
    schedule_id bigint NOT NULL,
    due_at timestamp with time zone NOT NULL,
    outcome ledger.schedule_outcome NOT NULL,
    by_hand boolean NOT NULL DEFAULT false,
    scan_id bigint,
    reason text,
    recorded_at timestamp with time zone NOT NULL DEFAULT now(),
    is_told boolean NOT NULL DEFAULT false,
    CONSTRAINT schedule_runs_pkey PRIMARY KEY (schedule_id, due_at),
    CONSTRAINT schedule_runs_schedule_id_fkey FOREIGN KEY (schedule_id) REFERENCES ledger.schedules(schedule_id),
    CONSTRAINT reasons_are_short CHECK (octet_length(reason) <= 8000),
    CONSTRAINT schedule_runs_check CHECK ((outcome = 'fired'::ledger.schedule_outcome) = (scan_id IS NOT NULL)),
    CONSTRAINT schedule_runs_check1 CHECK ((outcome = ANY (ARRAY['skipped'::ledger.schedule_outcome, 'refused'::ledger.schedule_outcome])) = (reason IS NOT NULL))
);
CREATE INDEX schedule_runs_untold ON ledger.schedule_runs USING btree (schedule_id) WHERE (NOT is_told);

CREATE TABLE ledger.schedule_sources (
    schedule_id bigint NOT NULL,
    "position" integer NOT NULL,
    source text NOT NULL,
    hostname text,
    members text[],
    CONSTRAINT schedule_sources_pkey PRIMARY KEY (schedule_id, "position"),
    CONSTRAINT schedule_sources_schedule_id_fkey FOREIGN KEY (schedule_id) REFERENCES ledger.schedules(schedule_id)
);

CREATE TABLE ledger.schedules (
    schedule_id bigint GENERATED ALWAYS AS IDENTITY NOT NULL,
    name text NOT NULL,
    cron text NOT NULL,
    timezone text NOT NULL,
    model_keys text[] NOT NULL,
    policy text NOT NULL,
    lane ledger.lane NOT NULL,
    selection jsonb NOT NULL DEFAULT '{}'::jsonb,
    is_full boolean NOT NULL DEFAULT false,
    next_at timestamp with time zone NOT NULL,
    created_at timestamp with time zone NOT NULL DEFAULT now(),
    paused_at timestamp with time zone,
    removed_at timestamp with time zone,
    CONSTRAINT schedules_pkey PRIMARY KEY (schedule_id),
    CONSTRAINT schedules_model_keys_check CHECK (cardinality(model_keys) > 0)
);
CREATE INDEX schedules_due ON ledger.schedules USING btree (next_at) WHERE ((paused_at IS NULL) AND (removed_at IS NULL));
CREATE UNIQUE INDEX schedules_name ON ledger.schedules USING btree (name) WHERE (removed_at IS NULL);

CREATE TABLE ledger.sightings (
    scan_id bigint NOT NULL,
    image_ids bigint[] NOT NULL,
    digest bytea,
    sighting_id bigint GENERATED ALWAYS AS IDENTITY NOT NULL,
    CONSTRAINT sightings_pkey PRIMARY KEY (sighting_id)
);
CREATE INDEX sightings_digest ON ledger.sightings USING btree (digest) WHERE (digest IS NOT NULL);
CREATE INDEX sightings_scan ON ledger.sightings USING btree (scan_id);

CREATE TABLE ledger.source_parts (
    scan_id bigint NOT NULL,
    "position" integer NOT NULL,
    part integer NOT NULL,
    cursor text,
    until text,
    listed_at timestamp with time zone,
    unchanged_count bigint NOT NULL DEFAULT 0,
    new_count bigint NOT NULL DEFAULT 0,
    changed_count bigint NOT NULL DEFAULT 0,
    again_count bigint NOT NULL DEFAULT 0,
    CONSTRAINT source_parts_pkey PRIMARY KEY (scan_id, "position", part),
    CONSTRAINT source_parts_scan_id_position_fkey FOREIGN KEY (scan_id, "position") REFERENCES ledger.scan_sources(scan_id, "position")
) WITH (fillfactor=50);

CREATE TABLE ledger.submissions (
    key text COLLATE "C" NOT NULL,
    digest bytea NOT NULL,
    occurrence text NOT NULL,
    scan_id bigint NOT NULL,
    image_ids bigint[] NOT NULL,
    created_at timestamp with time zone NOT NULL DEFAULT now(),
    CONSTRAINT submissions_pkey PRIMARY KEY (key)
);
CREATE INDEX submissions_created ON ledger.submissions USING btree (created_at);

CREATE TABLE ledger.unreadable_messages (
    message_id bigint GENERATED ALWAYS AS IDENTITY NOT NULL,
    queue text,
    reason text NOT NULL,
    body text NOT NULL,
    received_at timestamp with time zone NOT NULL DEFAULT now(),
    acknowledged_at timestamp with time zone,
    CONSTRAINT unreadable_messages_pkey PRIMARY KEY (message_id),
    CONSTRAINT reasons_are_short CHECK (octet_length(reason) <= 8000)
);

CREATE TABLE ledger.vanished (
    scan_id bigint NOT NULL,
    image_id bigint NOT NULL,
    CONSTRAINT vanished_pkey PRIMARY KEY (scan_id, image_id)
);

CREATE TABLE ledger.verdicts (
    image_id bigint NOT NULL,
    model_id integer NOT NULL,
    scan_id bigint NOT NULL,
    content_id bigint NOT NULL,
    policy_id integer NOT NULL,
    p_fake double precision NOT NULL,
    verdict ledger.verdict NOT NULL,
    kind ledger.kind,
    judged_at timestamp with time zone NOT NULL DEFAULT now(),
    is_superseded boolean NOT NULL DEFAULT false,
    CONSTRAINT verdicts_pkey PRIMARY KEY (image_id, model_id)
);
CREATE INDEX verdicts_content ON ledger.verdicts USING btree (content_id, model_id, image_id DESC);
CREATE INDEX verdicts_newest ON ledger.verdicts USING btree (content_id, model_id) WHERE ((verdict <> 'real'::ledger.verdict) AND (NOT is_superseded));
CREATE INDEX verdicts_review ON ledger.verdicts USING btree (p_fake, image_id, model_id) WHERE ((verdict <> 'real'::ledger.verdict) AND (NOT is_superseded));
CREATE INDEX verdicts_scan ON ledger.verdicts USING btree (scan_id, p_fake DESC);
CREATE TRIGGER verdicts_added AFTER INSERT ON ledger.verdicts REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION ledger.supersede();
CREATE TRIGGER verdicts_changed AFTER UPDATE ON ledger.verdicts REFERENCING OLD TABLE AS former NEW TABLE AS given FOR EACH STATEMENT EXECUTE FUNCTION ledger.tell_of_changes();
CREATE TRIGGER verdicts_told AFTER INSERT ON ledger.verdicts REFERENCING NEW TABLE AS given FOR EACH STATEMENT EXECUTE FUNCTION ledger.tell_of_verdicts();

CREATE TABLE ledger.webhook_deliveries (
    delivery_id bigint GENERATED ALWAYS AS IDENTITY NOT NULL,
    message_id uuid NOT NULL DEFAULT gen_random_uuid(),
    webhook_id integer NOT NULL,
    image_id bigint,
    model_id integer,
    scan_id bigint,
    content_id bigint,
    policy_id integer,
    p_fake double precision,
    verdict ledger.verdict,
    kind ledger.kind,
    before ledger.verdict,
    created_at timestamp with time zone NOT NULL DEFAULT now(),
    attempts integer NOT NULL DEFAULT 0,
    next_attempt_at timestamp with time zone NOT NULL DEFAULT now(),
    lease uuid,
    delivered_at timestamp with time zone,
    dead_at timestamp with time zone,
    last_status integer,
    last_error text,
    event text,
    said jsonb,
    CONSTRAINT webhook_deliveries_pkey PRIMARY KEY (delivery_id),
    CONSTRAINT errors_are_short CHECK (octet_length(last_error) <= 8000),
    CONSTRAINT webhook_deliveries_check CHECK (delivered_at IS NULL OR dead_at IS NULL),
    CONSTRAINT webhook_deliveries_tell CHECK (
CASE
    WHEN event IS NULL THEN num_nulls(image_id, model_id, scan_id, content_id, policy_id, p_fake, verdict) = 0
    ELSE said IS NOT NULL AND image_id IS NULL
END)
) WITH (fillfactor=70);
CREATE INDEX webhook_deliveries_dead ON ledger.webhook_deliveries USING btree (webhook_id, delivery_id) WHERE (dead_at IS NOT NULL);
CREATE INDEX webhook_deliveries_delivered ON ledger.webhook_deliveries USING btree (webhook_id, delivered_at) WHERE (delivered_at IS NOT NULL);
CREATE INDEX webhook_deliveries_due ON ledger.webhook_deliveries USING btree (webhook_id, next_attempt_at) WHERE ((delivered_at IS NULL) AND (dead_at IS NULL));

CREATE TABLE ledger.webhooks (
    webhook_id integer GENERATED ALWAYS AS IDENTITY NOT NULL,
    name text NOT NULL,
    url text NOT NULL,
    secret text NOT NULL,
    verdicts ledger.verdict[] NOT NULL DEFAULT '{fake,uncertain}'::ledger.verdict[],
    models text[],
    lanes ledger.lane[],
    created_at timestamp with time zone NOT NULL DEFAULT now(),
    paused_at timestamp with time zone,
    paused_because text,
    removed_at timestamp with time zone,
    events text[] NOT NULL DEFAULT '{}'::text[],
    CONSTRAINT webhooks_pkey PRIMARY KEY (webhook_id),
    CONSTRAINT webhooks_check CHECK ((cardinality(verdicts) + cardinality(events)) > 0),
    CONSTRAINT webhooks_lanes_check CHECK (cardinality(lanes) > 0),
    CONSTRAINT webhooks_models_check CHECK (cardinality(models) > 0),
    CONSTRAINT webhooks_name_check CHECK (name ~ '^[a-z][a-z0-9_.-]*$'::text)
);
CREATE UNIQUE INDEX webhooks_name ON ledger.webhooks USING btree (name) WHERE (removed_at IS NULL);

CREATE TABLE ledger.workers (
    worker_id uuid NOT NULL,
    hostname text NOT NULL,
    pid integer NOT NULL,
    device text NOT NULL,
    version text NOT NULL,
    started_at timestamp with time zone NOT NULL DEFAULT now(),
    seen_at timestamp with time zone NOT NULL DEFAULT now(),
    stopped_at timestamp with time zone,
    stages_lately jsonb,
    stages_total jsonb,
    stages_at timestamp with time zone,
    CONSTRAINT workers_pkey PRIMARY KEY (worker_id)
);

CREATE TABLE public.alembic_version (
    version_num character varying(32) NOT NULL,
    CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);

-- Views

CREATE VIEW ledger.pending AS
SELECT image_id,
    batch_id,
    scan_id,
    uri
   FROM ledger.images i
  WHERE NOT (EXISTS ( SELECT
           FROM ledger.outcomes o
          WHERE o.image_id = i.image_id));

CREATE VIEW ledger.renamed AS
SELECT gone.scan_id,
    came.image_id,
    gone.image_id AS former_id
   FROM ( SELECT v.scan_id,
            o.content_id,
            v.image_id,
            row_number() OVER (PARTITION BY v.scan_id, o.content_id ORDER BY v.image_id) AS turn
           FROM ledger.vanished v
             JOIN ledger.outcomes o USING (image_id)
          WHERE o.content_id IS NOT NULL) gone
     JOIN ( SELECT b.scan_id,
            o.content_id,
            i.image_id,
            row_number() OVER (PARTITION BY b.scan_id, o.content_id ORDER BY i.image_id) AS turn
           FROM ledger.batches b
             JOIN ledger.images i USING (batch_id)
             JOIN ledger.outcomes o USING (image_id)
          WHERE i.change = 'new'::ledger.change AND o.content_id IS NOT NULL) came USING (scan_id, content_id, turn);

CREATE VIEW ledger.rights AS
SELECT role,
    replace(may, '$DATABASE'::text, quote_ident(current_database()::text)) AS may,
    since
   FROM ledger.role_rights;

CREATE VIEW public.audit_changes AS
SELECT b.scan_id,
        CASE
            WHEN r.image_id IS NOT NULL THEN 'renamed'::text
            ELSE i.change::text
        END AS change,
    i.uri,
    i.size_bytes,
    i.etag,
    i.modified_at,
    i.image_id,
    public.path_of(i.uri) AS path,
    f.uri AS former_uri,
    public.path_of(f.uri) AS former_path
   FROM ledger.batches b
     JOIN ledger.images i USING (batch_id)
     LEFT JOIN ledger.renamed r ON r.scan_id = b.scan_id AND r.image_id = i.image_id
     LEFT JOIN ledger.images f ON f.image_id = r.former_id
  WHERE i.change IS NOT NULL
UNION ALL
 SELECT v.scan_id,
    'vanished'::text AS change,
    i.uri,
    i.size_bytes,
    i.etag,
    i.modified_at,
    i.image_id,
    public.path_of(i.uri) AS path,
    NULL::text AS former_uri,
    NULL::text AS former_path
   FROM ledger.vanished v
     JOIN ledger.images i USING (image_id)
     LEFT JOIN ledger.renamed r ON r.scan_id = v.scan_id AND r.former_id = v.image_id
  WHERE r.former_id IS NULL;

CREATE VIEW public.audit_images AS
SELECT s.scan_id,
    i.uri,
    i.image_id,
    i.scan_id AS judged_in_scan,
    i.size_bytes,
    i.etag,
    i.modified_at,
    public.path_of(i.uri) AS path
   FROM ledger.sightings s
     CROSS JOIN LATERAL unnest(s.image_ids) seen(image_id)
     JOIN ledger.images i ON i.image_id = seen.image_id;

CREATE VIEW public.batch_troubles AS
SELECT scan_id,
    batch_id,
    lane::text AS lane,
    state::text AS state,
    pending,
    trouble AS reason,
    refusals,
    troubled_since,
    try_at
   FROM public.batches
  WHERE trouble IS NOT NULL AND state <> 'done'::ledger.batch_state;

CREATE VIEW public.batches AS
SELECT batch_id,
    scan_id,
    lane,
    state,
    image_count AS images,
    classified_count AS classified,
    reused_count AS reused,
    failed_count AS failed,
    ledger.pending_of(b.*) AS pending,
    attempt,
    worker_id,
    lease_until,
    ledger.is_expired(b.*) AS is_expired,
    created_at,
    published_at,
    finished_at,
    trouble,
    refusals,
    troubled_since,
    try_at
   FROM ledger.batches b;

CREATE VIEW public.failures AS
SELECT o.scan_id,
    o.image_id,
    i.uri,
    o.failure_code AS code,
    o.failure_message AS message,
    encode(c.sha256, 'hex'::text) AS sha256,
    c.size_bytes,
    o.finished_at AS failed_at,
    o.content_id,
    public.path_of(i.uri) AS path,
    o.failure_code,
    o.failure_message
   FROM ledger.outcomes o
     LEFT JOIN ledger.images i USING (image_id)
     LEFT JOIN ledger.contents c ON c.content_id = o.content_id
  WHERE o.status = 'failed'::ledger.image_status;

CREATE VIEW public.images AS
SELECT i.image_id,
    b.scan_id,
    b.batch_id,
    i.uri,
    public.path_of(i.uri) AS path,
    COALESCE(o.status::text, 'pending'::text) AS status,
    o.failure_code,
    o.failure_message,
    o.content_id,
    o.finished_at,
    i.size_bytes,
    i.etag,
    i.modified_at
   FROM ledger.batches b
     JOIN ledger.images i USING (batch_id)
     LEFT JOIN ledger.outcomes o USING (image_id);

CREATE VIEW public.left_out AS
SELECT scan_id,
    name AS reason,
    files
   FROM ledger.listing_counts
  WHERE sort = 'left_out'::text;

CREATE VIEW public.listing_troubles AS
SELECT scan_id,
    reason,
    since,
    try_at
   FROM ledger.listing_troubles
  WHERE since IS NOT NULL;

CREATE VIEW public.model_disagreements AS
SELECT a.scan_id,
    a.image_id,
    i.uri,
    ma.key AS model_a,
    a.verdict AS verdict_a,
    a.p_fake AS p_fake_a,
    mb.key AS model_b,
    b.verdict AS verdict_b,
    b.p_fake AS p_fake_b,
    round(abs(a.p_fake - b.p_fake)::numeric, 7)::double precision AS difference,
    public.path_of(i.uri) AS path
   FROM ledger.verdicts a
     JOIN ledger.verdicts b ON b.image_id = a.image_id AND b.model_id > a.model_id AND b.verdict <> a.verdict
     LEFT JOIN ledger.images i ON i.image_id = a.image_id
     LEFT JOIN ledger.models ma ON ma.model_id = a.model_id
     LEFT JOIN ledger.models mb ON mb.model_id = b.model_id;

CREATE VIEW public.model_troubles AS
SELECT t.key AS model,
    w.hostname,
    w.pid,
    t.reason,
    t.tries,
    t.since,
    t.next_try_at,
    t.worker_id
   FROM ledger.model_troubles t
     JOIN public.workers w USING (worker_id)
  WHERE t.ended_at IS NULL AND w.stopped_at IS NULL AND w.seen_at > (now() - '00:01:00'::interval);

CREATE VIEW public.models AS
SELECT model_id,
    key AS model,
    source,
    revision,
    superseded_at IS NULL AS is_current,
    architecture,
    labels,
    sides,
    sides_origin,
    fingerprint,
    preprocessing,
    first_loaded_at,
    superseded_at
   FROM ledger.models;

CREATE VIEW public.output_parts AS
SELECT scan_id,
    part,
    format('results/part-%s.jsonl'::text, lpad(part::text, GREATEST(6, length(part::text)), '0'::text)) AS file,
    lines,
    size_bytes,
    encode(sha256, 'hex'::text) AS sha256,
    written_at
   FROM ledger.output_parts
  WHERE written_at IS NOT NULL;

CREATE VIEW public.outputs AS
SELECT o.scan_id,
    o.destination,
    o.hostname,
    p.parts,
    p.lines,
    p.size_bytes,
    p.last_written_at,
    o.ended_at,
    o.trouble,
    o.troubled_since
   FROM ledger.outputs o
     CROSS JOIN LATERAL ( SELECT count(*) AS parts,
            COALESCE(sum(x.lines), 0::numeric)::bigint AS lines,
            COALESCE(sum(x.size_bytes), 0::numeric)::bigint AS size_bytes,
            max(x.written_at) AS last_written_at
           FROM ledger.output_parts x
          WHERE x.scan_id = o.scan_id AND x.written_at IS NOT NULL) p;

CREATE VIEW public.pattern_matches AS
SELECT scan_id,
    sort AS option,
    name::integer AS place,
    files
   FROM ledger.listing_counts
  WHERE sort <> 'left_out'::text;

CREATE VIEW public.policies AS
SELECT policy_id,
    name,
    real_below,
    fake_above,
    created_at,
    policy_id = max(policy_id) OVER (PARTITION BY name) AS is_current,
    ( SELECT count(*) AS count
           FROM ledger.scans s
          WHERE s.policy_id = p.policy_id) AS scans
   FROM ledger.policies p;

CREATE VIEW public.producers AS
SELECT producer_id,
    hostname,
    pid,
    version,
    started_at,
    seen_at,
    stopped_at
   FROM ledger.producers;

CREATE VIEW public.results AS
SELECT i.uri,
    public.path_of(i.uri) AS path,
    o.status,
    v.verdict,
    v.kind,
    v.p_fake,
    m.key AS model,
    m.revision AS model_revision,
    ledger.named_scores(m.labels, s.scores) AS scores,
    p.name AS policy,
    encode(c.sha256, 'hex'::text) AS sha256,
    c.width,
    c.height,
    c.format,
    o.failure_code,
    o.failure_message,
    s.classified_at,
    b.scan_id,
    i.image_id,
    c.size_bytes,
    c.frame_count,
    c.read_as,
    v.judged_at,
        CASE
            WHEN v.model_id IS NOT NULL THEN m.superseded_at IS NULL
            ELSE NULL::boolean
        END AS revision_is_current,
    o.content_id,
    v.model_id,
    b.batch_id,
    o.finished_at
   FROM ledger.batches b
     JOIN ledger.images i USING (batch_id)
     JOIN ledger.outcomes o USING (image_id)
     LEFT JOIN ledger.contents c USING (content_id)
     LEFT JOIN ledger.verdicts v USING (image_id)
     LEFT JOIN ledger.models m USING (model_id)
     LEFT JOIN ledger.policies p USING (policy_id)
     LEFT JOIN ledger.predictions s ON s.content_id = v.content_id AND s.model_id = v.model_id;

CREATE VIEW public.review_queue AS
SELECT q.p_fake,
    q.verdict,
    q.kind,
    m.key AS model,
    m.revision AS model_revision,
        CASE
            WHEN q.is_judged THEN m.superseded_at IS NULL
            ELSE NULL::boolean
        END AS revision_is_current,
    i.uri,
    q.scan_id,
    q.image_id,
    encode(c.sha256, 'hex'::text) AS sha256,
    c.size_bytes,
    c.width,
    c.height,
    c.format,
    q.judged_at,
    q.content_id,
    q.model_id,
    c.read_as,
    q.failure_code,
    q.failure_message,
    public.path_of(i.uri) AS path
   FROM ( SELECT verdicts.p_fake,
            verdicts.verdict,
            verdicts.kind,
            verdicts.scan_id,
            verdicts.image_id,
            verdicts.judged_at,
            verdicts.content_id,
            verdicts.model_id,
            verdicts.is_superseded,
            true AS is_judged,
            NULL::ledger.failure_code AS failure_code,
            NULL::text AS failure_message
           FROM ledger.verdicts
        UNION ALL
         SELECT NULL::double precision AS float8,
            NULL::ledger.verdict AS verdict,
            NULL::ledger.kind AS kind,
            outcomes.scan_id,
            outcomes.image_id,
            outcomes.finished_at,
            outcomes.content_id,
            NULL::integer AS int4,
            outcomes.status <> 'failed'::ledger.image_status,
            false,
            outcomes.failure_code,
            outcomes.failure_message
           FROM ledger.outcomes) q
     LEFT JOIN ledger.images i ON i.image_id = q.image_id
     LEFT JOIN ledger.models m ON m.model_id = q.model_id
     LEFT JOIN ledger.contents c ON c.content_id = q.content_id
  WHERE
        CASE
            WHEN q.is_judged THEN q.verdict <> 'real'::ledger.verdict
            ELSE q.failure_code::text = ANY (ARRAY['unsupported'::text, 'corrupt'::text, 'too_many_pixels'::text, 'decode_timed_out'::text, 'killed_loader'::text, 'killed_worker'::text])
        END AND NOT q.is_superseded AND NOT (EXISTS ( SELECT
           FROM ledger.verdicts newer
          WHERE newer.content_id = q.content_id AND newer.image_id > q.image_id AND newer.model_id = COALESCE(q.model_id, newer.model_id))) AND NOT (EXISTS ( SELECT
           FROM ledger.outcomes newer
          WHERE newer.status = 'failed'::ledger.image_status AND newer.content_id = q.content_id AND newer.image_id > q.image_id AND NOT q.is_judged));

CREATE VIEW public.scan_progress AS
SELECT scan_id,
    name,
    lane,
    state,
    submitted,
    classified,
    reused,
    failed,
    pending,
    round(rate, 2) AS images_per_second,
        CASE
            WHEN state = 'running'::text AND is_known THEN round(pending::numeric / rate, 1)
            ELSE NULL::numeric
        END AS seconds_left,
    model_keys AS models,
    policy,
    created_at,
    listed_at,
        CASE state
            WHEN 'finished'::text THEN ended_at
            WHEN 'cancelled'::text THEN cancelled_at
            ELSE NULL::timestamp with time zone
        END AS finished_at,
    paused_at,
    GREATEST(created_at, listed_at, last_created_at, last_finished_at) AS progressed_at,
    is_audit,
    unchanged,
    new,
    changed,
    again,
    vanished_count AS vanished,
    pruned_at,
        CASE
            WHEN state = 'listing'::text AND is_known THEN round(pending::numeric / rate, 1)
            ELSE NULL::numeric
        END AS seconds_left_so_far,
        CASE state
            WHEN 'finished'::text THEN first_ended_at
            ELSE NULL::timestamp with time zone
        END AS first_finished_at,
    policy_id,
    selection,
    state = ANY (ARRAY['finished'::text, 'cancelled'::text]) AS has_ended
   FROM ( SELECT rated.scan_id,
            rated.name,
            rated.lane,
            rated.model_keys,
            rated.created_at,
            rated.listed_at,
            rated.paused_at,
            rated.cancelled_at,
            rated.is_audit,
            rated.vanished_count,
            rated.pruned_at,
            rated.policy_id,
            rated.selection,
            rated.policy,
            rated.submitted,
            rated.classified,
            rated.reused,
            rated.failed,
            rated.pending,
            rated.first_published_at,
            rated.last_finished_at,
            rated.last_listed_finished_at,
            rated.first_finished_at,
            rated.last_created_at,
            rated.last_minute,
            rated.unchanged,
            rated.new,
            rated.changed,
            rated.again,
            rated.state,
            rated.ended_at,
            rated.first_ended_at,
            rated.started_at,
            rated.rate,
            rated.rate > 0::numeric AND (rated.first_finished_at <= (now() - '00:00:10'::interval) OR rated.started_at <= (now() - '00:01:00'::interval)) AS is_known
           FROM ( SELECT counted.scan_id,
                    counted.name,
                    counted.lane,
                    counted.model_keys,
                    counted.created_at,
                    counted.listed_at,
                    counted.paused_at,
                    counted.cancelled_at,
                    counted.is_audit,
                    counted.vanished_count,
                    counted.pruned_at,
                    counted.policy_id,
                    counted.selection,
                    counted.policy,
                    counted.submitted,
                    counted.classified,
                    counted.reused,
                    counted.failed,
                    counted.pending,
                    counted.first_published_at,
                    counted.last_finished_at,
                    counted.last_listed_finished_at,
                    counted.first_finished_at,
                    counted.last_created_at,
                    counted.last_minute,
                    counted.unchanged,
                    counted.new,
                    counted.changed,
                    counted.again,
                    counted.state,
                    counted.ended_at,
                    counted.first_ended_at,
                    counted.started_at,
                        CASE
                            WHEN counted.state = 'finished'::text THEN counted.submitted::numeric / GREATEST(0.001, EXTRACT(epoch FROM counted.first_ended_at - counted.created_at))
                            ELSE counted.last_minute::numeric / LEAST(60::numeric, GREATEST(1::numeric, EXTRACT(epoch FROM now() - counted.started_at)))
                        END AS rate
                   FROM ( SELECT s.scan_id,
                            s.name,
                            s.lane,
                            s.model_keys,
                            s.created_at,
                            s.listed_at,
                            s.paused_at,
                            s.cancelled_at,
                            s.is_audit,
                            s.vanished_count,
                            s.pruned_at,
                            s.policy_id,
                            s.selection,
                            p.name AS policy,
                            c.submitted,
                            c.classified,
                            c.reused,
                            c.failed,
                            c.pending,
                            b.first_published_at,
                            b.last_finished_at,
                            b.last_listed_finished_at,
                            b.first_finished_at,
                            b.last_created_at,
                            b.last_minute,
                            a.unchanged,
                            a.new,
                            a.changed,
                            a.again,
                                CASE
                                    WHEN s.cancelled_at IS NOT NULL THEN 'cancelled'::text
                                    WHEN s.listed_at IS NOT NULL AND c.pending = 0 THEN 'finished'::text
                                    WHEN s.paused_at IS NOT NULL THEN 'paused'::text
                                    WHEN s.listed_at IS NULL THEN 'listing'::text
                                    ELSE 'running'::text
                                END AS state,
                            GREATEST(b.last_finished_at, s.listed_at) AS ended_at,
                            GREATEST(b.last_listed_finished_at, s.listed_at) AS first_ended_at,
                            COALESCE(b.first_published_at, s.created_at) AS started_at
                           FROM ledger.scans s
                             LEFT JOIN ledger.policies p USING (policy_id)
                             CROSS JOIN LATERAL ( SELECT COALESCE(sum(x.submitted), 0::numeric)::bigint AS submitted,
                                    COALESCE(sum(x.classified), 0::numeric)::bigint AS classified,
                                    COALESCE(sum(x.reused), 0::numeric)::bigint AS reused,
                                    COALESCE(sum(x.failed), 0::numeric)::bigint AS failed,
                                    COALESCE(sum(x.submitted - x.classified - x.reused - x.failed), 0::numeric)::bigint AS pending
                                   FROM ledger.scan_counts x
                                  WHERE x.scan_id = s.scan_id) c
                             CROSS JOIN LATERAL ( SELECT ( SELECT min(first.published_at) AS min
   FROM ( SELECT x.published_at
     FROM ledger.batches x
    WHERE x.scan_id = s.scan_id
    ORDER BY x.batch_id
   LIMIT 16) first) AS first_published_at,
                                    ( SELECT max(x.finished_at) AS max
   FROM ledger.batches x
  WHERE x.scan_id = s.scan_id AND x.finished_at IS NOT NULL) AS last_finished_at,
                                    ( SELECT max(x.finished_at) AS max
   FROM ledger.batches x
  WHERE x.scan_id = s.scan_id AND x.finished_at IS NOT NULL AND x.created_at <= s.listed_at) AS last_listed_finished_at,
                                    ( SELECT min(x.finished_at) AS min
   FROM ledger.batches x
  WHERE x.scan_id = s.scan_id AND x.finished_at IS NOT NULL) AS first_finished_at,
                                    ( SELECT x.created_at
   FROM ledger.batches x
  WHERE x.scan_id = s.scan_id
  ORDER BY x.batch_id DESC
 LIMIT 1) AS last_created_at,
                                    ( SELECT COALESCE(sum(ledger.ended_of(x.*)), 0::bigint) AS "coalesce"
   FROM ledger.batches x
  WHERE x.scan_id = s.scan_id AND x.finished_at > (now() - '00:01:00'::interval)) AS last_minute
                                 OFFSET 0) b
                             CROSS JOIN LATERAL ( SELECT COALESCE(sum(x.unchanged_count), 0::numeric) AS unchanged,
                                    COALESCE(sum(x.new_count), 0::numeric) AS new,
                                    COALESCE(sum(x.changed_count), 0::numeric) AS changed,
                                    COALESCE(sum(x.again_count), 0::numeric) AS again
                                   FROM ledger.source_parts x
                                  WHERE x.scan_id = s.scan_id AND s.is_audit) a) counted) rated) known;

CREATE VIEW public.scan_sources AS
SELECT scan_id,
    "position",
    source,
    hostname,
    listed_at
   FROM ledger.scan_sources;

CREATE VIEW public.schedule_runs AS
SELECT r.schedule_id,
    s.name AS schedule,
    r.due_at,
    r.outcome::text AS outcome,
    r.by_hand,
    r.scan_id,
    r.reason,
    r.recorded_at
   FROM ledger.schedule_runs r
     JOIN ledger.schedules s USING (schedule_id);

CREATE VIEW public.schedules AS
SELECT s.schedule_id,
    s.name,
        CASE
            WHEN s.removed_at IS NOT NULL THEN 'removed'::text
            WHEN s.paused_at IS NOT NULL THEN 'paused'::text
            ELSE 'active'::text
        END AS state,
    s.cron,
    s.timezone,
        CASE
            WHEN s.removed_at IS NULL AND s.paused_at IS NULL THEN s.next_at
            ELSE NULL::timestamp with time zone
        END AS next_at,
    ARRAY( SELECT x.source
           FROM ledger.schedule_sources x
          WHERE x.schedule_id = s.schedule_id
          ORDER BY x."position") AS sources,
    s.model_keys AS models,
    s.policy,
    s.lane,
    s.is_full,
    s.selection,
    r.due_at AS last_due_at,
    r.outcome::text AS last_outcome,
    ( SELECT max(c.scan_id) AS max
           FROM ledger.scans c
          WHERE c.schedule_id = s.schedule_id) AS last_scan_id,
    s.created_at,
    s.paused_at,
    s.removed_at
   FROM ledger.schedules s
     LEFT JOIN LATERAL ( SELECT x.due_at,
            x.outcome
           FROM ledger.schedule_runs x
          WHERE x.schedule_id = s.schedule_id
          ORDER BY x.due_at DESC
         LIMIT 1) r ON true;

CREATE VIEW public.unreadable_messages AS
SELECT message_id,
    queue,
    reason,
    body,
    received_at,
    acknowledged_at
   FROM ledger.unreadable_messages;

CREATE VIEW public.verdicts AS
SELECT v.scan_id,
    v.image_id,
    i.uri,
    o.status,
    v.verdict,
    v.kind,
    v.p_fake,
    m.key AS model,
    m.revision AS model_revision,
    m.superseded_at IS NULL AS revision_is_current,
    p.name AS policy,
    ledger.named_scores(m.labels, pr.scores) AS scores,
    encode(c.sha256, 'hex'::text) AS sha256,
    c.size_bytes,
    c.width,
    c.height,
    c.format,
    c.frame_count,
    pr.classified_at,
    v.judged_at,
    v.content_id,
    v.model_id,
    c.read_as,
    public.path_of(i.uri) AS path
   FROM ledger.verdicts v
     LEFT JOIN ledger.images i USING (image_id)
     LEFT JOIN ledger.outcomes o USING (image_id)
     LEFT JOIN ledger.models m USING (model_id)
     LEFT JOIN ledger.policies p USING (policy_id)
     LEFT JOIN ledger.contents c ON c.content_id = v.content_id
     LEFT JOIN ledger.predictions pr ON pr.content_id = v.content_id AND pr.model_id = v.model_id;

CREATE VIEW public.webhook_deliveries AS
SELECT d.delivery_id,
    w.name AS webhook,
    COALESCE(d.event,
        CASE
            WHEN d.before IS NULL THEN 'verdict.given'::text
            ELSE 'verdict.changed'::text
        END) AS type,
        CASE
            WHEN d.delivered_at IS NOT NULL THEN 'delivered'::text
            WHEN w.removed_at IS NOT NULL THEN 'removed'::text
            WHEN d.dead_at IS NOT NULL THEN 'dead'::text
            WHEN d.lease IS NOT NULL AND d.next_attempt_at > now() THEN 'sending'::text
            WHEN w.paused_at IS NOT NULL THEN 'paused'::text
            ELSE 'waiting'::text
        END AS state,
    d.scan_id,
    d.image_id,
    i.uri,
    m.key AS model,
    d.verdict,
    d.before,
    d.attempts,
    d.last_status,
    d.last_error,
    d.created_at,
    d.next_attempt_at,
    d.delivered_at,
    d.dead_at,
    'msg_'::text || replace(d.message_id::text, '-'::text, ''::text) AS message_id,
    public.path_of(i.uri) AS path
   FROM ledger.webhook_deliveries d
     JOIN ledger.webhooks w USING (webhook_id)
     LEFT JOIN ledger.images i USING (image_id)
     LEFT JOIN ledger.models m USING (model_id);

CREATE VIEW public.webhooks AS
SELECT w.webhook_id,
    w.name,
        CASE
            WHEN has_column_privilege('ledger.webhooks'::regclass::oid, 'url'::text, 'SELECT'::text) THEN w.url
            ELSE regexp_replace(w.url, '^([^/]*//[^/?#]*).*$'::text, '\1/…'::text)
        END AS url,
    w.verdicts,
    w.events,
    w.models,
    w.lanes,
    w.created_at,
    w.paused_at,
    w.paused_because,
    w.removed_at,
    open.waiting,
    open.waiting_since,
    gone.dead,
    ( SELECT max(d.delivered_at) AS max
           FROM ledger.webhook_deliveries d
          WHERE d.webhook_id = w.webhook_id AND d.delivered_at IS NOT NULL) AS last_delivered_at
   FROM ledger.webhooks w
     CROSS JOIN LATERAL ( SELECT count(*) AS waiting,
            min(d.created_at) AS waiting_since
           FROM ledger.webhook_deliveries d
          WHERE d.webhook_id = w.webhook_id AND ledger.is_open(d.*)) open
     CROSS JOIN LATERAL ( SELECT count(*) AS dead
           FROM ledger.webhook_deliveries d
          WHERE d.webhook_id = w.webhook_id AND d.dead_at IS NOT NULL) gone;

CREATE VIEW public.workers AS
SELECT worker_id,
    hostname,
    pid,
    device,
    version,
    (stages_lately ->> 'images_per_second'::text)::double precision AS images_per_second,
    stages_lately ->> 'wall'::text AS wall,
    stages_lately -> 'stages'::text AS stages,
    stages_at AS measured_at,
    started_at,
    GREATEST(seen_at, stages_at) AS seen_at,
    stopped_at,
    stages_total,
    COALESCE(stages_lately ->> 'bottleneck'::text, stages_lately ->> 'wall'::text) AS bottleneck
   FROM ledger.workers;

-- Functions

CREATE FUNCTION ledger.add_uploads(scan bigint, uris text[], occurrences text[], sizes bigint[], etags text[], times timestamp with time zone[])
 RETURNS TABLE(image_id bigint, uri text, occurrence text)
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $$
#variable_conflict use_column
DECLARE
    made bigint;
    added integer;
BEGIN
    INSERT INTO ledger.batches (scan_id, lane, state, image_count)
    SELECT s.scan_id, s.lane,
           CAST(CASE WHEN s.paused_at IS NULL THEN 'recorded' ELSE 'held' END
                AS ledger.batch_state),
           cardinality(uris)
    FROM ledger.scans s
    WHERE s.scan_id = scan AND s.stream IS NOT NULL
      AND s.listed_at IS NULL AND s.cancelled_at IS NULL
    RETURNING batch_id INTO made;
    IF made IS NULL THEN
        RAISE EXCEPTION 'scan % takes no uploads', scan;
    END IF;
    RETURN QUERY
    INSERT INTO ledger.images AS i
        (scan_id, batch_id, uri, occurrence, size_bytes, etag, modified_at)
    SELECT scan, made, new.*
    FROM unnest(uris, occurrences, sizes, etags, times)
        AS new (uri, occurrence, size_bytes, etag, modified_at)
    ON CONFLICT DO NOTHING
    RETURNING i.image_id, i.uri, i.occurrence;
    GET DIAGNOSTICS added = ROW_COUNT;
    IF added = 0 THEN
        DELETE FROM ledger.batches WHERE batch_id = made;
    ELSIF added < cardinality(uris) THEN
        UPDATE ledger.batches SET image_count = added WHERE batch_id = made;
    END IF;
END $$;

CREATE FUNCTION ledger.batch_images(batch bigint, held_at integer)
 RETURNS TABLE(image_id bigint, uri text)
 LANGUAGE plpgsql
 STABLE SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET enable_seqscan TO 'off'
 SET enable_hashjoin TO 'off'
 SET enable_mergejoin TO 'off'
AS $$
BEGIN
    RETURN QUERY
    SELECT i.image_id, i.uri FROM ledger.batches b JOIN ledger.images i ON i.batch_id = b.batch_id
    WHERE b.batch_id = batch AND b.attempt = held_at AND b.state = 'running'
    ORDER BY i.image_id;
END $$;

CREATE FUNCTION ledger.close_large_objects()
 RETURNS integer
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $$
DECLARE
    one regprocedure;
    closed integer := 0;
BEGIN
    FOR one IN
        SELECT p.oid FROM pg_proc p
        WHERE p.pronamespace = 'pg_catalog'::regnamespace
          AND (p.proname ~ '^lo_' OR p.proname IN ('loread', 'lowrite'))
          AND has_function_privilege('public', p.oid, 'EXECUTE')
    LOOP
        BEGIN
            EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', one);
        EXCEPTION WHEN insufficient_privilege THEN
            CONTINUE;
        END;
        IF NOT has_function_privilege('public', one, 'EXECUTE') THEN
            closed := closed + 1;
        END IF;
    END LOOP;
    RETURN closed;
END $$;

CREATE FUNCTION ledger.close_locks()
 RETURNS integer
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $$
DECLARE
    one regprocedure;
    users text[] := ARRAY['fakesweep_api', 'fakesweep_producer', 'fakesweep_worker'];
    taker text;
    closed integer := 0;
BEGIN
    IF EXISTS (SELECT FROM unnest(users) AS u WHERE to_regrole(u) IS NULL) THEN
        RETURN 0;
    END IF;
    SELECT users || nspowner::regrole::text INTO users FROM pg_namespace WHERE nspname = 'ledger';
    FOR one IN
        SELECT p.oid FROM pg_proc p
        WHERE p.pronamespace = 'pg_catalog'::regnamespace
          AND (p.proname ~ '^pg_(try_)?advisory_' OR p.proname = 'pg_logical_emit_message')
          AND has_function_privilege(p.oid, 'EXECUTE WITH GRANT OPTION')
    LOOP
        IF one::text ~ 'advisory' THEN
            FOREACH taker IN ARRAY users LOOP
                EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %s', one, taker);
            END LOOP;
        END IF;
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', one);
        closed := closed + 1;
    END LOOP;
    RETURN closed;
END $$;

CREATE FUNCTION ledger.count_batch()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $$
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

CREATE FUNCTION ledger.digest_of(said text)
 RETURNS bytea
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE STRICT
RETURN sha256(convert_to(said, 'UTF8'::name));

CREATE FUNCTION ledger.drop_empty_batches(batch_ids bigint[])
 RETURNS void
 LANGUAGE sql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $$
    DELETE FROM ledger.batches b
    WHERE b.batch_id = ANY (batch_ids) AND b.image_count = 0
      AND NOT EXISTS (SELECT FROM ledger.images i WHERE i.batch_id = b.batch_id)
$$;

CREATE FUNCTION ledger.ended_of(batch ledger.batches)
 RETURNS integer
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN (((batch).classified_count + (batch).reused_count) + (batch).failed_count);

CREATE FUNCTION ledger.forget_rights(migration text)
 RETURNS void
 LANGUAGE plpgsql
AS $$
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

CREATE FUNCTION ledger.grant_roles()
 RETURNS text[]
 LANGUAGE plpgsql
AS $$
DECLARE
    wanted text;
    granted text;
    missing text[] := '{}';
BEGIN
    FOR wanted IN SELECT DISTINCT role FROM ledger.rights ORDER BY role LOOP
        IF to_regrole(wanted) IS NULL THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
            EXCEPTION
                WHEN duplicate_object OR unique_violation THEN
                    NULL;  -- a migration of another database made it at this moment
                WHEN insufficient_privilege THEN
                    RAISE NOTICE 'role % is missing, and % may not make it', wanted, current_user;
                    missing := missing || wanted;
                    CONTINUE;
            END;
        END IF;
        FOR granted IN SELECT may FROM ledger.rights WHERE role = wanted LOOP
            EXECUTE format('GRANT %s TO %I', granted, wanted);
        END LOOP;
    END LOOP;
    PERFORM ledger.close_locks();
    RETURN missing;
END $$;

CREATE FUNCTION ledger.is_expired(batch ledger.batches)
 RETURNS boolean
 LANGUAGE sql
 STABLE PARALLEL SAFE
RETURN (((batch).state = 'running'::ledger.batch_state) AND ((batch).lease_until < now()));

CREATE FUNCTION ledger.is_held(paused_at timestamp with time zone, cancelled_at timestamp with time zone)
 RETURNS boolean
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN ((paused_at IS NOT NULL) OR (cancelled_at IS NOT NULL));

CREATE FUNCTION ledger.is_open(delivery ledger.webhook_deliveries)
 RETURNS boolean
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN (((delivery).delivered_at IS NULL) AND ((delivery).dead_at IS NULL));

CREATE FUNCTION ledger.kind_told(verdict ledger.verdict, kind ledger.kind)
 RETURNS ledger.kind
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN (verdict <> 'real'::ledger.verdict) THEN kind ELSE NULL::ledger.kind END;

CREATE FUNCTION ledger.named_scores(labels text[], scores real[])
 RETURNS jsonb
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN (SELECT jsonb_object_agg(named.label, named.score) AS jsonb_object_agg FROM (SELECT x.label, (round(((sum(x.score))::double precision)::numeric, 7))::double precision AS score FROM UNNEST(named_scores.labels, named_scores.scores) x(label, score) WHERE (x.label IS NOT NULL) GROUP BY x.label) named);

CREATE FUNCTION ledger.next_try(since timestamp with time zone, at_most interval)
 RETURNS timestamp with time zone
 LANGUAGE sql
 STABLE PARALLEL SAFE
RETURN (now() + LEAST(at_most, GREATEST('00:00:01'::interval, (now() - COALESCE(since, now())))));

CREATE FUNCTION ledger.open_query(query text)
 RETURNS refcursor
 LANGUAGE plpgsql
AS $$
DECLARE opened refcursor := 'opened';
BEGIN
    OPEN opened NO SCROLL FOR EXECUTE query;
    RETURN opened;
END $$;

CREATE FUNCTION ledger.open_stream(wanted text, wanted_lane ledger.lane, policy text, models text[])
 RETURNS bigint
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $$
DECLARE
    found_id bigint;
    closed bigint[];
    is_locked boolean := false;
BEGIN
    LOOP
        SELECT s.scan_id INTO found_id FROM ledger.scans s
        WHERE s.stream = wanted AND s.lane = wanted_lane AND s.stream_policy = policy
          AND s.model_keys = models AND s.listed_at IS NULL AND s.cancelled_at IS NULL
          AND s.created_at >= date_trunc('day', now(), 'UTC')
          AND s.policy_id = (
              SELECT p.policy_id FROM public.policies p WHERE p.name = s.stream_policy AND p.is_current
          )
        FOR SHARE OF s;
        IF FOUND THEN
            RETURN found_id;
        ELSIF NOT is_locked THEN
            PERFORM pg_advisory_xact_lock(hashtext('fakesweep stream'), hashtext(wanted));
            is_locked := true;
            CONTINUE;
        END IF;
        WITH ended AS (
            UPDATE ledger.scans s SET listed_at = now()
            WHERE s.stream = wanted AND s.lane = wanted_lane AND s.stream_policy = policy
              AND s.model_keys = models AND s.listed_at IS NULL AND s.cancelled_at IS NULL
            RETURNING s.scan_id
        ) SELECT array_agg(scan_id) INTO closed FROM ended;
        UPDATE ledger.scan_sources x SET listed_at = now()
        WHERE x.scan_id = ANY (closed) AND x.listed_at IS NULL;
        INSERT INTO ledger.scans (name, lane, policy_id, model_keys, stream, stream_policy)
        SELECT wanted || ' ' || to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD'),
               wanted_lane, p.policy_id, models, wanted, policy
        FROM public.policies p WHERE p.name = policy AND p.is_current
        RETURNING scan_id INTO found_id;
        INSERT INTO ledger.scan_sources (scan_id, position, source)
        VALUES (found_id, 0, 'stream:' || wanted);
    END LOOP;
END $$;

CREATE FUNCTION ledger.pending_images(batch bigint, held_at integer)
 RETURNS TABLE(image_id bigint, uri text)
 LANGUAGE plpgsql
 STABLE SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET enable_seqscan TO 'off'
 SET enable_hashjoin TO 'off'
 SET enable_mergejoin TO 'off'
AS $$
BEGIN
    PERFORM FROM ledger.batches b
    WHERE b.batch_id = batch AND b.attempt = held_at AND b.state = 'running';
    IF FOUND THEN
        RETURN QUERY
        SELECT i.image_id, i.uri FROM ledger.pending i
        WHERE i.batch_id = batch ORDER BY i.image_id;
    END IF;
END $$;

CREATE FUNCTION ledger.pending_of(batch ledger.batches)
 RETURNS integer
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN ((batch).image_count - ledger.ended_of(batch));

CREATE FUNCTION ledger.percent_decoded(said text)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE STRICT
RETURN (SELECT CASE WHEN (encode(decoded.bytes, 'hex'::text) ~ '^(?:[0-7].|(?:c[2-9a-f]|d.)[89ab].|e0[ab].[89ab].|e[1-9abcef](?:[89ab].){2}|ed[89].[89ab].|f0[9ab].(?:[89ab].){2}|f[1-3](?:[89ab].){3}|f48.(?:[89ab].){2})*$'::text) THEN convert_from(decoded.bytes, 'UTF8'::name) ELSE encode(decoded.bytes, 'escape'::text) END AS encode FROM (SELECT string_agg(CASE WHEN ("left"(found.piece[1], 1) = '%'::text) THEN decode(replace(found.piece[1], '%'::text, ''::text), 'hex'::text) ELSE convert_to(found.piece[1], 'UTF8'::name) END, '\x'::bytea ORDER BY found.number) AS bytes FROM regexp_matches(percent_decoded.said, '(?:%[0-9A-Fa-f]{2})+|[^%]+'::text, 'g'::text) WITH ORDINALITY found(piece, number)) decoded);

CREATE FUNCTION ledger.recount_batch(batch bigint)
 RETURNS boolean
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET enable_seqscan TO 'off'
 SET enable_hashjoin TO 'off'
 SET enable_mergejoin TO 'off'
AS $$
DECLARE
    is_done boolean;
BEGIN
    PERFORM FROM ledger.batches b WHERE b.batch_id = batch FOR UPDATE;
    UPDATE ledger.batches b
    SET image_count = c.images, classified_count = c.classified, reused_count = c.reused,
        failed_count = c.failed,
        attempt = CASE WHEN c.is_done AND b.state <> 'done' THEN b.attempt + 1 ELSE b.attempt END,
        finished_at = CASE WHEN c.is_done THEN coalesce(b.finished_at, now()) END,
        lease_until = CASE WHEN NOT c.is_done THEN b.lease_until END,
        state = CASE WHEN c.is_done THEN 'done' WHEN b.state = 'done' THEN 'recorded'
                     ELSE b.state END
    FROM (
        SELECT count(*) AS images, count(*) = count(o.image_id) AS is_done,
               count(*) FILTER (WHERE o.status = 'classified') AS classified,
               count(*) FILTER (WHERE o.status = 'reused') AS reused,
               count(*) FILTER (WHERE o.status = 'failed') AS failed
        FROM ledger.images i LEFT JOIN ledger.outcomes o ON o.image_id = i.image_id
        WHERE i.batch_id = batch
    ) AS c
    WHERE b.batch_id = batch
    RETURNING b.state = 'done' INTO is_done;
    RETURN coalesce(is_done, false);
END $$;

CREATE FUNCTION ledger.retry_failures(scan bigint, codes ledger.failure_code[], wanted ledger.lane, at_most integer, asked_at timestamp with time zone)
 RETURNS bigint
 LANGUAGE sql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $$
    WITH chosen AS MATERIALIZED (
        SELECT o.image_id FROM ledger.outcomes o
        WHERE o.scan_id = scan AND o.status = 'failed' AND o.failure_code = ANY (codes)
          AND o.finished_at <= asked_at
        LIMIT at_most
    ), forgotten AS (
        DELETE FROM ledger.outcomes o USING chosen c WHERE o.image_id = c.image_id
        RETURNING o.image_id
    ), unsaid AS (
        DELETE FROM ledger.verdicts v USING forgotten f WHERE v.image_id = f.image_id
    ), taken AS (
        SELECT i.image_id, i.batch_id
        FROM ledger.images i JOIN forgotten f ON f.image_id = i.image_id
    ), made AS (
        INSERT INTO ledger.batches (scan_id, lane, image_count)
        SELECT s.scan_id, coalesce(wanted, s.lane), t.images
        FROM ledger.scans s CROSS JOIN (SELECT count(*) AS images FROM taken) AS t
        WHERE s.scan_id = scan AND t.images > 0
        RETURNING batch_id
    ), relieved AS (
        UPDATE ledger.batches b
        SET image_count = b.image_count - t.images, failed_count = b.failed_count - t.images
        FROM (SELECT batch_id, count(*) AS images FROM taken GROUP BY batch_id) AS t
        WHERE b.batch_id = t.batch_id
    ), moved AS (
        UPDATE ledger.images i SET batch_id = made.batch_id
        FROM made, taken t WHERE i.image_id = t.image_id
        RETURNING i.image_id
    )
    SELECT count(*) FROM moved
$$;

CREATE FUNCTION ledger.revoke_roles()
 RETURNS void
 LANGUAGE plpgsql
AS $$
DECLARE
    wanted text;
    granted text;
BEGIN
    FOR wanted, granted IN SELECT role, may FROM ledger.rights LOOP
        IF to_regrole(wanted) IS NOT NULL THEN
            EXECUTE format('REVOKE %s FROM %I', granted, wanted);
        END IF;
    END LOOP;
END $$;

CREATE FUNCTION ledger.standing_policy(policy text, real_below double precision, fake_above double precision)
 RETURNS integer
 LANGUAGE sql
 STABLE PARALLEL SAFE
RETURN (SELECT p.policy_id FROM public.policies p WHERE ((p.name = standing_policy.policy) AND p.is_current AND ((p.real_below = standing_policy.real_below) AND (p.fake_above = standing_policy.fake_above))));

CREATE FUNCTION ledger.supersede()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET enable_seqscan TO 'off'
 SET enable_hashjoin TO 'off'
 SET enable_mergejoin TO 'off'
AS $$
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

CREATE FUNCTION ledger.take_recorded(wanted ledger.lane, room integer, scan bigint)
 RETURNS TABLE(batch_id bigint, scan_id bigint, attempt integer)
 LANGUAGE sql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $$
    WITH open AS (
        SELECT count(*) AS published FROM ledger.batches b
        WHERE b.lane = wanted AND b.state IN ('published', 'running')
    ), taken AS (
        SELECT b.batch_id FROM ledger.batches b
        WHERE b.lane = wanted AND b.state = 'recorded' AND b.scan_id = coalesce(scan, b.scan_id)
        ORDER BY b.batch_id
        LIMIT (SELECT greatest(0, room - published) FROM open)
        FOR UPDATE SKIP LOCKED
    )
    UPDATE ledger.batches b SET state = 'published', published_at = now()
    FROM taken WHERE b.batch_id = taken.batch_id
    RETURNING b.batch_id, b.scan_id, b.attempt
$$;

CREATE FUNCTION ledger.take_right(wanted text, granted text)
 RETURNS void
 LANGUAGE plpgsql
AS $$
BEGIN
    IF to_regrole(wanted) IS NOT NULL THEN
        EXECUTE format('REVOKE %s FROM %I', granted, wanted);
    END IF;
    DELETE FROM ledger.role_rights WHERE (role, may) = (wanted, granted);
    IF NOT FOUND THEN
        RAISE EXCEPTION '% never had: %', wanted, granted;
    END IF;
END $$;

CREATE FUNCTION ledger.tell_events(at_most integer)
 RETURNS bigint
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $$
DECLARE
    ended bigint;
    missed bigint;
BEGIN
    WITH over AS MATERIALIZED (
        SELECT s.scan_id FROM ledger.scans s
        WHERE s.told_at IS NULL AND (
            SELECT p.has_ended FROM public.scan_progress p WHERE p.scan_id = s.scan_id
        )
        ORDER BY s.scan_id LIMIT at_most FOR NO KEY UPDATE SKIP LOCKED
    ), marked AS (
        UPDATE ledger.scans s SET told_at = now() FROM over WHERE s.scan_id = over.scan_id
        RETURNING s.scan_id, s.lane, s.model_keys, s.schedule_id
    ), told AS (
        INSERT INTO ledger.webhook_deliveries (webhook_id, scan_id, event, said)
        SELECT w.webhook_id, m.scan_id, 'scan.ended', jsonb_build_object(
            'scan_id', p.scan_id, 'name', p.name, 'schedule', n.name, 'state', p.state,
            'lane', p.lane, 'models', p.models, 'policy', p.policy,
            'submitted', p.submitted, 'classified', p.classified, 'reused', p.reused,
            'failed', p.failed, 'pending', p.pending, 'is_audit', p.is_audit,
            'unchanged', p.unchanged, 'new', p.new, 'changed', p.changed, 'again', p.again,
            'vanished', p.vanished,
            'asked_at', ledger.told_moment(p.created_at),
            'ended_at', ledger.told_moment(p.finished_at))
        FROM marked m
        JOIN ledger.webhooks w ON 'scan.ended' = ANY (w.events)
        CROSS JOIN LATERAL (SELECT * FROM public.scan_progress x WHERE x.scan_id = m.scan_id) AS p
        LEFT JOIN ledger.schedules n ON n.schedule_id = m.schedule_id
        WHERE ledger.wants(w, m.model_keys, m.lane)
        ORDER BY m.scan_id, w.webhook_id
    )
    SELECT count(*) INTO ended FROM marked;
    WITH marked AS (
        UPDATE ledger.schedule_runs r SET is_told = true
        WHERE NOT r.is_told AND (r.schedule_id, r.due_at) IN (
            SELECT u.schedule_id, u.due_at FROM ledger.schedule_runs u WHERE NOT u.is_told
            ORDER BY u.due_at LIMIT at_most FOR UPDATE SKIP LOCKED
        ) RETURNING r.*
    ), told AS (
        INSERT INTO ledger.webhook_deliveries (webhook_id, event, said)
        SELECT w.webhook_id, e.event, jsonb_build_object(
            'schedule', n.name, 'due_at', ledger.told_moment(m.due_at), 'outcome', m.outcome,
            'reason', m.reason, 'by_hand', m.by_hand)
        FROM marked m JOIN ledger.schedules n USING (schedule_id)
        CROSS JOIN LATERAL (
            SELECT CASE WHEN m.outcome = 'refused' THEN 'schedule.failed'
                        ELSE 'schedule.skipped' END AS event
        ) AS e
        JOIN ledger.webhooks w ON e.event = ANY (w.events)
        WHERE m.outcome <> 'fired' AND ledger.wants(w, n.model_keys, n.lane)
        ORDER BY m.due_at, w.webhook_id
    )
    SELECT count(*) FILTER (WHERE outcome <> 'fired') INTO missed FROM marked;
    RETURN ended + missed;
END $$;

CREATE FUNCTION ledger.tell_of_changes()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $$
BEGIN
    PERFORM FROM ledger.webhooks w WHERE w.removed_at IS NULL;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    INSERT INTO ledger.webhook_deliveries
        (webhook_id, image_id, model_id, scan_id, content_id, policy_id, p_fake, verdict, kind,
         before)
    SELECT w.webhook_id, g.image_id, g.model_id, g.scan_id, g.content_id, g.policy_id, g.p_fake,
           g.verdict, g.kind, f.verdict
    FROM former f
    JOIN given g ON g.image_id = f.image_id AND g.model_id = f.model_id
    JOIN ledger.webhooks w ON g.verdict = ANY (w.verdicts) OR f.verdict = ANY (w.verdicts)
    JOIN ledger.scans s ON s.scan_id = g.scan_id
    JOIN ledger.models m ON m.model_id = g.model_id
    WHERE f.verdict <> g.verdict AND ledger.wants(w, ARRAY[m.key], s.lane)
    ORDER BY g.image_id, g.model_id, w.webhook_id;
    RETURN NULL;
END $$;

CREATE FUNCTION ledger.tell_of_verdicts()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET enable_seqscan TO 'off'
 SET enable_hashjoin TO 'off'
 SET enable_mergejoin TO 'off'
AS $$
BEGIN
    PERFORM FROM ledger.webhooks w WHERE w.removed_at IS NULL;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    INSERT INTO ledger.webhook_deliveries
        (webhook_id, image_id, model_id, scan_id, content_id, policy_id, p_fake, verdict, kind)
    SELECT w.webhook_id, g.image_id, g.model_id, g.scan_id, g.content_id, g.policy_id, g.p_fake,
           g.verdict, g.kind
    FROM given g
    JOIN ledger.webhooks w ON g.verdict = ANY (w.verdicts)
    JOIN ledger.images i ON i.image_id = g.image_id AND i.scan_id = g.scan_id
    JOIN ledger.scans s ON s.scan_id = g.scan_id
    JOIN ledger.models m ON m.model_id = g.model_id AND m.key = ANY (s.model_keys)
    JOIN ledger.policies q ON q.policy_id = g.policy_id
    JOIN ledger.predictions p ON p.content_id = g.content_id AND p.model_id = g.model_id
    WHERE ledger.wants(w, ARRAY[m.key], s.lane)
      AND p.p_fake = g.p_fake
      AND public.judge(p.p_fake, q.real_below, q.fake_above) = g.verdict
      AND NOT EXISTS (SELECT FROM ledger.outcomes o WHERE o.image_id = g.image_id)
    ORDER BY g.image_id, g.model_id, w.webhook_id;
    RETURN NULL;
END $$;

CREATE FUNCTION ledger.told_moment(at timestamp with time zone)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE STRICT
RETURN to_char((at AT TIME ZONE 'UTC'::text), 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'::text);

CREATE FUNCTION ledger.wants(webhook ledger.webhooks, models text[], lane ledger.lane)
 RETURNS boolean
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN (((webhook).removed_at IS NULL) AND (((webhook).models IS NULL) OR ((webhook).models && models)) AND (((webhook).lanes IS NULL) OR (lane = ANY ((webhook).lanes))));

CREATE FUNCTION public.content_id_of(sha256 text)
 RETURNS bigint
 LANGUAGE sql
 STABLE PARALLEL SAFE SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
RETURN (SELECT c.content_id FROM ledger.contents c WHERE (c.sha256 = decode(content_id_of.sha256, 'hex'::text)));

CREATE FUNCTION public.judge(p_fake double precision, real_below double precision, fake_above double precision)
 RETURNS ledger.verdict
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN (p_fake < real_below) THEN 'real'::ledger.verdict WHEN (p_fake > fake_above) THEN 'fake'::ledger.verdict ELSE 'uncertain'::ledger.verdict END;

CREATE FUNCTION public.path_of(uri text)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE WHEN (("left"(uri, 8) <> 'file:///'::text) OR (strpos(uri, '#'::text) > 0)) THEN NULL::text WHEN (strpos(uri, '%'::text) = 0) THEN substr(uri, 8) ELSE ledger.percent_decoded(substr(uri, 8)) END;

CREATE FUNCTION public.rejudge(scan bigint, policy text)
 RETURNS bigint
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $$
DECLARE
    chosen public.policies;
    in_pass bigint;
    changed bigint := 0;
BEGIN
    SELECT * INTO chosen FROM public.policies p WHERE p.name = policy AND p.is_current;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no policy named %', policy;
    END IF;
    UPDATE ledger.scans SET policy_id = chosen.policy_id WHERE scan_id = scan;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no scan %', scan;
    END IF;
    FOR pass IN 1..2 LOOP
        IF pass = 2 THEN
            PERFORM pg_advisory_xact_lock(hashtext('fakesweep judging'), scan::integer);
        END IF;
        WITH judged AS (
            SELECT v.image_id, v.model_id, v.verdict AS before, p.p_fake, p.kind,
                   public.judge(p.p_fake, chosen.real_below, chosen.fake_above) AS after
            FROM ledger.verdicts v JOIN ledger.predictions p USING (content_id, model_id)
            WHERE v.scan_id = scan AND v.policy_id <> chosen.policy_id
        ), written AS (
            UPDATE ledger.verdicts v
            SET policy_id = chosen.policy_id, p_fake = j.p_fake, verdict = j.after,
                kind = ledger.kind_told(j.after, j.kind), judged_at = now()
            FROM judged j WHERE (v.image_id, v.model_id) = (j.image_id, j.model_id)
            RETURNING j.before <> j.after AS differs
        )
        SELECT count(*) FILTER (WHERE differs) INTO in_pass FROM written;
        changed := changed + in_pass;
    END LOOP;
    RETURN changed;
END $$;

CREATE FUNCTION public.set_policy(name text, real_below double precision, fake_above double precision)
 RETURNS integer
 LANGUAGE plpgsql
AS $$
DECLARE
    standing integer := ledger.standing_policy(name, real_below, fake_above);
BEGIN
    IF standing IS NULL THEN
        INSERT INTO ledger.policies AS p (name, real_below, fake_above)
        VALUES (set_policy.name, set_policy.real_below, set_policy.fake_above)
        RETURNING p.policy_id INTO standing;
    END IF;
    RETURN standing;
END $$;

-- Grants

GRANT CONNECT ON DATABASE current TO PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.digest_of TO PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.ended_of TO PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.is_expired TO PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.is_held TO PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.is_open TO PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.kind_told TO PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.named_scores TO PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.next_try TO PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.open_query TO PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.pending_of TO PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.percent_decoded TO PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.standing_policy TO PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.wants TO PUBLIC;
GRANT EXECUTE ON FUNCTION public.judge TO PUBLIC;
GRANT EXECUTE ON FUNCTION public.path_of TO PUBLIC;
GRANT USAGE ON SCHEMA public TO PUBLIC;

GRANT EXECUTE ON FUNCTION ledger.named_scores TO fakesweep_analyst;
GRANT EXECUTE ON FUNCTION ledger.open_query TO fakesweep_analyst;
GRANT EXECUTE ON FUNCTION public.content_id_of TO fakesweep_analyst;
GRANT EXECUTE ON FUNCTION public.judge TO fakesweep_analyst;
GRANT USAGE ON SCHEMA ledger TO fakesweep_analyst;
GRANT SELECT ON public.alembic_version TO fakesweep_analyst;
GRANT SELECT ON public.audit_changes TO fakesweep_analyst;
GRANT SELECT ON public.audit_images TO fakesweep_analyst;
GRANT SELECT ON public.batch_troubles TO fakesweep_analyst;
GRANT SELECT ON public.batches TO fakesweep_analyst;
GRANT SELECT ON public.failures TO fakesweep_analyst;
GRANT SELECT ON public.images TO fakesweep_analyst;
GRANT SELECT ON public.left_out TO fakesweep_analyst;
GRANT SELECT ON public.listing_troubles TO fakesweep_analyst;
GRANT SELECT ON public.model_disagreements TO fakesweep_analyst;
GRANT SELECT ON public.model_troubles TO fakesweep_analyst;
GRANT SELECT ON public.models TO fakesweep_analyst;
GRANT SELECT ON public.output_parts TO fakesweep_analyst;
GRANT SELECT ON public.outputs TO fakesweep_analyst;
GRANT SELECT ON public.pattern_matches TO fakesweep_analyst;
GRANT SELECT ON public.policies TO fakesweep_analyst;
GRANT SELECT ON public.producers TO fakesweep_analyst;
GRANT SELECT ON public.results TO fakesweep_analyst;
GRANT SELECT ON public.review_queue TO fakesweep_analyst;
GRANT SELECT ON public.scan_progress TO fakesweep_analyst;
GRANT SELECT ON public.scan_sources TO fakesweep_analyst;
GRANT SELECT ON public.schedule_runs TO fakesweep_analyst;
GRANT SELECT ON public.schedules TO fakesweep_analyst;
GRANT SELECT ON public.unreadable_messages TO fakesweep_analyst;
GRANT SELECT ON public.verdicts TO fakesweep_analyst;
GRANT SELECT ON public.webhook_deliveries TO fakesweep_analyst;
GRANT SELECT ON public.webhooks TO fakesweep_analyst;
GRANT SELECT ON public.workers TO fakesweep_analyst;

GRANT EXECUTE ON FUNCTION ledger.add_uploads TO fakesweep_api;
GRANT EXECUTE ON FUNCTION ledger.named_scores TO fakesweep_api;
GRANT EXECUTE ON FUNCTION ledger.open_stream TO fakesweep_api;
GRANT EXECUTE ON FUNCTION ledger.take_recorded TO fakesweep_api;
GRANT EXECUTE ON FUNCTION pg_catalog.pg_advisory_lock TO fakesweep_api;
GRANT EXECUTE ON FUNCTION pg_catalog.pg_advisory_lock_shared TO fakesweep_api;
GRANT EXECUTE ON FUNCTION pg_catalog.pg_advisory_unlock TO fakesweep_api;
GRANT EXECUTE ON FUNCTION pg_catalog.pg_advisory_unlock_all TO fakesweep_api;
GRANT EXECUTE ON FUNCTION pg_catalog.pg_advisory_unlock_shared TO fakesweep_api;
GRANT EXECUTE ON FUNCTION pg_catalog.pg_advisory_xact_lock TO fakesweep_api;
GRANT EXECUTE ON FUNCTION pg_catalog.pg_advisory_xact_lock_shared TO fakesweep_api;
GRANT EXECUTE ON FUNCTION pg_catalog.pg_try_advisory_lock TO fakesweep_api;
GRANT EXECUTE ON FUNCTION pg_catalog.pg_try_advisory_lock_shared TO fakesweep_api;
GRANT EXECUTE ON FUNCTION pg_catalog.pg_try_advisory_xact_lock TO fakesweep_api;
GRANT EXECUTE ON FUNCTION pg_catalog.pg_try_advisory_xact_lock_shared TO fakesweep_api;
GRANT EXECUTE ON FUNCTION public.content_id_of TO fakesweep_api;
GRANT EXECUTE ON FUNCTION public.judge TO fakesweep_api;
GRANT USAGE ON SCHEMA ledger TO fakesweep_api;
GRANT SELECT, UPDATE (last_used_at) ON ledger.api_tokens TO fakesweep_api;
GRANT SELECT ON ledger.batches TO fakesweep_api;
GRANT SELECT ON ledger.contents TO fakesweep_api;
GRANT SELECT ON ledger.images TO fakesweep_api;
GRANT SELECT ON ledger.models TO fakesweep_api;
GRANT SELECT ON ledger.outcomes TO fakesweep_api;
GRANT SELECT ON ledger.pending TO fakesweep_api;
GRANT SELECT ON ledger.policies TO fakesweep_api;
GRANT SELECT ON ledger.predictions TO fakesweep_api;
GRANT SELECT (cancelled_at, created_at, is_audit, lane, listed_at, model_keys, name, paused_at, policy_id, scan_id, stream, stream_policy) ON ledger.scans TO fakesweep_api;
GRANT INSERT, SELECT ON ledger.submissions TO fakesweep_api;
GRANT SELECT ON ledger.verdicts TO fakesweep_api;
GRANT SELECT ON public.alembic_version TO fakesweep_api;
GRANT SELECT ON public.failures TO fakesweep_api;
GRANT SELECT ON public.images TO fakesweep_api;
GRANT SELECT ON public.policies TO fakesweep_api;
GRANT SELECT ON public.scan_progress TO fakesweep_api;
GRANT SELECT ON public.verdicts TO fakesweep_api;

GRANT TEMPORARY ON DATABASE current TO fakesweep_producer;
GRANT EXECUTE ON FUNCTION ledger.add_uploads TO fakesweep_producer;
GRANT EXECUTE ON FUNCTION ledger.drop_empty_batches TO fakesweep_producer;
GRANT EXECUTE ON FUNCTION ledger.named_scores TO fakesweep_producer;
GRANT EXECUTE ON FUNCTION ledger.open_query TO fakesweep_producer;
GRANT EXECUTE ON FUNCTION ledger.open_stream TO fakesweep_producer;
GRANT EXECUTE ON FUNCTION ledger.recount_batch TO fakesweep_producer;
GRANT EXECUTE ON FUNCTION ledger.retry_failures TO fakesweep_producer;
GRANT EXECUTE ON FUNCTION ledger.take_recorded TO fakesweep_producer;
GRANT EXECUTE ON FUNCTION ledger.tell_events TO fakesweep_producer;
GRANT EXECUTE ON FUNCTION pg_catalog.pg_advisory_lock TO fakesweep_producer;
GRANT EXECUTE ON FUNCTION pg_catalog.pg_advisory_lock_shared TO fakesweep_producer;
GRANT EXECUTE ON FUNCTION pg_catalog.pg_advisory_unlock TO fakesweep_producer;
GRANT EXECUTE ON FUNCTION pg_catalog.pg_advisory_unlock_all TO fakesweep_producer;
GRANT EXECUTE ON FUNCTION pg_catalog.pg_advisory_unlock_shared TO fakesweep_producer;
GRANT EXECUTE ON FUNCTION pg_catalog.pg_advisory_xact_lock TO fakesweep_producer;
GRANT EXECUTE ON FUNCTION pg_catalog.pg_advisory_xact_lock_shared TO fakesweep_producer;
GRANT EXECUTE ON FUNCTION pg_catalog.pg_try_advisory_lock TO fakesweep_producer;
GRANT EXECUTE ON FUNCTION pg_catalog.pg_try_advisory_lock_shared TO fakesweep_producer;
GRANT EXECUTE ON FUNCTION pg_catalog.pg_try_advisory_xact_lock TO fakesweep_producer;
GRANT EXECUTE ON FUNCTION pg_catalog.pg_try_advisory_xact_lock_shared TO fakesweep_producer;
GRANT EXECUTE ON FUNCTION public.content_id_of TO fakesweep_producer;
GRANT EXECUTE ON FUNCTION public.judge TO fakesweep_producer;
GRANT EXECUTE ON FUNCTION public.rejudge TO fakesweep_producer;
GRANT EXECUTE ON FUNCTION public.set_policy TO fakesweep_producer;
GRANT USAGE ON SCHEMA ledger TO fakesweep_producer;
GRANT INSERT (attempt, classified_count, created_at, expiries, failed_count, finished_at, image_count, lane, lease_until, published_at, refusals, reused_count, scan_id, split_from, state, strikes, trouble, troubled_since, try_at, worker_id), SELECT, UPDATE (attempt, expiries, failed_count, finished_at, image_count, lane, lease_until, published_at, refusals, state, strikes, trouble, troubled_since, try_at) ON ledger.batches TO fakesweep_producer;
GRANT SELECT ON ledger.contents TO fakesweep_producer;
GRANT INSERT (batch_id, change, etag, known_content_id, modified_at, occurrence, scan_id, size_bytes, uri), SELECT, UPDATE (batch_id) ON ledger.images TO fakesweep_producer;
GRANT INSERT, SELECT, UPDATE (files) ON ledger.listing_counts TO fakesweep_producer;
GRANT INSERT, SELECT, UPDATE (reason, since, try_at) ON ledger.listing_troubles TO fakesweep_producer;
GRANT SELECT ON ledger.models TO fakesweep_producer;
GRANT INSERT (failure_code, failure_message, image_id, scan_id), SELECT ON ledger.outcomes TO fakesweep_producer;
GRANT INSERT, SELECT ON ledger.output_batches TO fakesweep_producer;
GRANT INSERT, SELECT, UPDATE (lines, sha256, size_bytes, written_at) ON ledger.output_parts TO fakesweep_producer;
GRANT INSERT, SELECT, UPDATE (ended_at, from_batch_id, last_batch_id, trouble, troubled_since, try_at) ON ledger.outputs TO fakesweep_producer;
GRANT SELECT ON ledger.pending TO fakesweep_producer;
GRANT INSERT (created_at, fake_above, name, real_below), SELECT ON ledger.policies TO fakesweep_producer;
GRANT SELECT ON ledger.predictions TO fakesweep_producer;
GRANT INSERT, SELECT, UPDATE (seen_at, stopped_at) ON ledger.producers TO fakesweep_producer;
GRANT INSERT, SELECT, UPDATE (listed_at) ON ledger.scan_sources TO fakesweep_producer;
GRANT INSERT (archive, asked, cancelled_at, created_at, due_at, is_audit, lane, listed_at, model_keys, name, paused_at, policy_id, pruned_at, schedule_id, selection, stream, stream_policy, token, told_at, vanished_count), SELECT, UPDATE (asked, cancelled_at, due_at, listed_at, paused_at, schedule_id, token, vanished_count) ON ledger.scans TO fakesweep_producer;
GRANT INSERT, SELECT ON ledger.schedule_runs TO fakesweep_producer;
GRANT INSERT, SELECT ON ledger.schedule_sources TO fakesweep_producer;
GRANT INSERT (created_at, cron, is_full, lane, model_keys, name, next_at, paused_at, policy, removed_at, selection, timezone), SELECT, UPDATE (next_at, paused_at, removed_at) ON ledger.schedules TO fakesweep_producer;
GRANT INSERT (digest, image_ids, scan_id), SELECT ON ledger.sightings TO fakesweep_producer;
GRANT INSERT, SELECT, UPDATE (again_count, changed_count, cursor, listed_at, new_count, unchanged_count, until) ON ledger.source_parts TO fakesweep_producer;
GRANT INSERT, SELECT ON ledger.submissions TO fakesweep_producer;
GRANT INSERT (acknowledged_at, body, queue, reason, received_at), SELECT (acknowledged_at), UPDATE (acknowledged_at) ON ledger.unreadable_messages TO fakesweep_producer;
GRANT INSERT, SELECT ON ledger.vanished TO fakesweep_producer;
GRANT SELECT ON ledger.verdicts TO fakesweep_producer;
GRANT DELETE, SELECT, UPDATE (attempts, dead_at, delivered_at, last_error, last_status, lease, next_attempt_at) ON ledger.webhook_deliveries TO fakesweep_producer;
GRANT INSERT (events, lanes, models, name, secret, url, verdicts), SELECT, UPDATE (paused_at, paused_because, removed_at, secret) ON ledger.webhooks TO fakesweep_producer;
GRANT SELECT ON ledger.workers TO fakesweep_producer;
GRANT SELECT ON public.alembic_version TO fakesweep_producer;
GRANT SELECT ON public.audit_changes TO fakesweep_producer;
GRANT SELECT ON public.audit_images TO fakesweep_producer;
GRANT SELECT ON public.batch_troubles TO fakesweep_producer;
GRANT SELECT ON public.batches TO fakesweep_producer;
GRANT SELECT ON public.failures TO fakesweep_producer;
GRANT SELECT ON public.images TO fakesweep_producer;
GRANT SELECT ON public.left_out TO fakesweep_producer;
GRANT SELECT ON public.listing_troubles TO fakesweep_producer;
GRANT SELECT ON public.model_disagreements TO fakesweep_producer;
GRANT SELECT ON public.model_troubles TO fakesweep_producer;
GRANT SELECT ON public.models TO fakesweep_producer;
GRANT SELECT ON public.output_parts TO fakesweep_producer;
GRANT SELECT ON public.outputs TO fakesweep_producer;
GRANT SELECT ON public.pattern_matches TO fakesweep_producer;
GRANT SELECT ON public.policies TO fakesweep_producer;
GRANT SELECT ON public.producers TO fakesweep_producer;
GRANT SELECT ON public.results TO fakesweep_producer;
GRANT SELECT ON public.review_queue TO fakesweep_producer;
GRANT SELECT ON public.scan_progress TO fakesweep_producer;
GRANT SELECT ON public.scan_sources TO fakesweep_producer;
GRANT SELECT ON public.schedule_runs TO fakesweep_producer;
GRANT SELECT ON public.schedules TO fakesweep_producer;
GRANT SELECT ON public.unreadable_messages TO fakesweep_producer;
GRANT SELECT ON public.verdicts TO fakesweep_producer;
GRANT SELECT ON public.webhook_deliveries TO fakesweep_producer;
GRANT SELECT ON public.webhooks TO fakesweep_producer;
GRANT SELECT ON public.workers TO fakesweep_producer;

GRANT TEMPORARY ON DATABASE current TO fakesweep_worker;
GRANT EXECUTE ON FUNCTION ledger.batch_images TO fakesweep_worker;
GRANT EXECUTE ON FUNCTION ledger.pending_images TO fakesweep_worker;
GRANT EXECUTE ON FUNCTION ledger.recount_batch TO fakesweep_worker;
GRANT EXECUTE ON FUNCTION pg_catalog.pg_advisory_lock TO fakesweep_worker;
GRANT EXECUTE ON FUNCTION pg_catalog.pg_advisory_lock_shared TO fakesweep_worker;
GRANT EXECUTE ON FUNCTION pg_catalog.pg_advisory_unlock TO fakesweep_worker;
GRANT EXECUTE ON FUNCTION pg_catalog.pg_advisory_unlock_all TO fakesweep_worker;
GRANT EXECUTE ON FUNCTION pg_catalog.pg_advisory_unlock_shared TO fakesweep_worker;
GRANT EXECUTE ON FUNCTION pg_catalog.pg_advisory_xact_lock TO fakesweep_worker;
GRANT EXECUTE ON FUNCTION pg_catalog.pg_advisory_xact_lock_shared TO fakesweep_worker;
GRANT EXECUTE ON FUNCTION pg_catalog.pg_try_advisory_lock TO fakesweep_worker;
GRANT EXECUTE ON FUNCTION pg_catalog.pg_try_advisory_lock_shared TO fakesweep_worker;
GRANT EXECUTE ON FUNCTION pg_catalog.pg_try_advisory_xact_lock TO fakesweep_worker;
GRANT EXECUTE ON FUNCTION pg_catalog.pg_try_advisory_xact_lock_shared TO fakesweep_worker;
GRANT EXECUTE ON FUNCTION public.judge TO fakesweep_worker;
GRANT USAGE ON SCHEMA ledger TO fakesweep_worker;
GRANT SELECT, UPDATE (attempt, classified_count, failed_count, finished_at, lease_until, refusals, reused_count, state, trouble, troubled_since, try_at, worker_id) ON ledger.batches TO fakesweep_worker;
GRANT INSERT (first_seen_at, format, frame_count, height, read_as, sha256, size_bytes, width), SELECT, UPDATE (format, frame_count, height, read_as, width) ON ledger.contents TO fakesweep_worker;
GRANT SELECT (batch_id, image_id, known_content_id) ON ledger.images TO fakesweep_worker;
GRANT INSERT ON ledger.model_loads TO fakesweep_worker;
GRANT INSERT, SELECT, UPDATE (ended_at, next_try_at, reason, since, tries) ON ledger.model_troubles TO fakesweep_worker;
GRANT INSERT (architecture, fingerprint, first_loaded_at, key, labels, preprocessing, revision, sides, sides_origin, source, superseded_at), SELECT, UPDATE (superseded_at) ON ledger.models TO fakesweep_worker;
GRANT INSERT ON ledger.outcomes TO fakesweep_worker;
GRANT SELECT ON ledger.policies TO fakesweep_worker;
GRANT INSERT, SELECT ON ledger.predictions TO fakesweep_worker;
GRANT SELECT ON ledger.scans TO fakesweep_worker;
GRANT INSERT (acknowledged_at, body, queue, reason, received_at) ON ledger.unreadable_messages TO fakesweep_worker;
GRANT INSERT ON ledger.verdicts TO fakesweep_worker;
GRANT INSERT, SELECT, UPDATE (seen_at, stages_at, stages_lately, stages_total, stopped_at) ON ledger.workers TO fakesweep_worker;
GRANT SELECT ON public.alembic_version TO fakesweep_worker;

-- Revoked from PUBLIC

REVOKE EXECUTE ON FUNCTION pg_catalog.lo_close FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION pg_catalog.lo_creat FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION pg_catalog.lo_create FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION pg_catalog.lo_from_bytea FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION pg_catalog.lo_get FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION pg_catalog.lo_lseek FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION pg_catalog.lo_lseek64 FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION pg_catalog.lo_open FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION pg_catalog.lo_put FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION pg_catalog.lo_tell FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION pg_catalog.lo_tell64 FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION pg_catalog.lo_truncate FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION pg_catalog.lo_truncate64 FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION pg_catalog.lo_unlink FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION pg_catalog.loread FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION pg_catalog.lowrite FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION pg_catalog.pg_advisory_lock FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION pg_catalog.pg_advisory_lock_shared FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION pg_catalog.pg_advisory_unlock FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION pg_catalog.pg_advisory_unlock_all FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION pg_catalog.pg_advisory_unlock_shared FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION pg_catalog.pg_advisory_xact_lock FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION pg_catalog.pg_advisory_xact_lock_shared FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION pg_catalog.pg_logical_emit_message FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION pg_catalog.pg_try_advisory_lock FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION pg_catalog.pg_try_advisory_lock_shared FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION pg_catalog.pg_try_advisory_xact_lock FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION pg_catalog.pg_try_advisory_xact_lock_shared FROM PUBLIC;
