-- Reads what may trouble a long run, of either side.
-- Parameters: none
-- Result (one row): xid_percent int4 not null (of the way to a stop of the server), old_transaction text (pid,
--   age and user of the oldest transaction over five minutes), prepared int8 not null (prepared
--   transactions), database_bytes int8, max_wal_bytes int8, autovacuum bool not null, standby_feedback bool not
--   null, user_mappings int8 not null (whose passwords this role may not see)
-- Versions: 9.6 and newer.
select (select (100 * max(pg_catalog.age(d.datfrozenxid))::int8 / 2147483647)::int4
          from pg_catalog.pg_database d) as xid_percent,
       (select format('pid %s, user %s, since %s', a.pid, a.usename,
                      pg_catalog.date_trunc('second', a.xact_start))
          from pg_catalog.pg_stat_activity a
         where a.xact_start < pg_catalog.now() - interval '5 minutes'
           and a.datname = pg_catalog.current_database()
         order by a.xact_start limit 1) as old_transaction,
       (select count(*) from pg_catalog.pg_prepared_xacts p
         where p.database = pg_catalog.current_database()) as prepared,
       case when pg_catalog.has_database_privilege(pg_catalog.current_database(), 'connect')
            then pg_catalog.pg_database_size(pg_catalog.current_database()) end as database_bytes,
       pg_catalog.pg_size_bytes(pg_catalog.current_setting('max_wal_size')) as max_wal_bytes,
       pg_catalog.current_setting('autovacuum')::bool as autovacuum,
       pg_catalog.current_setting('hot_standby_feedback')::bool as standby_feedback,
       (select count(*) from pg_catalog.pg_user_mappings m where m.umoptions is null
           and not (select r.rolsuper from pg_catalog.pg_roles r where r.rolname = current_user)) as user_mappings
