-- Lists the tablespaces that relations of users are in, other than that of the database.
-- Parameters: none
-- Result: spcname text not null (raw). Order: spcname. Versions: 9.6 and newer.
select t.spcname::text
  from pg_catalog.pg_tablespace t
 where exists (select 1
                 from pg_catalog.pg_class c
                 join pg_catalog.pg_namespace n on n.oid = c.relnamespace
                where c.reltablespace = t.oid and c.oid >= 16384
                  and n.nspname !~ '^pg_' and n.nspname <> 'pgcopydb')
 order by 1
