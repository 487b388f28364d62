-- What an audit found under another name: the same bytes were new at one address and vanished from
-- another.

-- Copies are paired off in the order they were recorded. Only contents that vanished are looked for.
CREATE VIEW ledger.renamed AS
SELECT gone.scan_id, came.image_id, gone.image_id AS former_id
FROM (
    SELECT v.scan_id, o.content_id, v.image_id,
           row_number() OVER (PARTITION BY v.scan_id, o.content_id ORDER BY v.image_id) AS turn
    FROM ledger.vanished v JOIN ledger.outcomes o USING (image_id)
    WHERE o.content_id IS NOT NULL
) AS gone
JOIN (
    SELECT b.scan_id, o.content_id, i.image_id,
           row_number() OVER (PARTITION BY b.scan_id, o.content_id ORDER BY i.image_id) AS turn
    FROM ledger.batches b JOIN ledger.images i USING (batch_id)
    JOIN ledger.outcomes o USING (image_id)
    WHERE i.change = 'new' AND o.content_id IS NOT NULL
) AS came USING (scan_id, content_id, turn);

-- As before; an image that was renamed is neither new nor vanished, and says its former address.
CREATE OR REPLACE VIEW public.audit_changes AS
SELECT b.scan_id,
       CASE WHEN r.image_id IS NOT NULL THEN 'renamed' ELSE i.change::text END AS change,
       i.uri, i.size_bytes, i.etag, i.modified_at, i.image_id, public.path_of(i.uri) AS path,
       f.uri AS former_uri, public.path_of(f.uri) AS former_path
FROM ledger.batches b JOIN ledger.images i USING (batch_id)
LEFT JOIN ledger.renamed r ON r.scan_id = b.scan_id AND r.image_id = i.image_id
LEFT JOIN ledger.images f ON f.image_id = r.former_id
WHERE i.change IS NOT NULL
UNION ALL
SELECT v.scan_id, 'vanished', i.uri, i.size_bytes, i.etag, i.modified_at, i.image_id,
       public.path_of(i.uri), NULL, NULL
FROM ledger.vanished v JOIN ledger.images i USING (image_id)
LEFT JOIN ledger.renamed r ON r.scan_id = v.scan_id AND r.former_id = v.image_id
WHERE r.former_id IS NULL;
