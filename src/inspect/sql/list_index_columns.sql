-- Lists the columns of the indexes of tables; expressions are left out.
-- Parameters: $1 oid[]: the tables.
-- Columns: index_oid oid, columns text (quoted names with commas between).
-- Order: none. Servers: 9.6 and later.
select i.indexrelid as index_oid,
       pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), ',' order by k.position) as columns
  from pg_catalog.unnest($1::pg_catalog.oid[]) as t(oid)
       join pg_catalog.pg_index i on i.indrelid = t.oid
       cross join lateral pg_catalog.unnest(i.indkey::pg_catalog.int2[]) with ordinality as k(attnum, position)
       join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
 group by i.indexrelid;
