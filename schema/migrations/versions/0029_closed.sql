-- What one login alone could hold up the others with: take the locks they take turns by, write to
-- the server's log without a table, choose ids that the others will be given.

-- Names of types and tables are looked up in a session's temporary schema first, unless it is named.
ALTER FUNCTION public.content_id_of SET search_path = pg_catalog, pg_temp;
ALTER FUNCTION ledger.count_batch SET search_path = pg_catalog, pg_temp;
ALTER FUNCTION ledger.supersede SET search_path = pg_catalog, pg_temp;

-- Take the functions of advisory locks from everybody but the ledger's owner and the roles that
-- take turns by them, and that of messages in the server's log from everybody; returns how many.
-- None are taken before those roles are there, or by a user who may not.
CREATE FUNCTION ledger.close_locks() RETURNS integer LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    one regprocedure;
    users text[] := ARRAY['fakesweep_api', 'fakesweep_producer', 'fakesweep_worker'];
    taker text;
    closed integer := 0;
BEGIN
    IF EXISTS (SELECT FROM unnest(users) AS u WHERE to_regrole(u) IS NULL) THEN
        RETURN 0;
    END IF;
    SELECT users || nspowner::regrole::text INTO users FROM pg_namespace WHERE nspname = 'ledger';
    FOR one IN
        SELECT p.oid FROM pg_proc p
        WHERE p.pronamespace = 'pg_catalog'::regnamespace
          AND (p.proname ~ '^pg_(try_)?advisory_' OR p.proname = 'pg_logical_emit_message')
          AND has_function_privilege(p.oid, 'EXECUTE WITH GRANT OPTION')
    LOOP
        IF one::text ~ 'advisory' THEN
            FOREACH taker IN ARRAY users LOOP
                EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %s', one, taker);
            END LOOP;
        END IF;
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', one);
        closed := closed + 1;
    END LOOP;
    RETURN closed;
END $$;
REVOKE EXECUTE ON FUNCTION ledger.close_locks FROM PUBLIC;

-- As before, and at the end the functions are closed, as the roles may be new.
CREATE OR REPLACE FUNCTION ledger.grant_roles() RETURNS text[] LANGUAGE plpgsql AS $$
DECLARE
    wanted text;
    granted text;
    missing text[] := '{}';
BEGIN
    FOR wanted IN SELECT DISTINCT role FROM ledger.rights ORDER BY role LOOP
        IF to_regrole(wanted) IS NULL THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
            EXCEPTION
                WHEN duplicate_object OR unique_violation THEN
                    NULL;  -- a migration of another database made it at this moment
                WHEN insufficient_privilege THEN
                    RAISE NOTICE 'role % is missing, and % may not make it', wanted, current_user;
                    missing := missing || wanted;
                    CONTINUE;
            END;
        END IF;
        FOR granted IN SELECT may FROM ledger.rights WHERE role = wanted LOOP
            EXECUTE format('GRANT %s TO %I', granted, wanted);
        END LOOP;
    END LOOP;
    PERFORM ledger.close_locks();
    RETURN missing;
END $$;

-- A right to add rows is one to all columns but the id, which `OVERRIDING SYSTEM VALUE` would let
-- its holder choose.
DO $$
DECLARE
    one record;
BEGIN
    FOR one IN
        SELECT since, role, may FROM ledger.role_rights WHERE may LIKE 'INSERT ON %'
    LOOP
        PERFORM ledger.take_right(one.role, one.may);
        INSERT INTO ledger.role_rights (since, role, may)
        SELECT one.since, one.role, format(
            CASE WHEN c.has_id THEN 'INSERT (%s) ON %s' ELSE 'INSERT ON %2$s' END, c.columns, t.name)
        FROM regexp_split_to_table(substr(one.may, 11), ',\s*') AS t (name)
        CROSS JOIN LATERAL (
            SELECT bool_or(a.attidentity <> '') AS has_id,
                   string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum)
                       FILTER (WHERE a.attidentity = '' AND a.attgenerated = '') AS columns
            FROM pg_attribute a
            WHERE a.attrelid = t.name::regclass AND a.attnum > 0 AND NOT a.attisdropped
        ) AS c;
    END LOOP;
END $$;
SELECT ledger.grant_roles();
