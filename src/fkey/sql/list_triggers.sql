-- Lists the triggers of users on tables.
-- Parameters: $1 oid[]: the tables.
-- Columns: oid oid, table_oid oid, nspname text, relname text, name text, state text (O origin, D disabled,
--   R replica, A always), definition text, is_owned bool (the role may do what the table's owner may),
--   owner text (null: no such role).
-- Order: table, name. Servers: 9.6 and later.
select t.oid, t.tgrelid as table_oid, n.nspname::text, c.relname::text, t.tgname::text as name,
       t.tgenabled::text as state, pg_catalog.pg_get_triggerdef(t.oid) as definition,
       pg_catalog.pg_has_role(c.relowner, 'usage') as is_owned, o.rolname::text as owner
  from pg_catalog.pg_trigger t
       join pg_catalog.pg_class c on c.oid = t.tgrelid
       join pg_catalog.pg_namespace n on n.oid = c.relnamespace
       left join pg_catalog.pg_roles o on o.oid = c.relowner
 where not t.tgisinternal
   and t.tgrelid = any ($1::oid[])
 order by t.tgrelid, t.tgname;
