"""Statements that a role must not be able to run, one on each line."""

ANYBODY = """\
DROP TABLE ledger.verdicts
DROP VIEW public.verdicts
DROP SCHEMA ledger CASCADE
TRUNCATE ledger.images
ALTER TABLE ledger.scans ADD COLUMN mine text
ALTER VIEW public.verdicts OWNER TO CURRENT_USER
CREATE TABLE public.mine (a integer)
CREATE TABLE ledger.mine (a integer)
CREATE VIEW public.mine AS SELECT 1
CREATE SCHEMA mine
DROP EXTENSION plpgsql
CREATE FUNCTION public.judge(double precision) RETURNS integer LANGUAGE sql AS 'SELECT 1'
CREATE OR REPLACE FUNCTION ledger.open_query(query text) RETURNS refcursor LANGUAGE sql AS 'SELECT'
CREATE FUNCTION ledger.named_scores(integer) RETURNS integer LANGUAGE sql AS 'SELECT 1'
CREATE TRIGGER mine AFTER INSERT ON ledger.images EXECUTE FUNCTION pg_catalog.lo_manage()
CREATE INDEX ON ledger.images (etag)
DELETE FROM ledger.images
DELETE FROM ledger.verdicts
DELETE FROM ledger.predictions
DELETE FROM ledger.policies
DELETE FROM ledger.scans
UPDATE ledger.predictions SET p_fake = 0
UPDATE ledger.predictions SET scores = '{1}'
UPDATE ledger.images SET uri = 's3://other/image'
UPDATE ledger.outcomes SET status = 'classified'
UPDATE ledger.policies SET fake_above = 1
UPDATE ledger.contents SET sha256 = ''
UPDATE alembic_version SET version_num = '0001'
INSERT INTO public.models (model) VALUES ('mine')
UPDATE public.models SET source = 'mine'
DELETE FROM public.models
SELECT * FROM pg_authid
SELECT * FROM pg_user_mapping
SELECT pg_read_file('/etc/passwd')
SELECT pg_ls_dir('/')
SELECT lo_import('/etc/passwd')
SELECT lo_export(1, '/tmp/fakesweep-copied')
SELECT lo_create(0)
SELECT lo_creat(-1)
SELECT lo_from_bytea(0, 'mine')
SELECT lo_put(1, 0, 'mine')
SELECT lo_open(1, 131072)
SELECT lowrite(0, 'mine')
SELECT lo_unlink(1)
SELECT ledger.close_large_objects()
SELECT ledger.close_locks()
SELECT pg_logical_emit_message(false, 'mine', 'mine')
INSERT INTO ledger.contents (content_id) OVERRIDING SYSTEM VALUE VALUES (9)
INSERT INTO ledger.models (model_id) OVERRIDING SYSTEM VALUE VALUES (9)
INSERT INTO ledger.scans (scan_id) OVERRIDING SYSTEM VALUE VALUES (9)
INSERT INTO ledger.batches (batch_id) OVERRIDING SYSTEM VALUE VALUES (9)
INSERT INTO ledger.images (image_id) OVERRIDING SYSTEM VALUE VALUES (9)
INSERT INTO ledger.policies (policy_id) OVERRIDING SYSTEM VALUE VALUES (9)
SELECT setval('ledger.images_image_id_seq', 1)
SELECT nextval('ledger.images_image_id_seq')
COPY (SELECT 1) TO PROGRAM 'true'
COPY (SELECT 1) TO '/tmp/fakesweep-copied'
COPY alembic_version FROM '/etc/passwd'
SET ROLE postgres
SET SESSION AUTHORIZATION postgres
SET session_replication_role = replica
ALTER ROLE CURRENT_USER SUPERUSER
ALTER ROLE fakesweep_producer LOGIN
CREATE ROLE mine
SELECT pg_reload_conf()
GRANT pg_read_all_data TO CURRENT_USER
SELECT ledger.grant_roles()
SELECT ledger.revoke_roles()
SELECT * FROM ledger.rights
"""

