-- Lists the tables that citus keeps in its metadata. The view's name is put in with its schema.
-- Parameters: none.
-- Columns: oid oid, qname text (quoted), kind text (distributed, reference, schema, local),
--   column_name text (raw; null: none), colocation int8, shards int8, is_partition bool,
--   bytes int8 (0: not known).
-- Order: qname, in bytes. Servers: 12 and later, with citus 10.
select c.oid, format('%I.%I', n.nspname, c.relname) as qname, t.citus_table_type::text as kind,
       nullif(t.distribution_column::text, '<none>') as column_name,
       coalesce(t.colocation_id::int8, 0) as colocation, coalesce(t.shard_count::int8, 0) as shards,
       c.relispartition as is_partition,
       case when t.table_size::text ~ '^[0-9]+( (bytes|kB|MB|GB|TB))?$'
            then pg_catalog.pg_size_bytes(t.table_size::text) else 0 end as bytes
  from citus_tables t
       join pg_catalog.pg_class c on c.oid = t.table_name::pg_catalog.regclass::pg_catalog.oid
       join pg_catalog.pg_namespace n on n.oid = c.relnamespace
 order by format('%I.%I', n.nspname, c.relname) collate "C"
