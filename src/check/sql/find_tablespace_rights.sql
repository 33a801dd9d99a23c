-- Which tablespaces the target has, and whether the current role may use them.
-- Parameters: $1 text[] names, raw
-- Result: spcname text not null (raw; only those that exist), may_create bool not null
-- Order: none. Versions: 12 and newer.
select t.spcname::text, pg_catalog.has_tablespace_privilege(t.oid, 'create') as may_create
  from pg_catalog.pg_tablespace t
 where t.spcname = any ($1)
