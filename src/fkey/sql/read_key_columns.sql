-- Reads the columns of foreign keys, with the operators that compare them.
-- Parameters: $1 oid[]: the keys.
-- Columns: oid oid, name text (raw), child, parent text (qualified, quoted, with ONLY unless partitioned), match
--   text (s simple, f full, p partial), child_columns text[] (quoted), parent_columns text[] (quoted),
--   operators text[] (parent's column on the left, ready for SQL).
-- Order: oid. Servers: 12 and later.
select k.oid, k.conname::text as name,
       case when c.relkind = 'p' then '' else 'only ' end || format('%I.%I', cn.nspname, c.relname) as child,
       case when p.relkind = 'p' then '' else 'only ' end || format('%I.%I', pn.nspname, p.relname) as parent,
       k.confmatchtype::text as match,
       (select array_agg(format('%I', a.attname) order by i)
          from unnest(k.conkey) with ordinality as x(attnum, i)
               join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum = x.attnum) as child_columns,
       (select array_agg(format('%I', a.attname) order by i)
          from unnest(k.confkey) with ordinality as x(attnum, i)
               join pg_catalog.pg_attribute a on a.attrelid = p.oid and a.attnum = x.attnum) as parent_columns,
       (select array_agg(format('operator(%I.%s)', n.nspname, o.oprname) order by i)
          from unnest(k.conpfeqop) with ordinality as x(op, i)
               join pg_catalog.pg_operator o on o.oid = x.op
               join pg_catalog.pg_namespace n on n.oid = o.oprnamespace) as operators
  from pg_catalog.pg_constraint k
       join pg_catalog.pg_class c on c.oid = k.conrelid
       join pg_catalog.pg_namespace cn on cn.oid = c.relnamespace
       join pg_catalog.pg_class p on p.oid = k.confrelid
       join pg_catalog.pg_namespace pn on pn.oid = p.relnamespace
 where k.oid = any ($1::oid[])
   and k.contype = 'f'
 order by k.oid;
