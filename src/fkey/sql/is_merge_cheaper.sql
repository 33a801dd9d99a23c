-- Says whether a key is checked with less work by sorting its column and walking through the index of the parent than
-- by a hash table of the parent's rows, which is larger than the caches of the processor: measured, half the work.
-- Parameters: $1 oid: the key.
-- Columns: is_cheaper bool; no row: not worth a thought. Order: none. Servers: 14 and later (COPY FREEZE makes rows
--   known to be visible to all from there on, without which the index alone does not do).
-- Only plain numbers and times of one column; a parent that does not fit a cache, and children whose column is
-- sorted in 256 MB. Tables just copied may have no statistics: rows are guessed from pages then.
with k as (
    select conrelid, confrelid, conkey[1] as child_column, confkey[1] as parent_column
      from pg_catalog.pg_constraint
     where oid = $1 and contype = 'f' and cardinality(conkey) = 1
), t as (
    select c.relpages, c.relallvisible, c.reltuples, k.*, pg_catalog.pg_relation_size(c.oid) / 8192.0 as pages,
           pg_catalog.pg_relation_size(p.oid) / 8192.0 as parent_pages,
           pg_catalog.pg_relation_size(p.oid, 'vm') > 0
           and (p.relpages = 0 or p.relallvisible >= 0.9 * p.relpages) as is_all_visible,
           p.relpages as parent_relpages, p.reltuples as parent_reltuples
      from k
           join pg_catalog.pg_class c on c.oid = k.conrelid and c.relkind = 'r'
           join pg_catalog.pg_class p on p.oid = k.confrelid and p.relkind = 'r'
           join pg_catalog.pg_attribute a on a.attrelid = k.conrelid and a.attnum = k.child_column
           join pg_catalog.pg_attribute b on b.attrelid = k.confrelid and b.attnum = k.parent_column
     where a.atttypid = any ('{int2,int4,int8,oid,date,timestamp,timestamptz}'::regtype[])
       and b.atttypid = any ('{int2,int4,int8,oid,date,timestamp,timestamptz}'::regtype[])
)
select is_all_visible
       and case when relpages > 0 and reltuples >= 0 then reltuples * pages / relpages
                else pages * 226 end < 9000000
       and case when parent_relpages > 0 and parent_reltuples >= 0 then parent_reltuples * parent_pages / parent_relpages
                else parent_pages * 50 end >= 100000 as is_cheaper
  from t;
