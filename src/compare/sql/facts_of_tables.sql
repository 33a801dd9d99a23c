-- What there is to say about indexes, constraints, triggers, rules, policies and statistics of tables.
-- Parameters: none.
-- Columns: class text, name text[] (raw, outermost first), detail text (arguments and the like), fact text,
--   value text (null: none), same_major bool (the text depends on the server's version: compared between equal
--   majors only).
-- Order: none. Servers: 9.6 and later. Members of extensions are left out.
with member as (
    select classid, objid from pg_catalog.pg_depend where deptype = 'e' and objsubid = 0
), relation as (
    select c.oid, c.relname::text as relname, n.nspname::text as nspname
      from pg_catalog.pg_class c
           join pg_catalog.pg_namespace n on n.oid = c.relnamespace
     where c.relkind in ('r', 'p', 'v', 'm', 'f') and c.relpersistence <> 't'
       and n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'pgcopydb')
       and not exists (select from member m
                        where m.classid = 'pg_catalog.pg_class'::regclass and m.objid = c.oid)
)
select 'index' as class, array[r.nspname, c.relname::text] as name, '' as detail,
       f.fact, f.value, f.same_major
  from relation r
       join pg_catalog.pg_index i on i.indrelid = r.oid
       join pg_catalog.pg_class c on c.oid = i.indexrelid
       cross join lateral (values
         ('table', r.relname, false),
         ('definition', pg_catalog.pg_get_indexdef(c.oid), false),
         ('primary key', i.indisprimary::text, false),
         ('unique', i.indisunique::text, false),
         ('valid', i.indisvalid::text, false),
         ('clustered', i.indisclustered::text, false),
         ('replica identity', i.indisreplident::text, false),
         ('parent', (select h.inhparent::regclass::text from pg_catalog.pg_inherits h where h.inhrelid = c.oid), false),
         ('statistics targets', (select string_agg(a.attnum || ':' || a.attstattarget, ', ' order by a.attnum)
                                   from pg_catalog.pg_attribute a
                                  where a.attrelid = c.oid and a.attstattarget >= 0), false),
         ('comment', pg_catalog.obj_description(c.oid, 'pg_class'), false)
       ) f(fact, value, same_major)
union all
select 'constraint', array[r.nspname, r.relname, k.conname::text], '', f.fact, f.value, f.same_major
  from relation r
       join pg_catalog.pg_constraint k on k.conrelid = r.oid
       cross join lateral (select to_jsonb(k) as doc) j
       cross join lateral (values
         ('definition', pg_catalog.pg_get_constraintdef(k.oid), false),
         ('inherited only', (not k.conislocal)::text, false),
         ('comment', pg_catalog.obj_description(k.oid, 'pg_constraint'), false)
       ) f(fact, value, same_major)
 -- NOT NULL is a fact of the column; those that a foreign key of a partitioned table makes for its
 -- partitions have names that depend on the order in which they came.
 where k.contype not in ('n', 't')
   and not (k.contype = 'f' and coalesce(j.doc ->> 'conparentid', '0') <> '0')
union all
select 'trigger', array[r.nspname, r.relname, t.tgname::text], '', f.fact, f.value, f.same_major
  from relation r
       join pg_catalog.pg_trigger t on t.tgrelid = r.oid
       cross join lateral (values
         ('definition', pg_catalog.pg_get_triggerdef(t.oid), true),
         ('function', t.tgfoid::regprocedure::text, false),
         ('enabled', t.tgenabled::text, false),
         ('comment', pg_catalog.obj_description(t.oid, 'pg_trigger'), false)
       ) f(fact, value, same_major)
 where not t.tgisinternal
union all
select 'rule', array[r.nspname, r.relname, u.rulename::text], '', f.fact, f.value, f.same_major
  from relation r
       join pg_catalog.pg_rewrite u on u.ev_class = r.oid
       cross join lateral (values
         ('definition', pg_catalog.pg_get_ruledef(u.oid), true),
         ('enabled', u.ev_enabled::text, false),
         ('comment', pg_catalog.obj_description(u.oid, 'pg_rewrite'), false)
       ) f(fact, value, same_major)
 where u.rulename <> '_RETURN'
union all
select 'policy', array[r.nspname, r.relname, p.polname::text], '', f.fact, f.value, f.same_major
  from relation r
       join pg_catalog.pg_policy p on p.polrelid = r.oid
       cross join lateral (values
         ('command', p.polcmd::text, false),
         ('permissive', to_jsonb(p) ->> 'polpermissive', false),
         ('roles', (select string_agg(pg_catalog.pg_get_userbyid(o)::text, ', ' order by pg_catalog.pg_get_userbyid(o)::text collate "C")
                      from unnest(p.polroles) o), false),
         ('using', pg_catalog.pg_get_expr(p.polqual, p.polrelid), false),
         ('with check', pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid), false),
         ('comment', pg_catalog.obj_description(p.oid, 'pg_policy'), false)
       ) f(fact, value, same_major);
