-- An image that failed by one model may have verdicts by others. They are forgotten with the failure:
-- when it runs again its bytes may be others, and every model is asked anew.
CREATE OR REPLACE FUNCTION ledger.retry_failures(
    scan bigint, codes ledger.failure_code[], wanted ledger.lane, at_most integer,
    asked_at timestamptz
) RETURNS bigint LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
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
