-- What there is to say about functions, procedures and aggregates.
-- Parameters: none.
-- Columns: class text, name text[] (raw, outermost first), detail text (arguments and the like), fact text,
--   value text (null: none), same_major bool (the text depends on the server's version: compared between equal
--   majors only).
-- Order: none. Servers: 9.6 and later. Members of extensions are left out.
with member as (
    select objid from pg_catalog.pg_depend
     where deptype = 'e' and classid = 'pg_catalog.pg_proc'::regclass
)
select case when a.aggfnoid is not null then 'aggregate'
            when j.doc ->> 'prokind' = 'p' then 'procedure' else 'function' end as class,
       array[n.nspname::text, p.proname::text] as name,
       '(' || pg_catalog.oidvectortypes(p.proargtypes) || ')' as detail, f.fact, f.value, f.same_major
  from pg_catalog.pg_proc p
       join pg_catalog.pg_namespace n on n.oid = p.pronamespace
       join pg_catalog.pg_language l on l.oid = p.prolang
       cross join lateral (select to_jsonb(p) as doc) j
       left join pg_catalog.pg_aggregate a on a.aggfnoid = p.oid
       cross join lateral (values
         ('owner', pg_catalog.pg_get_userbyid(p.proowner)::text, false),
         ('language', l.lanname::text, false),
         ('arguments', pg_catalog.pg_get_function_arguments(p.oid), true),
         ('returns', pg_catalog.pg_get_function_result(p.oid), false),
         ('body', case when j.doc ->> 'prosqlbody' is null then p.prosrc end, false),
         ('definition', case when a.aggfnoid is null then pg_catalog.pg_get_functiondef(p.oid) end, true),
         ('library', p.probin, false),
         ('volatility', p.provolatile::text, false),
         ('parallel', p.proparallel::text, false),
         ('strict', p.proisstrict::text, false),
         ('security definer', p.prosecdef::text, false),
         ('leakproof', p.proleakproof::text, false),
         ('cost', p.procost::text, false),
         ('rows', p.prorows::text, false),
         ('settings', (select string_agg(s, ', ' order by s collate "C") from unnest(p.proconfig) s), false),
         ('transition', a.aggtransfn::text || ' ' || pg_catalog.format_type(a.aggtranstype, null), false),
         ('final', a.aggfinalfn::text, false),
         ('combine', a.aggcombinefn::text, false),
         ('initial value', a.agginitval, false),
         ('privileges', (select string_agg(pg_catalog.pg_get_userbyid(x.grantee) || '=' || x.privilege_type
                               || case when x.is_grantable then '*' else '' end, ', '
                               order by x.grantee = 0, pg_catalog.pg_get_userbyid(x.grantee)::text collate "C", x.privilege_type collate "C")
            from pg_catalog.aclexplode(coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner))) x
           where not (x.grantee = p.proowner and x.privilege_type = 'MAINTAIN')), false),
         ('comment', pg_catalog.obj_description(p.oid, 'pg_proc'), false)
       ) f(fact, value, same_major)
 where n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'pgcopydb')
   and not exists (select from member m where m.objid = p.oid);
