-- Lists the indexes of tables. Indexes of partitioned tables (relkind I) are not indexes of such tables;
-- those of partitions are.
-- Parameters: $1 oid[]: the tables.
-- Columns: oid oid, table_oid oid, nspname text, relname text, qname text (quoted), amname text,
--   is_primary bool, is_unique bool, is_valid bool (and ready), bytes int8 (null: dropped since),
--   definition text (null: dropped since), tablespace text (quoted; null: the database's default),
--   con_oid oid (null: backs no constraint).
-- Order: oid. Servers: 9.6 and later. An empty search_path makes the definition fully qualified.
select c.oid, i.indrelid as table_oid, n.nspname::text, c.relname::text,
       format('%I.%I', n.nspname, c.relname) as qname,
       am.amname::text, i.indisprimary as is_primary, i.indisunique as is_unique,
       i.indisvalid and i.indisready as is_valid,
       pg_catalog.pg_relation_size(c.oid) as bytes,
       pg_catalog.pg_get_indexdef(c.oid) as definition,
       case when s.oid is not null then format('%I', s.spcname) end as tablespace,
       k.oid as con_oid
  from unnest($1::oid[]) as t(oid)
       join pg_catalog.pg_index i on i.indrelid = t.oid
       join pg_catalog.pg_class c on c.oid = i.indexrelid and c.relkind = 'i'
       join pg_catalog.pg_namespace n on n.oid = c.relnamespace
       join pg_catalog.pg_am am on am.oid = c.relam
       left join pg_catalog.pg_tablespace s on s.oid = c.reltablespace
       -- conindid of a foreign key names the referenced index: hence conrelid and contype
       left join pg_catalog.pg_constraint k
              on k.conrelid = i.indrelid and k.conindid = i.indexrelid and k.contype in ('p', 'u', 'x')
 order by c.oid;
