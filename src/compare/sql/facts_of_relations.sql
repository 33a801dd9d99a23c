-- What there is to say about tables, views, materialized views, foreign tables, sequences and composite types.
-- Parameters: none.
-- Columns: class text, name text[] (raw, outermost first), detail text (arguments and the like), fact text,
--   value text (null: none), same_major bool (the text depends on the server's version: compared between equal
--   majors only).
-- Order: none. Servers: 9.6 and later. Members of extensions are left out.
with member as (
    select objid from pg_catalog.pg_depend
     where deptype = 'e' and classid = 'pg_catalog.pg_class'::regclass and objsubid = 0
), j as (
    select c.*, c.oid as coid
      from pg_catalog.pg_class c
           join pg_catalog.pg_namespace n on n.oid = c.relnamespace
     where c.relkind in ('r', 'p', 'v', 'm', 'f', 'S', 'c') and c.relpersistence <> 't'
       and n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'pgcopydb')
       and not exists (select from member m where m.objid = c.oid)
)
select case j.relkind when 'r' then 'table' when 'p' then 'table' when 'v' then 'view'
            when 'm' then 'materialized view' when 'f' then 'foreign table' when 'S' then 'sequence'
            else 'type' end as class,
       array[n.nspname::text, j.relname::text] as name, '' as detail, f.fact, f.value, f.same_major
  from j
       join pg_catalog.pg_namespace n on n.oid = j.relnamespace
       left join pg_catalog.pg_am am on am.oid = j.relam
       left join pg_catalog.pg_foreign_table ft on ft.ftrelid = j.coid
       left join pg_catalog.pg_foreign_server fs on fs.oid = ft.ftserver
       cross join lateral (values
         ('kind', j.relkind::text, false),
         ('owner', pg_catalog.pg_get_userbyid(j.relowner)::text, false),
         ('persistence', j.relpersistence::text, false),
         ('options', (select string_agg(o, ', ' order by o collate "C") from unnest(j.reloptions) o), false),
         -- a table without a column that could be stored there loses them with the copy, and nothing by it
         ('toast options', (select string_agg(o, ', ' order by o collate "C")
                              from pg_catalog.pg_class s cross join lateral unnest(s.reloptions) o
                             where s.oid = j.reltoastrelid
                               and exists (select from pg_catalog.pg_attribute a
                                            where a.attrelid = j.coid and a.attnum > 0 and not a.attisdropped
                                              and a.attstorage <> 'p')), false),
         ('access method', nullif(am.amname::text, 'heap'), false),
         ('parents', (select string_agg(i.inhparent::regclass::text, ', ' order by i.inhseqno)
                        from pg_catalog.pg_inherits i where i.inhrelid = j.coid), false),
         ('replica identity', j.relreplident::text, false),
         ('row security', j.relrowsecurity::text || case when j.relforcerowsecurity then ' forced' else '' end, false),
         ('of type', nullif(j.reloftype, 0)::regtype::text, false),
         ('definition', case when j.relkind in ('v', 'm') then pg_catalog.pg_get_viewdef(j.coid) end, true),
         ('populated', case when j.relkind = 'm' then j.relispopulated::text end, false),
         ('server', fs.srvname::text, false),
         ('foreign options', (select string_agg(o, ', ' order by o collate "C") from unnest(ft.ftoptions) o), false),
         ('privileges', case when j.relkind = 'S' then (select string_agg(pg_catalog.pg_get_userbyid(x.grantee) || '=' || x.privilege_type
                               || case when x.is_grantable then '*' else '' end, ', '
                               order by x.grantee = 0, pg_catalog.pg_get_userbyid(x.grantee)::text collate "C", x.privilege_type collate "C")
            from pg_catalog.aclexplode(coalesce(j.relacl, pg_catalog.acldefault('s', j.relowner))) x
           where not (x.grantee = j.relowner and x.privilege_type = 'MAINTAIN'))
                             when j.relkind <> 'c' then (select string_agg(pg_catalog.pg_get_userbyid(x.grantee) || '=' || x.privilege_type
                               || case when x.is_grantable then '*' else '' end, ', '
                               order by x.grantee = 0, pg_catalog.pg_get_userbyid(x.grantee)::text collate "C", x.privilege_type collate "C")
            from pg_catalog.aclexplode(coalesce(j.relacl, pg_catalog.acldefault('r', j.relowner))) x
           where not (x.grantee = j.relowner and x.privilege_type = 'MAINTAIN')) end, false),
         ('comment', pg_catalog.obj_description(j.coid, 'pg_class'), false)
       ) f(fact, value, same_major);
