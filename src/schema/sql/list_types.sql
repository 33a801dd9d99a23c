-- Lists types with all the types that they are made of, as far down as user-defined ones go.
-- Parameters: $1 oid[]: types to begin with.
-- Columns: oid oid, name text (qualified outside pg_catalog, with an empty search_path), shape text
--   (e enum, d domain, a array, c composite, r range, b any other), members oid[] (base type, element,
--   columns in their order, or subtype; empty for e and b).
-- Order: oid. Servers: 9.6 and later.
with recursive reached (oid) as (
    select distinct unnest($1::oid[])
    union
    select m.member
      from reached w
           join pg_catalog.pg_type t on t.oid = w.oid and t.oid >= 16384
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
)
select t.oid, pg_catalog.format_type(t.oid, null) as name,
       case when t.typtype in ('e', 'd', 'c', 'r') then t.typtype::text
            when t.typelem <> 0 and t.typlen = -1 then 'a'
            else 'b' end as shape,
       case when t.typtype = 'd' then array[t.typbasetype]
            when t.typtype = 'r'
            then array(select g.rngsubtype from pg_catalog.pg_range g where g.rngtypid = t.oid)
            when t.typtype = 'c'
            then array(select a.atttypid from pg_catalog.pg_attribute a
                        where a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped
                        order by a.attnum)
            when t.typelem <> 0 and t.typlen = -1 then array[t.typelem]
            else '{}'::oid[] end as members
  from reached w
       join pg_catalog.pg_type t on t.oid = w.oid
 order by t.oid;