WORKER_ONLY = """\
DELETE FROM ledger.batches
DELETE FROM ledger.outcomes
DELETE FROM ledger.contents
DELETE FROM ledger.workers
INSERT INTO ledger.scans (lane, policy_id, model_keys) VALUES ('bulk', 1, '{tiny}')
INSERT INTO ledger.policies (name, real_below, fake_above) VALUES ('mine', 0, 0)
INSERT INTO ledger.images (scan_id, batch_id, uri) VALUES (1, 1, 's3://a/b')
INSERT INTO ledger.batches (scan_id, lane, image_count) VALUES (1, 'bulk', 1)
UPDATE ledger.scans SET policy_id = 2
UPDATE ledger.scans SET cancelled_at = now()
UPDATE ledger.batches SET lane = 'live'
UPDATE ledger.batches SET image_count = 0
UPDATE ledger.batches SET scan_id = 2
UPDATE ledger.verdicts SET verdict = 'real'
UPDATE ledger.models SET labels = '{}'
UPDATE ledger.batches SET expiries = 0
INSERT INTO ledger.webhook_deliveries (webhook_id, image_id) VALUES (1, 1)
SELECT webhook_id FROM ledger.webhooks
SELECT * FROM public.batch_troubles
SELECT * FROM public.batches
SELECT * FROM public.images
SELECT * FROM public.results
SELECT * FROM public.webhooks
SELECT uri FROM ledger.images
SELECT * FROM ledger.verdicts
SELECT * FROM ledger.outcomes
SELECT body FROM ledger.unreadable_messages
SELECT * FROM public.verdicts
SELECT public.set_policy('default', 0, 0)
SELECT public.rejudge(1, 'default')
SELECT public.content_id_of('')
LOCK TABLE ledger.batches IN ACCESS EXCLUSIVE MODE
SET ROLE fakesweep_producer
SET ROLE fakesweep_analyst
"""

PRODUCER_ONLY = """\
INSERT INTO ledger.outcomes (image_id, scan_id, status) VALUES (1, 1, 'classified')
INSERT INTO ledger.outcomes (image_id, scan_id, status, content_id) VALUES (1, 1, 'reused', 1)
INSERT INTO ledger.outcomes (image_id, failure_code, content_id) VALUES (1, 'corrupt', 1)
DELETE FROM ledger.outcomes
DELETE FROM ledger.outcomes WHERE status = 'failed'
DELETE FROM ledger.batches
UPDATE ledger.outcomes SET failure_code = 'corrupt'
UPDATE ledger.outcomes SET content_id = 2
UPDATE ledger.verdicts SET verdict = 'real'
UPDATE ledger.verdicts SET p_fake = 0
UPDATE ledger.verdicts SET policy_id = 1, kind = NULL, judged_at = now()
UPDATE ledger.verdicts SET is_superseded = true
UPDATE ledger.scans SET policy_id = 1
UPDATE ledger.images SET uri = 's3://other/image', size_bytes = 1
INSERT INTO ledger.webhook_deliveries (webhook_id, image_id, verdict) VALUES (1, 1, 'fake')
UPDATE ledger.webhook_deliveries SET verdict = 'real'
UPDATE ledger.webhooks SET url = 'https://mine.example'
SELECT sha256 FROM ledger.api_tokens
INSERT INTO ledger.api_tokens (name) VALUES ('mine')
UPDATE ledger.api_tokens SET last_used_at = now()
SELECT ledger.take_right('fakesweep_worker', '')
SELECT ledger.forget_rights('0004')
SET ROLE fakesweep_api
INSERT INTO ledger.predictions VALUES (1, 1, '{1}', 1, 'deepfake')
INSERT INTO ledger.verdicts SELECT 1, 1, 1, 1, 1, 1, 'real', NULL
INSERT INTO ledger.contents (sha256, size_bytes) VALUES (sha256('x'), 1)
INSERT INTO ledger.models (key) VALUES ('mine')
INSERT INTO ledger.webhook_deliveries (webhook_id, image_id) VALUES (1, 1)
UPDATE ledger.verdicts SET content_id = 2
UPDATE ledger.models SET superseded_at = now()
UPDATE ledger.contents SET width = 1
UPDATE ledger.scans SET model_keys = '{mine}'
UPDATE ledger.batches SET worker_id = gen_random_uuid()
UPDATE ledger.workers SET seen_at = now()
DELETE FROM ledger.scan_sources
DELETE FROM ledger.producers
SET ROLE fakesweep_worker
"""

ANALYST_ONLY = """\
SELECT * FROM ledger.images
SELECT * FROM ledger.scans
SELECT source FROM ledger.scan_sources
SELECT body FROM ledger.unreadable_messages
SELECT uri FROM ledger.images FOR UPDATE
INSERT INTO ledger.scans (lane, policy_id, model_keys) VALUES ('bulk', 1, '{tiny}')
INSERT INTO ledger.outcomes (image_id, scan_id, status) VALUES (1, 1, 'failed')
UPDATE ledger.batches SET state = 'done'
UPDATE ledger.verdicts SET verdict = 'real'
UPDATE public.workers SET hostname = 'mine'
DELETE FROM public.unreadable_messages
DELETE FROM ledger.outcomes
SELECT public.set_policy('default', 0, 0)
SELECT public.set_policy('mine', 0, 0)
SELECT public.rejudge(1, 'default')
CREATE TEMPORARY TABLE mine (a integer)
LOCK TABLE ledger.batches IN ACCESS SHARE MODE
SELECT pg_advisory_lock(1)
SELECT pg_advisory_xact_lock(hashtext('fakesweep lane'), hashtext('bulk'))
SELECT pg_try_advisory_lock_shared(hashtext('fakesweep listing'), 1)
GRANT SELECT ON ledger.images TO CURRENT_USER
SET ROLE fakesweep_worker
SET ROLE fakesweep_producer
"""

