-- Lists who holds locks on tables.
-- Parameters: $1 text[]: qualified, quoted names.
-- Columns: pid int4, application text, names text (tables), since text (start of its transaction).
-- Order: pid. Servers: 9.6 and later.
select l.pid, coalesce(a.application_name, '') as application,
       string_agg(distinct l.relation::regclass::text, ', ') as names,
       coalesce(min(a.xact_start)::text, '') as since
  from pg_catalog.pg_locks l
       left join pg_catalog.pg_stat_activity a on a.pid = l.pid
 where l.locktype = 'relation' and l.granted and l.pid <> pg_catalog.pg_backend_pid()
   and l.database = (select oid from pg_catalog.pg_database where datname = pg_catalog.current_database())
   and l.relation in (select pg_catalog.to_regclass(name)::oid from unnest($1::text[]) as t(name))
 group by l.pid, a.application_name
 order by l.pid;
