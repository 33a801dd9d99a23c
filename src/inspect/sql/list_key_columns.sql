-- Lists the columns of tables that belong to the primary key or to the replica identity's index.
-- Parameters: $1 oid[]: the tables.
-- Columns: table_oid oid, attnum int2, is_primary bool, is_identity bool. A column may come twice.
-- Order: none. Servers: 9.6 and later; columns that an index only includes (11) are no key columns.
select i.indrelid as table_oid, k.attnum, i.indisprimary as is_primary, i.indisreplident as is_identity
  from pg_catalog.unnest($1::pg_catalog.oid[]) as t(oid)
       join pg_catalog.pg_index i on i.indrelid = t.oid and (i.indisprimary or i.indisreplident)
       cross join lateral pg_catalog.unnest(i.indkey::pg_catalog.int2[]) with ordinality as k(attnum, position)
 where k.attnum > 0
   and k.position <= coalesce((pg_catalog.to_jsonb(i) ->> 'indnkeyatts')::pg_catalog.int4, i.indnatts);
