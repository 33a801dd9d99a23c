-- Lists the foreign keys of a database, those of partitions among them, without the rows that PostgreSQL keeps
-- for the partitions of a referenced table: these come and go with their key.
-- Parameters: none.
-- Columns: oid oid, name text, child_oid oid, child_schema text, child_name text, child_kind text (r, p),
--   child_owner text (null: no such role), parent_oid oid, parent_schema text, parent_name text, parent_kind text,
--   definition text, comment text (null: none), is_valid bool, is_enforced bool, tree_parent oid (key of the
--   partitioned table above; 0: none), is_owned bool (the role may do what the child's owner may), can_refer
--   bool (it may make a key to these columns), is_plain bool (its triggers are in the state they are made in),
--   checks bool (rows that come into the child are checked: none of its triggers there is disabled),
--   hides_child, hides_parent bool (row security is forced on the role where it owns the table, so that the key
--   could not be validated once more).
-- Order: oid. Servers: 9.6 and later; conparentid came in 11, conenforced in 18.
with k as (
    select c.*, coalesce(j.con ->> 'conparentid', '0')::oid as above,
           coalesce((j.con ->> 'conenforced')::bool, true) as enforced
      from pg_catalog.pg_constraint c
           cross join lateral (select to_jsonb(c) - 'conbin' as con offset 0) j
     where c.contype = 'f'
)
select k.oid, k.conname::text as name,
       k.conrelid as child_oid, cn.nspname::text as child_schema, c.relname::text as child_name,
       c.relkind::text as child_kind, o.rolname::text as child_owner,
       k.confrelid as parent_oid, pn.nspname::text as parent_schema, p.relname::text as parent_name,
       p.relkind::text as parent_kind,
       pg_catalog.pg_get_constraintdef(k.oid) as definition,
       pg_catalog.obj_description(k.oid, 'pg_constraint') as comment,
       k.convalidated as is_valid, k.enforced as is_enforced, k.above as tree_parent,
       pg_catalog.pg_has_role(c.relowner, 'usage') as is_owned,
       pg_catalog.has_schema_privilege(pn.oid, 'usage')
           and not exists (select 1 from unnest(k.confkey) as a(attnum)
                            where not pg_catalog.has_column_privilege(p.oid, a.attnum, 'references')) as can_refer,
       not exists (select 1 from pg_catalog.pg_trigger t
                    where t.tgconstraint = k.oid and t.tgenabled <> 'O') as is_plain,
       not exists (select 1 from pg_catalog.pg_trigger t
                    where t.tgconstraint = k.oid and t.tgrelid = k.conrelid and t.tgenabled not in ('O', 'A')) as checks,
       k.convalidated and k.enforced and pg_catalog.pg_has_role(c.relowner, 'usage')
           and pg_catalog.row_security_active(c.oid) as hides_child,
       k.convalidated and k.enforced and pg_catalog.pg_has_role(p.relowner, 'usage')
           and pg_catalog.row_security_active(p.oid) as hides_parent
  from k
       join pg_catalog.pg_class c on c.oid = k.conrelid
       join pg_catalog.pg_namespace cn on cn.oid = c.relnamespace
       join pg_catalog.pg_class p on p.oid = k.confrelid
       join pg_catalog.pg_namespace pn on pn.oid = p.relnamespace
       left join pg_catalog.pg_roles o on o.oid = c.relowner
       left join k u on u.oid = k.above
 where u.oid is null or u.confrelid = k.confrelid
 order by k.oid;
