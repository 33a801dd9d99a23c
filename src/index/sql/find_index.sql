-- Looks for an index by schema and name.
-- Parameters: $1 text schema, $2 text name
-- Result: valid bool not null, definition text not null; no row: there is none
-- Order: none. Versions: 9.6 and newer.
select i.indisvalid and i.indisready,
       pg_catalog.pg_get_indexdef(i.indexrelid)
  from pg_catalog.pg_class c
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  join pg_catalog.pg_index i on i.indexrelid = c.oid
 where n.nspname = $1::text and c.relname = $2::text
