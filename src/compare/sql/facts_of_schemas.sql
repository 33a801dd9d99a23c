-- What there is to say about schemas, extensions and the database.
-- Parameters: none.
-- Columns: class text, name text[] (raw, outermost first), detail text (arguments and the like), fact text,
--   value text (null: none), same_major bool (the text depends on the server's version: compared between equal
--   majors only).
-- Order: none. Servers: 9.6 and later. Members of extensions are left out.
with member as (
    select classid, objid from pg_catalog.pg_depend where deptype = 'e'
)
select 'schema' as class, array[n.nspname::text] as name, '' as detail, f.fact, f.value, f.same_major
  from pg_catalog.pg_namespace n
       cross join lateral (values
         ('owner', pg_catalog.pg_get_userbyid(n.nspowner)::text, n.nspname = 'public'),
         ('privileges', (select string_agg(pg_catalog.pg_get_userbyid(x.grantee) || '=' || x.privilege_type
                               || case when x.is_grantable then '*' else '' end, ', '
                               order by x.grantee = 0, pg_catalog.pg_get_userbyid(x.grantee)::text collate "C", x.privilege_type collate "C")
            from pg_catalog.aclexplode(coalesce(n.nspacl, pg_catalog.acldefault('n', n.nspowner))) x
           where not (x.grantee = n.nspowner and x.privilege_type = 'MAINTAIN')), n.nspname = 'public'),
         ('comment', pg_catalog.obj_description(n.oid, 'pg_namespace'), false)
       ) f(fact, value, same_major)
 where n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'pgcopydb')
   and not exists (select from member m where m.classid = 'pg_catalog.pg_namespace'::regclass and m.objid = n.oid)
union all
select 'extension', array[e.extname::text], '', f.fact, f.value, f.same_major
  from pg_catalog.pg_extension e
       join pg_catalog.pg_namespace n on n.oid = e.extnamespace
       cross join lateral (values
         ('version', e.extversion, true),
         ('schema', n.nspname::text, false)
       ) f(fact, value, same_major)
union all
select 'database', array['current'], '', 'setting ' || split_part(v, '=', 1)
         || coalesce(' of role ' || r.rolname, ''),
       substr(v, strpos(v, '=') + 1), false
  from pg_catalog.pg_db_role_setting s
       left join pg_catalog.pg_roles r on r.oid = s.setrole
       cross join lateral unnest(s.setconfig) v
 where s.setdatabase = (select oid from pg_catalog.pg_database where datname = current_database())
union all
select 'database', array['current'], '', f.fact, f.value, false
  from pg_catalog.pg_database d
       cross join lateral (values
         ('encoding', pg_catalog.pg_encoding_to_char(d.encoding)::text),
         ('comment', pg_catalog.shobj_description(d.oid, 'pg_database')),
         ('owner', pg_catalog.pg_get_userbyid(d.datdba)::text),
         ('connection limit', d.datconnlimit::text),
         ('own privileges', (d.datacl is not null)::text)
       ) f(fact, value)
 where d.datname = current_database()
union all
select 'database', array['current'], '', 'privileges of ' || coalesce(r.rolname::text, 'public'),
       string_agg(distinct p.text collate "C", ', ' order by p.text collate "C"), false
  from pg_catalog.pg_database d
       cross join lateral pg_catalog.aclexplode(coalesce(d.datacl, pg_catalog.acldefault('d', d.datdba))) x
       left join pg_catalog.pg_roles r on r.oid = x.grantee
       cross join lateral (select x.privilege_type || case when x.is_grantable then '*' else '' end as text) p
 where d.datname = current_database() and (x.grantee = 0 or r.oid is not null)
 group by r.rolname
union all
select 'default privileges', array[pg_catalog.pg_get_userbyid(d.defaclrole)::text, coalesce(n.nspname::text, '')],
       'of type ' || d.defaclobjtype::text, 'privileges',
       (select string_agg(pg_catalog.pg_get_userbyid(x.grantee) || '=' || x.privilege_type
                          || case when x.is_grantable then '*' else '' end, ', '
                          order by pg_catalog.pg_get_userbyid(x.grantee)::text collate "C", x.privilege_type collate "C")
          from pg_catalog.aclexplode(d.defaclacl) x
         where not (x.grantee = d.defaclrole and x.privilege_type = 'MAINTAIN')), false
  from pg_catalog.pg_default_acl d
       left join pg_catalog.pg_namespace n on n.oid = d.defaclnamespace;
