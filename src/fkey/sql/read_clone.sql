-- Finds the row that PostgreSQL keeps for a partition of a referenced table and that holds a name on a table; names
-- of such rows are chosen by the server, and nothing but the name changes when it is renamed.
-- Parameters: $1 text: schema, $2 text: table, $3 text: name of the constraint; all raw.
-- Columns: free text: a raw name that can take its place. No row: no such row has the name. Servers: 12 and later.
select left(u.conname::text, 13) || '_' || k.oid as free
  from pg_catalog.pg_constraint k
       join pg_catalog.pg_constraint u on u.oid = k.conparentid and u.confrelid <> k.confrelid
       join pg_catalog.pg_class c on c.oid = k.conrelid
       join pg_catalog.pg_namespace n on n.oid = c.relnamespace
 where k.contype = 'f' and n.nspname = $1::text::name and c.relname = $2::text::name and k.conname = $3::text::name;
