-- Uploads: streams of images that are handed in, and the answers to those who handed them in.

-- A stream's images belong to scans that follow each other day by day, one of them open at a time
-- for each lane, policy and choice of models. `stream_policy` is the policy by name, as judging a
-- scan again, or changing a policy, points its `policy_id` elsewhere.
ALTER TABLE ledger.scans
    ADD COLUMN stream text,
    ADD COLUMN stream_policy text,
    ADD CONSTRAINT scans_of_streams_have_a_policy CHECK ((stream IS NULL) = (stream_policy IS NULL));
CREATE UNIQUE INDEX scans_open_stream ON ledger.scans (stream, lane, stream_policy, model_keys)
    WHERE stream IS NOT NULL AND listed_at IS NULL AND cancelled_at IS NULL;

-- What was answered to submissions that named a key. `digest` says what was asked; `occurrence` is
-- the one of its images, and tells whether an answer is the first.
CREATE TABLE ledger.submissions (
    key        text COLLATE "C" PRIMARY KEY,
    digest     bytea NOT NULL,
    occurrence text NOT NULL,
    scan_id    bigint NOT NULL,
    image_ids  bigint[] NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX submissions_created ON ledger.submissions (created_at);

INSERT INTO ledger.role_rights (since, role, may) VALUES
    ('0007', 'fakesweep_producer', 'SELECT ON ledger.submissions'),
    ('0007', 'fakesweep_producer', 'INSERT ON ledger.submissions'),
    ('0007', 'fakesweep_producer', 'INSERT ON ledger.unreadable_messages');
SELECT ledger.grant_roles();
