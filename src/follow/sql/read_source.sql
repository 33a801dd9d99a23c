-- What a follow has to know of the source before and while it streams.
-- Parameters: none.
-- Columns: system_id text, database text, database_oid int8, version int4, encoding text, is_standby bool, wal_level text,
--   max_slots int4, used_slots int8, max_senders int4, used_senders int8, sender_timeout_ms int4 (0: none),
--   may_replicate bool, plugin_libraries text (null: the server has no such list), slot_keep_size text (null: no limit known),
--   own_ways text[] (extensions that keep tables in ways of their own).
-- Servers: 9.6 and later.
select (select system_identifier::text from pg_catalog.pg_control_system()) as system_id,
       d.datname::text as database,
       d.oid::int8 as database_oid,
       current_setting('server_version_num')::int4 as version,
       current_setting('server_encoding') as encoding,
       pg_catalog.pg_is_in_recovery() as is_standby,
       current_setting('wal_level') as wal_level,
       current_setting('max_replication_slots')::int4 as max_slots,
       (select count(*) from pg_catalog.pg_replication_slots) as used_slots,
       current_setting('max_wal_senders')::int4 as max_senders,
       (select count(*) from pg_catalog.pg_stat_replication) as used_senders,
       (select setting::int4 from pg_catalog.pg_settings where name = 'wal_sender_timeout') as sender_timeout_ms,
       (select r.rolsuper or r.rolreplication
               or exists (select 1 from pg_catalog.pg_roles m
                           where m.rolname in ('rds_replication', 'rds_superuser', 'cloudsqlsuperuser', 'azure_pg_admin')
                             and pg_catalog.pg_has_role(r.oid, m.oid, 'member'))
          from pg_catalog.pg_roles r where r.rolname = current_user) as may_replicate,
       (select setting from pg_catalog.pg_settings where name = 'output_plugin_libraries') as plugin_libraries,
       (select nullif(setting, '-1') || ' ' || unit from pg_catalog.pg_settings
         where name = 'max_slot_wal_keep_size') as slot_keep_size,
       array(select e.extname::text from pg_catalog.pg_extension e
              where e.extname in ('timescaledb', 'citus') order by 1) as own_ways
  from pg_catalog.pg_database d
 where d.datname = current_database();
