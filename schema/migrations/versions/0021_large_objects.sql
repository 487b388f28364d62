-- Large objects let every login write into the database. Nothing here uses them.
-- Where this user may not take the functions from everybody, an administrator can call it.

CREATE FUNCTION ledger.close_large_objects() RETURNS integer LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
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
REVOKE EXECUTE ON FUNCTION ledger.close_large_objects FROM PUBLIC;
SELECT ledger.close_large_objects();
