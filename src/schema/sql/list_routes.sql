-- Lists the partitions that must be loaded through an ancestor, because their rows may belong to another
-- leaf on the target: below a hash partitioning whose key hashes differently there. That is a key with an
-- enum (hashed by oid) or a type over one, with a non-deterministic collation (hashed by the sort key of
-- the server's ICU) and, between different encodings, with text (hashed by its bytes).
-- Parameters: $1 bool: the encodings of the two databases differ.
-- Columns: oid oid (the partition), route_oid oid (topmost such ancestor), route_qname text (quoted).
-- Order: oid. Servers: 11 and later, the first with hash partitioning.
with recursive part_key as (
    select p.partrelid, p.partattrs[k] as attnum, p.partcollation[k] as collation_oid,
           o.opcintype, a.atttypid
      from pg_catalog.pg_partitioned_table p
           cross join lateral generate_series(0, p.partnatts - 1) as k
           join pg_catalog.pg_opclass o on o.oid = p.partclass[k]
           left join pg_catalog.pg_attribute a
                  on a.attrelid = p.partrelid and a.attnum = p.partattrs[k] and p.partattrs[k] <> 0
     where p.partstrat = 'h'
), reached (partrelid, type_oid) as (
    select partrelid, coalesce(atttypid, opcintype) from part_key
    union
    select w.partrelid, m.member
      from reached w
           join pg_catalog.pg_type t on t.oid = w.type_oid
           cross join lateral (
                select t.typbasetype as member where t.typtype = 'd'
                union all
                select t.typelem where t.typelem <> 0 and t.typlen = -1
                union all
                select g.rngsubtype from pg_catalog.pg_range g where g.rngtypid = t.oid
                union all
                select a.atttypid from pg_catalog.pg_attribute a
                 where t.typtype = 'c' and a.attrelid = t.typrelid
                   and a.attnum > 0 and not a.attisdropped
           ) m
), unstable as (
    select w.partrelid
      from reached w join pg_catalog.pg_type t on t.oid = w.type_oid
     where t.typtype = 'e'
        -- the key is an expression over such a type, or a multirange: take the safe way
        or t.oid in ('anyenum'::regtype, 'anyarray'::regtype, 'anyrange'::regtype, 'record'::regtype)
        or t.typtype = 'm'
        or ($1::bool and (t.typcollation <> 0 or t.oid in (19, 3802)
                          or (t.typtype = 'b' and t.typlen = -1 and t.oid >= 16384)))
    union
    select k.partrelid
      from part_key k join pg_catalog.pg_collation c on c.oid = k.collation_oid
     where $1::bool or to_jsonb(c) ->> 'collisdeterministic' = 'false'
), tree (oid, route_oid, depth) as (
    select i.inhrelid, u.partrelid, 1
      from unstable u join pg_catalog.pg_inherits i on i.inhparent = u.partrelid
    union all
    select i.inhrelid, w.route_oid, w.depth + 1
      from tree w join pg_catalog.pg_inherits i on i.inhparent = w.oid
)
select distinct on (w.oid) w.oid, w.route_oid, format('%I.%I', n.nspname, p.relname) as route_qname
  from tree w
       join pg_catalog.pg_class c on c.oid = w.oid and c.relkind = 'r'
       join pg_catalog.pg_class p on p.oid = w.route_oid
       join pg_catalog.pg_namespace n on n.oid = p.relnamespace
 order by w.oid, w.depth desc;
