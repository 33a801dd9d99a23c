-- Which roles may create objects in which schemas of the target.
-- Parameters: $1 text[] schema names, $2 text[] role names, pairwise, raw
-- Result: nspname text not null, rolname text not null (only pairs whose schema and role exist),
--   may_create bool not null, me bool not null (the current role may)
-- Order: none. Versions: 12 and newer.
select n.nspname::text, r.rolname::text,
       pg_catalog.has_schema_privilege(r.oid, n.oid, 'create') as may_create,
       pg_catalog.has_schema_privilege(n.oid, 'create') as me
  from unnest($1::text[], $2::text[]) as w (nspname, rolname)
  join pg_catalog.pg_namespace n on n.nspname = w.nspname
  join pg_catalog.pg_roles r on r.rolname = w.rolname
