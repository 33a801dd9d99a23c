-- Lists the tables of which row level security may hide rows from the current role.
-- Parameters: none.
-- Columns: oid oid, qname text (quoted), reason text (forced: the owner sees a part only, policy: any other role).
-- Order: qname. Servers: 9.6 and later.
select c.oid, format('%I.%I', n.nspname, c.relname) as qname,
       case when c.relforcerowsecurity and pg_has_role(c.relowner, 'usage') then 'forced'
            else 'policy' end as reason
  from pg_catalog.pg_class c
       join pg_catalog.pg_namespace n on n.oid = c.relnamespace
 where c.relkind in ('r', 'p')
   and c.relrowsecurity
   and c.relpersistence in ('p', 'u')
   and n.nspname !~ '^pg_'
   and n.nspname <> 'information_schema'
   and n.nspname <> 'pgcopydb'
   and row_security_active(c.oid)
 order by qname;
