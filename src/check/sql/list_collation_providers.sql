-- Lists the providers of collations that users made or use in columns: i (ICU) and others.
-- Parameters: none
-- Result: provider text not null, name text not null (a sample, quoted). Order: provider. Versions: 10 and newer.
select c.collprovider::text as provider, min(format('%I.%I', n.nspname, c.collname)) as name
  from pg_catalog.pg_collation c
  join pg_catalog.pg_namespace n on n.oid = c.collnamespace
 where c.oid >= 16384 and n.nspname !~ '^pg_'
    -- an array is made once whatever the planner thinks of its size; nothing indexes this column
    or c.oid = any(array(select distinct a.attcollation from pg_catalog.pg_attribute a where a.attrelid >= 16384))
 group by 1
 order by 1
