-- Lists the tables whose rows are compared: ordinary tables, partitions among them, logged or not. Members of
-- extensions are listed only when the extension declares them as configuration.
-- Parameters: none.
-- Columns: nspname text, relname text, oid oid, main_bytes int8, bytes int8 (with TOAST), block_size int8,
--   is_heap bool, condition text (which rows of a configuration table count; null: all), columns text[] (raw
--   names), types oid[] (in the order of columns).
-- Order: nspname, relname, by bytes. Columns are in the order of the bytes of their names: a target may have
--   them in another one. Servers: 9.6 and later.
-- Sizes wait for ACCESS EXCLUSIVE locks of others; a table dropped meanwhile has none.
select n.nspname::text, c.relname::text, c.oid,
       coalesce(pg_catalog.pg_relation_size(c.oid), 0) as main_bytes,
       coalesce(pg_catalog.pg_table_size(c.oid), 0) as bytes,
       current_setting('block_size')::int8 as block_size,
       coalesce(am.amname::text, 'heap') = 'heap' as is_heap,
       nullif(config.condition, '') as condition,
       array(select a.attname::text
               from pg_catalog.pg_attribute a
              where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
              order by a.attname::text collate "C") as columns,
       array(select a.atttypid
               from pg_catalog.pg_attribute a
              where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
              order by a.attname::text collate "C") as types
  from pg_catalog.pg_class c
       join pg_catalog.pg_namespace n on n.oid = c.relnamespace
       left join pg_catalog.pg_am am on am.oid = c.relam
       left join pg_catalog.pg_depend d
              on d.classid = 'pg_catalog.pg_class'::regclass and d.objid = c.oid
             and d.objsubid = 0 and d.deptype = 'e'
       left join lateral (
            select e.extcondition[array_position(e.extconfig, c.oid)] as condition
              from pg_catalog.pg_extension e
             where e.oid = d.refobjid and c.oid = any (e.extconfig)
       ) config on true
 where c.relkind = 'r'
   and c.relpersistence in ('p', 'u')
   and n.nspname !~ '^pg_'
   and n.nspname <> 'information_schema'
   and n.nspname <> 'pgcopydb'
   and (d.objid is null
        or exists (select from pg_catalog.pg_extension e where c.oid = any (e.extconfig)))
 order by n.nspname::text collate "C", c.relname::text collate "C";
