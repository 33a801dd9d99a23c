-- Lists the schemas of users.
-- Parameters: none.
-- Columns: oid oid, nspname text, owner text (null: no such role any more).
-- Order: oid. Servers: 9.6 and later.
select n.oid, n.nspname::text, r.rolname::text as owner
  from pg_catalog.pg_namespace n
       left join pg_catalog.pg_roles r on r.oid = n.nspowner
 where n.nspname !~ '^pg_'
   and n.nspname <> 'information_schema'
   and n.nspname <> 'pgcopydb'
 order by n.oid;
