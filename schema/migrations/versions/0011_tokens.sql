-- Who may use the HTTP API, for what, and how fast. A token is 256 random bits that are shown once:
-- its SHA-256 is all that is kept, and says nothing of it. Rows stay when a token is revoked.

CREATE TABLE ledger.api_tokens (
    token_id        integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name            text NOT NULL CHECK (name <> ''),
    sha256          bytea NOT NULL UNIQUE CHECK (length(sha256) = 32),
    scopes          text[] NOT NULL,
    rate_per_minute integer NOT NULL CHECK (rate_per_minute > 0),
    created_at      timestamptz NOT NULL DEFAULT now(),
    expires_at      timestamptz,
    revoked_at      timestamptz,
    last_used_at    timestamptz,
    CONSTRAINT scopes_are_known
        CHECK (cardinality(scopes) > 0 AND scopes <@ ARRAY['submit', 'read'])
) WITH (fillfactor = 70);
CREATE UNIQUE INDEX api_tokens_name ON ledger.api_tokens (name) WHERE revoked_at IS NULL;

-- The API looks tokens up. Making and revoking them is the owner's.
INSERT INTO ledger.role_rights (since, role, may) VALUES
    ('0011', 'fakesweep_producer', 'SELECT ON ledger.api_tokens'),
    ('0011', 'fakesweep_producer', 'UPDATE (last_used_at) ON ledger.api_tokens');
SELECT ledger.grant_roles();
