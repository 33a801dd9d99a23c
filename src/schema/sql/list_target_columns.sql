-- Lists the columns of relations on the target that are given by name.
-- Parameters: $1 text[]: schemas, $2 text[]: relations of the same positions; both raw.
-- Columns: position int8 (in the arrays, from 1), relkind text, attname text (quoted), type_oid oid,
--   typmod int4, generated bool. Relations that do not exist have no rows; those without columns have one with nulls.
-- Order: position, attnum. Servers: 12 and later.
select w.position, c.relkind::text,
       case when a.attname is not null then format('%I', a.attname) end as attname,
       a.atttypid as type_oid, a.atttypmod as typmod,
       coalesce(a.attgenerated <> '', false) as generated
  from unnest($1::text[], $2::text[]) with ordinality as w(nspname, relname, position)
       join pg_catalog.pg_namespace n on n.nspname = w.nspname::name
       join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = w.relname::name
       left join pg_catalog.pg_attribute a
              on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
 where c.relkind in ('r', 'p', 'f', 'v', 'm')
 order by w.position, a.attnum;
