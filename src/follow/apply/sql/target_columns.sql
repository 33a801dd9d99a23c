-- Columns of a table of the target.
-- Parameters: $1 oid: the table.
-- Columns: attnum int2, attname text, type_oid oid, array_oid oid (0 where rows of values of the type cannot be
--   sent as one array: arrays of arrays and of rows are taken apart too far by unnest()), generated bool,
--   identity_always bool, comparable bool (a built-in type with an operator = of the built-in kind).
-- Order: attnum. Servers: 12 and later.
select a.attnum, a.attname::text, a.atttypid as type_oid,
       case when t.typtype in ('b', 'e', 'r', 'm') and t.typelem = 0 and t.typdelim = ','
            then t.typarray else 0 end::oid as array_oid,
       a.attgenerated <> '' as generated,
       a.attidentity = 'a' as identity_always,
       t.typnamespace = 'pg_catalog'::regnamespace
       and exists (select from pg_catalog.pg_opclass o
                          join pg_catalog.pg_am m on m.oid = o.opcmethod and m.amname = 'btree'
                    where o.opcdefault and o.opcintype = t.oid) as comparable
  from pg_catalog.pg_attribute a
       join pg_catalog.pg_type t on t.oid = a.atttypid
 where a.attrelid = $1::oid and a.attnum > 0 and not a.attisdropped
 order by a.attnum
