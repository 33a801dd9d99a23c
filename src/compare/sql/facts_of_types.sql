-- What there is to say about enum, domain, range and base types.
-- Parameters: none.
-- Columns: class text, name text[] (raw, outermost first), detail text (arguments and the like), fact text,
--   value text (null: none), same_major bool (the text depends on the server's version: compared between equal
--   majors only).
-- Order: none. Servers: 9.6 and later. Members of extensions are left out.
with member as (
    select classid, objid from pg_catalog.pg_depend where deptype = 'e' and objsubid = 0
), t as (
    select t.*, t.oid as toid, n.nspname::text as nspname
      from pg_catalog.pg_type t
           join pg_catalog.pg_namespace n on n.oid = t.typnamespace
     where t.typtype in ('e', 'd', 'r', 'b') and t.typisdefined
       and not exists (select from pg_catalog.pg_type e where e.typarray = t.oid)
       and n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'pgcopydb')
       and not exists (select from member m
                        where m.classid = 'pg_catalog.pg_type'::regclass and m.objid = t.oid)
)
select case t.typtype when 'd' then 'domain' else 'type' end as class, array[t.nspname, t.typname::text] as name,
       '' as detail, f.fact, f.value, f.same_major
  from t
       left join pg_catalog.pg_range g on g.rngtypid = t.toid
       left join pg_catalog.pg_collation co on co.oid = t.typcollation
       cross join lateral (values
         ('kind', t.typtype::text, false),
         ('owner', pg_catalog.pg_get_userbyid(t.typowner)::text, false),
         ('labels', (select string_agg(quote_literal(e.enumlabel), ', ' order by e.enumsortorder)
                       from pg_catalog.pg_enum e where e.enumtypid = t.toid), false),
         ('base type', case when t.typtype = 'd' then pg_catalog.format_type(t.typbasetype, t.typtypmod) end, false),
         ('not null', t.typnotnull::text, false),
         ('default', t.typdefault, false),
         ('collation', co.collname::text, false),
         ('subtype', pg_catalog.format_type(g.rngsubtype, null), false),
         ('input', case when t.typtype = 'b' then t.typinput::text end, false),
         ('output', case when t.typtype = 'b' then t.typoutput::text end, false),
         ('length', case when t.typtype = 'b' then t.typlen::text || t.typalign::text || t.typstorage::text end, false),
         ('privileges', (select string_agg(pg_catalog.pg_get_userbyid(x.grantee) || '=' || x.privilege_type
                               || case when x.is_grantable then '*' else '' end, ', '
                               order by x.grantee = 0, pg_catalog.pg_get_userbyid(x.grantee)::text collate "C", x.privilege_type collate "C")
            from pg_catalog.aclexplode(coalesce(t.typacl, pg_catalog.acldefault('T', t.typowner))) x
           where not (x.grantee = t.typowner and x.privilege_type = 'MAINTAIN')), false),
         ('comment', pg_catalog.obj_description(t.toid, 'pg_type'), false)
       ) f(fact, value, same_major)
union all
select 'constraint', array[t.nspname, t.typname::text, k.conname::text], '', 'definition',
       pg_catalog.pg_get_constraintdef(k.oid), false
  from t join pg_catalog.pg_constraint k on k.contypid = t.toid
 where k.contype <> 'n';
