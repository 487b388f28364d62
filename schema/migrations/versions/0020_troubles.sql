-- Why a scan cannot be listed, since when, and when that is tried again. It says nothing any more
-- when a page of the scan was recorded since, or its listing has ended.
CREATE TABLE ledger.listing_troubles (
    scan_id bigint PRIMARY KEY REFERENCES ledger.scans ON DELETE CASCADE,
    reason  text,
    since   timestamptz,
    try_at  timestamptz,
    CHECK (num_nulls(reason, since, try_at) IN (0, 3))
) WITH (fillfactor = 50);

CREATE VIEW public.listing_troubles AS
SELECT scan_id, reason, since, try_at FROM ledger.listing_troubles WHERE since IS NOT NULL;

INSERT INTO ledger.role_rights (since, role, may) VALUES
    ('0020', 'fakesweep_analyst', 'SELECT ON public.listing_troubles'),
    ('0020', 'fakesweep_producer', 'SELECT ON public.listing_troubles'),
    ('0020', 'fakesweep_producer', 'SELECT ON ledger.listing_troubles'),
    ('0020', 'fakesweep_producer', 'INSERT ON ledger.listing_troubles'),
    ('0020', 'fakesweep_producer', 'UPDATE (reason, since, try_at) ON ledger.listing_troubles');
SELECT ledger.grant_roles();
