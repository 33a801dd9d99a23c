-- Says whether anything is in schema pgcopydb.
-- Parameters: none
-- Result: bool not null
-- Order: none. Versions: 12 and newer (target).
select exists (select 1 from pg_catalog.pg_depend d
                where d.refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass
                  and d.refobjid = (select oid from pg_catalog.pg_namespace where nspname = 'pgcopydb'))
