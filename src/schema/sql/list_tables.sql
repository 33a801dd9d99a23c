-- Lists the tables whose rows are copied: ordinary tables, partitions among them, logged or not. Members of
-- extensions are listed only when the extension declares them as configuration.
-- Parameters: $1 bool: true takes sizes from pg_class.relpages, false measures the files.
-- Columns: oid oid, nspname text, relname text, qname text (quoted), owner text (null: no such role),
--   amname text, persistence text, filenode oid (the snapshot's, not the current one; 0: none), main_bytes int8 (null: dropped since),
--   toast_bytes int8, block_size int8, reltuples int8 (-1: never analyzed), is_extension bool,
--   part_key text (quoted; null: no key to cut by, and then the next two as well), part_key_type text
--   (int2, int4, int8), part_key_notnull bool.
-- Order: oid. Servers: 9.6 and later.
-- pg_relation_size waits for ACCESS EXCLUSIVE locks of others, and keeps none of its own.
with config as (
    select distinct unnest(e.extconfig) as oid from pg_catalog.pg_extension e
)
select c.oid, n.nspname::text, c.relname::text,
       format('%I.%I', n.nspname, c.relname) as qname,
       r.rolname::text as owner,
       coalesce(am.amname::text, 'heap') as amname,
       c.relpersistence::text as persistence,
       c.relfilenode as filenode,
       case when $1::bool
            then c.relpages::int8 * current_setting('block_size')::int8
            else pg_catalog.pg_relation_size(c.oid) end as main_bytes,
       coalesce(case when $1::bool
            then t.relpages::int8 * current_setting('block_size')::int8
            else pg_catalog.pg_relation_size(t.oid) end, 0) as toast_bytes,
       current_setting('block_size')::int8 as block_size,
       c.reltuples::int8 as reltuples,
       d.objid is not null as is_extension,
       k.part_key, k.part_key_type, k.part_key_notnull
  from pg_catalog.pg_class c
       join pg_catalog.pg_namespace n on n.oid = c.relnamespace
       left join pg_catalog.pg_roles r on r.oid = c.relowner
       left join pg_catalog.pg_am am on am.oid = c.relam
       left join pg_catalog.pg_class t on t.oid = c.reltoastrelid
       left join pg_catalog.pg_depend d
              on d.classid = 'pg_catalog.pg_class'::regclass and d.objid = c.oid
             and d.objsubid = 0 and d.deptype = 'e'
       left join config on config.oid = c.oid
       left join lateral (
            -- a domain over an integer is compared, and found in the index, as its base type
            select format('%I', a.attname) as part_key, b.typname::text as part_key_type,
                   a.attnotnull as part_key_notnull
              from pg_catalog.pg_index i
                   join pg_catalog.pg_attribute a
                     on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
                   join pg_catalog.pg_type y on y.oid = a.atttypid
                   join pg_catalog.pg_type b
                     on b.oid = case when y.typtype = 'd' then y.typbasetype else y.oid end
             where i.indrelid = c.oid
               and i.indisunique and i.indisvalid and i.indpred is null
               and b.oid in (20, 21, 23)
               -- indnkeyatts came with covering indexes in 11
               and (i.indnatts = 1 or to_jsonb(i) ->> 'indnkeyatts' = '1')
             order by i.indisprimary desc, a.attnotnull desc, i.indexrelid
             limit 1
       ) k on true
 where c.relkind = 'r'
   and c.relpersistence in ('p', 'u')
   and n.nspname !~ '^pg_'
   and n.nspname <> 'information_schema'
   and n.nspname <> 'pgcopydb'
   and (d.objid is null or config.oid is not null)
 order by c.oid;
