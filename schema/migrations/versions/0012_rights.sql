-- Fewer rights: what only some rows may suffer is done by functions with their owner's rights, and
-- the HTTP API gets a role of its own, which hands in and reads answers.

CREATE FUNCTION ledger.take_right(wanted text, granted text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF to_regrole(wanted) IS NOT NULL THEN
        EXECUTE format('REVOKE %s FROM %I', granted, wanted);
    END IF;
    DELETE FROM ledger.role_rights WHERE (role, may) = (wanted, granted);
    IF NOT FOUND THEN
        RAISE EXCEPTION '% never had: %', wanted, granted;
    END IF;
END $$;
REVOKE EXECUTE ON FUNCTION ledger.take_right FROM PUBLIC;

-- As before, with the rights of its owner: nobody needs to be able to change a verdict.
ALTER FUNCTION public.rejudge SECURITY DEFINER;
ALTER FUNCTION public.rejudge SET search_path = pg_catalog, pg_temp;

-- A failure is what an outcome says where it does not say more.
ALTER TABLE ledger.outcomes ALTER status SET DEFAULT 'failed';

-- Forget failures of a scan and put their images into a new batch, in the scan's lane or another;
-- returns how many. One statement, so that every part sees the images where they were. The caller
-- holds the scan's row, which keeps a second one out.
CREATE FUNCTION ledger.retry_failures(
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

CREATE FUNCTION ledger.drop_empty_batches(batch_ids bigint[]) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    DELETE FROM ledger.batches b
    WHERE b.batch_id = ANY (batch_ids) AND b.image_count = 0
      AND NOT EXISTS (SELECT FROM ledger.images i WHERE i.batch_id = b.batch_id)
$$;

-- Mark recorded batches of a lane as published, as many as the window has room for. The caller
-- holds the lane's lock.
CREATE FUNCTION ledger.take_recorded(wanted ledger.lane, room integer, scan bigint)
RETURNS TABLE (batch_id bigint, scan_id bigint, attempt integer)
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
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

-- The scan that a stream's uploads belong to now, kept open until the transaction ends: who closes,
-- pauses or cancels it waits. It is a new one where there is none, or that was opened on an earlier
-- day or judges by an earlier policy of the name; the earlier one is closed then.
CREATE FUNCTION ledger.open_stream(
    wanted text, wanted_lane ledger.lane, policy text, models text[]
) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
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
              SELECT max(p.policy_id) FROM ledger.policies p WHERE p.name = s.stream_policy
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
               wanted_lane, max(p.policy_id), models, wanted, policy
        FROM ledger.policies p WHERE p.name = policy
        RETURNING scan_id INTO found_id;
        INSERT INTO ledger.scan_sources (scan_id, position, source)
        VALUES (found_id, 0, 'stream:' || wanted);
    END LOOP;
END $$;

-- Record uploads as one batch of a stream's open scan, held while that is paused; those that the
-- scan has already stay as they are. Returns the images that are new.
CREATE FUNCTION ledger.add_uploads(
    scan bigint, uris text[], occurrences text[], sizes bigint[], etags text[], times timestamptz[]
) RETURNS TABLE (image_id bigint, uri text, occurrence text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
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
    ON CONFLICT (uri, scan_id, occurrence) DO NOTHING
    RETURNING i.image_id, i.uri, i.occurrence;
    GET DIAGNOSTICS added = ROW_COUNT;
    IF added = 0 THEN
        DELETE FROM ledger.batches WHERE batch_id = made;
    ELSIF added < cardinality(uris) THEN
        UPDATE ledger.batches SET image_count = added WHERE batch_id = made;
    END IF;
END $$;

REVOKE EXECUTE ON FUNCTION ledger.retry_failures, ledger.drop_empty_batches, ledger.take_recorded,
    ledger.open_stream, ledger.add_uploads FROM PUBLIC;

SELECT ledger.take_right('fakesweep_producer', may) FROM ledger.role_rights
WHERE role = 'fakesweep_producer' AND (
    may IN (
        'UPDATE (policy_id, listed_at, paused_at, cancelled_at) ON ledger.scans',
        'UPDATE (policy_id, p_fake, verdict, kind, judged_at) ON ledger.verdicts',
        'DELETE ON ledger.batches, ledger.outcomes',
        'SELECT ON ledger.api_tokens',
        'UPDATE (last_used_at) ON ledger.api_tokens'
    )
    OR may LIKE 'INSERT ON ledger.policies, ledger.scans,%'
    OR may LIKE 'INSERT (webhook_id, image_id,%ON ledger.webhook_deliveries'
);

INSERT INTO ledger.role_rights (since, role, may) VALUES
    ('0012', 'fakesweep_producer', 'INSERT ON ledger.policies, ledger.scans, ledger.scan_sources,
        ledger.batches, ledger.images, ledger.producers'),
    ('0012', 'fakesweep_producer',
     'INSERT (image_id, scan_id, failure_code, failure_message) ON ledger.outcomes'),
    ('0012', 'fakesweep_producer', 'UPDATE (listed_at, paused_at, cancelled_at) ON ledger.scans'),
    ('0012', 'fakesweep_producer',
     'EXECUTE ON FUNCTION ledger.retry_failures, ledger.drop_empty_batches, ledger.take_recorded,
        ledger.open_stream, ledger.add_uploads'),
    -- Hands images in, publishes them, and reads what came of them. It asks for no other scan, and
    -- sees neither sources nor webhooks.
    ('0012', 'fakesweep_api', 'USAGE ON SCHEMA ledger'),
    ('0012', 'fakesweep_api', 'SELECT ON alembic_version'),
    ('0012', 'fakesweep_api', 'SELECT ON public.scan_progress, public.verdicts, public.failures'),
    ('0012', 'fakesweep_api', 'SELECT ON ledger.api_tokens, ledger.submissions, ledger.policies,
        ledger.models, ledger.batches, ledger.images, ledger.outcomes, ledger.verdicts,
        ledger.contents, ledger.predictions'),
    ('0012', 'fakesweep_api', 'SELECT (scan_id, name, lane, policy_id, model_keys, created_at,
        listed_at, paused_at, cancelled_at, is_audit, stream, stream_policy) ON ledger.scans'),
    ('0012', 'fakesweep_api', 'INSERT ON ledger.submissions'),
    ('0012', 'fakesweep_api', 'UPDATE (last_used_at) ON ledger.api_tokens'),
    ('0012', 'fakesweep_api',
     'EXECUTE ON FUNCTION ledger.take_recorded, ledger.open_stream, ledger.add_uploads,
        ledger.named_scores, public.content_id_of, public.judge');
SELECT ledger.grant_roles();
