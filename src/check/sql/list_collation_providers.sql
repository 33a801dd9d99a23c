-- Lists the providers of collations that users made or use in columns: i (ICU) and others.
-- Parameters: none
-- Result: provider text not null, name text not null (a sample, quoted). Order: provider. Versions: 10 and newer.
select c.collprovider::text as provider, min(format('%I.%I', n.nspname, c.collname)) as name
  from pg_catalog.pg_collation c
  join pg_catalog.pg_namespace n on n.oid = c.collnamespace
 where c.oid >= 16384 and n.nspname !~ '^pg_'
    -- read once and hashed: nothing indexes this column
    or c.oid in (select a.attcollation from pg_catalog.pg_attribute a where a.attrelid >= 16384)
 group by 1
 order by 1
