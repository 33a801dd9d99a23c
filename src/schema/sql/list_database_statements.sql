-- Lists what makes comment, privileges and security labels of this database, for a database of another name.
-- Parameters: none.
-- Columns: topic text (comment, acl or label), head text, tail text, none null: the statement is head, name, tail.
-- Order: to run one after the other. Servers: 9.6 and later. The owner's own privileges come with the database.
with d as (select oid, datdba, datacl from pg_catalog.pg_database where datname = pg_catalog.current_database()),
     acl as (select a.grantee, a.privilege_type, a.is_grantable
               from d cross join lateral pg_catalog.aclexplode(d.datacl) a
              where a.grantee <> d.datdba)
select topic, head, tail
  from (select 1, 'comment', 'comment on database ', pg_catalog.format(' is %L', c.text)
          from (select pg_catalog.shobj_description(d.oid, 'pg_database') as text from d) c
         where c.text is not null
        union all
        select 2, 'acl', 'revoke all on database ', ' from public'
          from d where d.datacl is not null
        union all
        select 3, 'acl', pg_catalog.format('grant %s on database ', a.privilege_type),
               case when a.grantee = 0 then ' to public' else pg_catalog.format(' to %I', r.rolname) end
               || case when a.is_grantable then ' with grant option' else '' end
          from acl a left join pg_catalog.pg_roles r on r.oid = a.grantee
         where a.grantee = 0 or r.oid is not null
        union all
        select 4, 'label', pg_catalog.format('security label for %I on database ', l.provider),
               pg_catalog.format(' is %L', l.label)
          from d join pg_catalog.pg_shseclabel l
                 on l.objoid = d.oid and l.classoid = 'pg_catalog.pg_database'::pg_catalog.regclass
       ) as s (position, topic, head, tail)
 order by position, tail, head;
