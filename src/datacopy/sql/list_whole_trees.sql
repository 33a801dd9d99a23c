-- Lists partitioned tables of which all leaves are among the given tables: TRUNCATE of both names all that the keys
--   of whole trees ask for.
-- Parameters: $1 text[] schemas, $2 text[] names, side by side.
-- Columns: nspname text, relname text (raw).
-- Order: by name. Servers: 12 and later.
select n.nspname::text, c.relname::text
  from pg_catalog.pg_class c
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  cross join lateral (
      select count(*) as leaves, count(given.nspname) as named
        from pg_catalog.pg_partition_tree(c.oid) t
        join pg_catalog.pg_class leaf on leaf.oid = t.relid
        join pg_catalog.pg_namespace of on of.oid = leaf.relnamespace
        left join unnest($1::text[], $2::text[]) as given (nspname, relname)
               on given.nspname = of.nspname and given.relname = leaf.relname
       where t.isleaf and leaf.relkind <> 'p') tree
 where c.relkind = 'p' and tree.leaves > 0 and tree.leaves = tree.named
 order by 1, 2;
