-- Sources: URIs of up to 8 KiB (paths, percent-encoded, are longer still), each file's path as people
-- write it, files named one by one as one source, and what a listing left out.

-- An index holds rows of 2,704 bytes at most; a longer text is known there by its digest.
CREATE FUNCTION ledger.digest_of(said text) RETURNS bytea
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN sha256(convert_to(said, 'UTF8'));

-- What keeps an image of a scan from being there twice, by its length; and what answers people who
-- ask for a URI or for the beginning of one: a radix tree takes texts of any length.
DROP INDEX ledger.images_uri;
CREATE UNIQUE INDEX images_short_uri ON ledger.images (uri, scan_id, occurrence)
    WHERE octet_length(uri) <= 2048;
CREATE UNIQUE INDEX images_long_uri ON ledger.images (ledger.digest_of(uri), scan_id, occurrence)
    WHERE octet_length(uri) > 2048;
CREATE INDEX images_uri ON ledger.images USING spgist (uri);

-- Either index may say that an upload is there already.
DO $$ BEGIN
    EXECUTE replace(pg_get_functiondef('ledger.add_uploads'::regproc),
                    'ON CONFLICT (uri, scan_id, occurrence)', 'ON CONFLICT');
END $$;

DROP INDEX ledger.outputs_destination;
CREATE UNIQUE INDEX outputs_destination
    ON ledger.outputs (ledger.digest_of(destination), coalesce(hostname, ''));

-- Text with %XX in it, decoded. Bytes that are no UTF-8 make all of it that which `ls -b` shows:
-- those above 127 in octal, as in caf\351.jpg, and a backslash twice.
CREATE FUNCTION ledger.percent_decoded(said text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN (
    SELECT CASE WHEN encode(bytes, 'hex') ~
        '^(?:[0-7].|(?:c[2-9a-f]|d.)[89ab].|e0[ab].[89ab].|e[1-9abcef](?:[89ab].){2}|ed[89].[89ab].|f0[9ab].(?:[89ab].){2}|f[1-3](?:[89ab].){3}|f48.(?:[89ab].){2})*$'
        THEN convert_from(bytes, 'UTF8') ELSE encode(bytes, 'escape') END
    FROM (
        SELECT string_agg(
            CASE WHEN left(piece[1], 1) = '%' THEN decode(replace(piece[1], '%', ''), 'hex')
                 ELSE convert_to(piece[1], 'UTF8') END, ''::bytea ORDER BY number
        ) AS bytes
        FROM regexp_matches(said, '(?:%[0-9A-Fa-f]{2})+|[^%]+', 'g')
            WITH ORDINALITY AS found (piece, number)
    ) AS decoded
);

-- The path of a `file://` URI as people write it; NULL for other URIs, and for places in lists.
CREATE FUNCTION public.path_of(uri text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN CASE WHEN left(uri, 8) <> 'file:///' OR strpos(uri, '#') > 0 THEN NULL
            WHEN strpos(uri, '%') = 0 THEN substr(uri, 8)
            ELSE ledger.percent_decoded(substr(uri, 8)) END;

-- Every view with a URI gets the path as its last column, whatever else it shows by now.
DO $$
DECLARE
    shown text;
BEGIN
    FOREACH shown IN ARRAY ARRAY['verdicts', 'review_queue', 'failures', 'model_disagreements',
                                 'audit_changes', 'audit_images', 'webhook_deliveries'] LOOP
        EXECUTE format('CREATE OR REPLACE VIEW public.%I AS %s', shown, regexp_replace(
            pg_get_viewdef(('public.' || shown)::regclass, true),
            E'\n   FROM ', E',\n    public.path_of(i.uri) AS path\n   FROM ', 'g'
        ));
    END LOOP;
END $$;

-- Files and addresses that were named one by one: together they are one source, in their order.
ALTER TABLE ledger.scan_sources ADD COLUMN members text[];
ALTER TABLE ledger.schedule_sources ADD COLUMN members text[];

-- What a scan's listing counted, written in the transaction that records the images beside it: what
-- it left out (`sort` is left_out, `name` the reason), and what each pattern of its choices matched
-- (`sort` is include or exclude, `name` the pattern's place among them, from 1 on).
CREATE TABLE ledger.listing_counts (
    scan_id bigint NOT NULL,
    sort    text NOT NULL,
    name    text NOT NULL,
    files   bigint NOT NULL,
    PRIMARY KEY (scan_id, sort, name)
) WITH (fillfactor = 50);

CREATE VIEW public.left_out AS
SELECT scan_id, name AS reason, files FROM ledger.listing_counts WHERE sort = 'left_out';

INSERT INTO ledger.role_rights (since, role, may) VALUES
    ('0014', 'fakesweep_analyst', 'SELECT ON public.left_out'),
    ('0014', 'fakesweep_producer', 'SELECT ON public.left_out'),
    ('0014', 'fakesweep_producer', 'SELECT ON ledger.listing_counts'),
    ('0014', 'fakesweep_producer', 'INSERT ON ledger.listing_counts'),
    ('0014', 'fakesweep_producer', 'UPDATE (files) ON ledger.listing_counts');
SELECT ledger.grant_roles();