API_ONLY = """\
SELECT * FROM ledger.webhooks
SELECT secret FROM ledger.webhooks
SELECT url FROM ledger.webhooks
SELECT * FROM ledger.webhook_deliveries
SELECT * FROM public.webhook_deliveries
SELECT * FROM public.webhooks
SELECT * FROM public.scan_sources
SELECT * FROM public.results
SELECT * FROM public.batches
SELECT source FROM ledger.scan_sources
SELECT token FROM ledger.scans
SELECT asked FROM ledger.scans
SELECT selection FROM ledger.scans
SELECT * FROM ledger.workers
SELECT body FROM ledger.unreadable_messages
SELECT * FROM ledger.schedules
SELECT * FROM ledger.outputs
SELECT uri FROM ledger.images FOR UPDATE
SELECT scan_id FROM ledger.scans FOR SHARE
INSERT INTO ledger.scans (lane, policy_id, model_keys) VALUES ('bulk', 1, '{tiny}')
INSERT INTO ledger.scan_sources (scan_id, position, source) VALUES (1, 1, '/etc')
INSERT INTO ledger.source_parts (scan_id, position, part) VALUES (1, 0, 0)
INSERT INTO ledger.batches (scan_id, lane, image_count) VALUES (1, 'bulk', 1)
INSERT INTO ledger.images (scan_id, batch_id, uri) VALUES (1, 1, 's3://a/b')
INSERT INTO ledger.outcomes (image_id, scan_id, failure_code) VALUES (1, 1, 'corrupt')
INSERT INTO ledger.contents (sha256, size_bytes) VALUES (sha256('x'), 1)
INSERT INTO ledger.predictions VALUES (1, 1, '{1}', 1, 'deepfake')
INSERT INTO ledger.verdicts SELECT 1, 1, 1, 1, 1, 1, 'real', NULL
INSERT INTO ledger.models (key) VALUES ('mine')
INSERT INTO ledger.policies (name, real_below, fake_above) VALUES ('mine', 0, 0)
INSERT INTO ledger.schedules (name) VALUES ('mine')
INSERT INTO ledger.outputs (scan_id, destination) VALUES (1, '/tmp')
INSERT INTO ledger.webhooks (name, url, secret) VALUES ('mine', 'https://mine.example', 's')
INSERT INTO ledger.webhook_deliveries (webhook_id, image_id, verdict) VALUES (1, 1, 'fake')
INSERT INTO ledger.unreadable_messages (reason, body) VALUES ('garbage', '?')
INSERT INTO ledger.producers (producer_id) VALUES (gen_random_uuid())
INSERT INTO ledger.workers (worker_id) VALUES (gen_random_uuid())
INSERT INTO ledger.api_tokens (name) VALUES ('mine')
UPDATE ledger.api_tokens SET scopes = '{read,submit}'
UPDATE ledger.api_tokens SET revoked_at = NULL
UPDATE ledger.submissions SET image_ids = '{1}'
UPDATE ledger.scans SET paused_at = now()
UPDATE ledger.scans SET cancelled_at = now()
UPDATE ledger.scans SET listed_at = now()
UPDATE ledger.scans SET policy_id = 1
UPDATE ledger.scan_sources SET listed_at = now()
UPDATE ledger.batches SET state = 'done'
UPDATE ledger.batches SET image_count = 0
UPDATE ledger.batches SET lease_until = 'infinity'
UPDATE ledger.images SET batch_id = 1
UPDATE ledger.verdicts SET verdict = 'real'
UPDATE ledger.models SET superseded_at = now()
UPDATE ledger.contents SET width = 1
DELETE FROM ledger.batches
DELETE FROM ledger.outcomes
DELETE FROM ledger.submissions
DELETE FROM ledger.api_tokens
DELETE FROM ledger.webhook_deliveries
CREATE TEMPORARY TABLE mine (a integer)
SELECT public.set_policy('default', 0, 0)
SELECT public.rejudge(1, 'default')
SELECT ledger.retry_failures(1, '{corrupt}', NULL, 1, now())
SELECT ledger.drop_empty_batches('{1}')
LOCK TABLE ledger.batches IN ACCESS EXCLUSIVE MODE
SET ROLE fakesweep_producer
SET ROLE fakesweep_worker
"""

FORBIDDEN = {
    "worker": ANYBODY + WORKER_ONLY,
    "producer": ANYBODY + PRODUCER_ONLY,
    "api": ANYBODY + API_ONLY,
    "analyst": ANYBODY + ANALYST_ONLY,
}
