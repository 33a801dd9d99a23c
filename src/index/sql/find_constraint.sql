-- Looks for a constraint of a table by name.
-- Parameters: $1 text schema, $2 text table, $3 text constraint
-- Result: validated bool not null; no row: there is none
-- Order: none. Versions: 9.6 and newer.
select k.convalidated
  from pg_catalog.pg_constraint k
  join pg_catalog.pg_class c on c.oid = k.conrelid
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
 where n.nspname = $1::text and c.relname = $2::text and k.conname = $3::text
