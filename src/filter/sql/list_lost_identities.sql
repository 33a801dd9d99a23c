-- Lists the kept tables whose index of the replica identity is left out.
-- Parameters: $1 oid[] catalogs, $2 oid[] objects that are left out, of the same length.
-- Columns: relation text (quoted where needed), index text.
-- Order: by name. Servers: 9.6 and later.
with gone as (
    select * from unnest($1::oid[], $2::oid[]) as o (classid, objid)
)
select pg_catalog.format('%I.%I', n.nspname, c.relname) as relation,
       pg_catalog.format('%I.%I', m.nspname, i.relname) as index
  from pg_catalog.pg_index x
       join pg_catalog.pg_class c on c.oid = x.indrelid
       join pg_catalog.pg_namespace n on n.oid = c.relnamespace
       join pg_catalog.pg_class i on i.oid = x.indexrelid
       join pg_catalog.pg_namespace m on m.oid = i.relnamespace
 where x.indisreplident and c.relreplident = 'i'
   and not exists (select from gone g where g.classid = 'pg_catalog.pg_class'::regclass and g.objid = c.oid)
   and (exists (select from gone g where g.classid = 'pg_catalog.pg_class'::regclass and g.objid = i.oid)
        or exists (select from gone g
                          join pg_catalog.pg_constraint k
                            on g.classid = 'pg_catalog.pg_constraint'::regclass and g.objid = k.oid
                    where k.conindid = i.oid and k.contype in ('p', 'u', 'x')))
 order by 1;
