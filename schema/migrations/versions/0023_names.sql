-- Digits and names, the same wherever a result is told.

-- A model's own labels and their probabilities, with seven decimals, as many as a float32 has to
-- say; one that names two classes alike gets their sum.
CREATE OR REPLACE FUNCTION ledger.named_scores(labels text[], scores real[]) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (SELECT jsonb_object_agg(label, score)
        FROM (SELECT label, round(sum(score)::double precision::numeric, 7)::double precision
                  AS score
              FROM unnest(labels, scores) AS x (label, score)
              WHERE label IS NOT NULL GROUP BY label) AS named);

-- As before, with its failure under the names that results and the API have, too.
CREATE OR REPLACE VIEW public.failures AS
SELECT o.scan_id, o.image_id, i.uri, o.failure_code AS code, o.failure_message AS message,
       encode(c.sha256, 'hex') AS sha256, c.size_bytes, o.finished_at AS failed_at, o.content_id,
       public.path_of(i.uri) AS path, o.failure_code, o.failure_message
FROM ledger.outcomes o
LEFT JOIN ledger.images i USING (image_id)
LEFT JOIN ledger.contents c ON c.content_id = o.content_id
WHERE o.status = 'failed';

-- As before; the difference has no more digits than what it is the difference of.
CREATE OR REPLACE VIEW public.model_disagreements AS
SELECT a.scan_id, a.image_id, i.uri,
       ma.key AS model_a, a.verdict AS verdict_a, a.p_fake AS p_fake_a,
       mb.key AS model_b, b.verdict AS verdict_b, b.p_fake AS p_fake_b,
       round(abs(a.p_fake - b.p_fake)::numeric, 7)::double precision AS difference,
       public.path_of(i.uri) AS path
FROM ledger.verdicts a
JOIN ledger.verdicts b ON b.image_id = a.image_id AND b.model_id > a.model_id
                      AND b.verdict <> a.verdict
LEFT JOIN ledger.images i ON i.image_id = a.image_id
LEFT JOIN ledger.models ma ON ma.model_id = a.model_id
LEFT JOIN ledger.models mb ON mb.model_id = b.model_id;
