-- Looks at schema pgcopydb of a target, in which a run keeps its record.
-- Parameters: none.
-- Columns: owner text (quoted), may_create bool (the role may make and use tables there), is_ours bool (table
--   progress is there as a run makes it and may be used, or is not there).
-- One row, or none where there is no such schema. Servers: 9.6 and later.
select pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(n.nspowner)) as owner,
       pg_catalog.has_schema_privilege(n.oid, 'create') and pg_catalog.has_schema_privilege(n.oid, 'usage')
           and not exists (select from (values ('select'), ('insert'), ('update'), ('delete')) r (right_name)
                            where not pg_catalog.has_table_privilege(p.oid, r.right_name)) as may_create,
       p.oid is null or (p.relkind = 'r' and 6 =
           (select count(*) from pg_catalog.pg_attribute a
             where a.attrelid = p.oid and a.attnum > 0 and not a.attisdropped
               and a.attname in ('work', 'kind', 'object', 'part', 'plan', 'rows'))) as is_ours
  from pg_catalog.pg_namespace n
       left join pg_catalog.pg_class p on p.relnamespace = n.oid and p.relname = 'progress'
 where n.nspname = 'pgcopydb';
