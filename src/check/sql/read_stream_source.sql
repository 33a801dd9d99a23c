-- Reads what following changes needs of a source.
-- Parameters: $1 text name of the replication slot
-- Result (one row): wal_level text not null, free_slots int8 not null, free_senders int8 not null,
--   may_replicate bool not null, may_publish bool not null (in this database), slot_exists bool not null,
--   plugins text (output_plugin_libraries; null: any, or not for this role to see), slot_keep text (max_slot_wal_keep_size; null: before 13),
--   sender_timeout_ms int4 not null, slot_idle text (idle_replication_slot_timeout; null: before 18), decoding_kilobytes int8
--   (logical_decoding_work_mem; null: before 13), standby_feedback bool not null
-- Versions: 10 and newer.
select pg_catalog.current_setting('wal_level') as wal_level,
       pg_catalog.current_setting('max_replication_slots')::int8
         - (select count(*) from pg_catalog.pg_replication_slots) as free_slots,
       pg_catalog.current_setting('max_wal_senders')::int8
         - (select count(*) from pg_catalog.pg_stat_replication) as free_senders,
       r.rolreplication or r.rolsuper
         or exists (select 1 from pg_catalog.pg_roles m
                     where m.rolname = 'rds_replication' and pg_catalog.pg_has_role(m.oid, 'usage'))
         as may_replicate,
       pg_catalog.has_database_privilege(pg_catalog.current_database(), 'create') as may_publish,
       exists (select 1 from pg_catalog.pg_replication_slots s where s.slot_name = $1) as slot_exists,
       (select s.setting from pg_catalog.pg_settings s where s.name = 'output_plugin_libraries') as plugins,
       pg_catalog.current_setting('max_slot_wal_keep_size', true) as slot_keep,
       (select s.setting::int4 from pg_catalog.pg_settings s where s.name = 'wal_sender_timeout')
         as sender_timeout_ms,
       pg_catalog.current_setting('idle_replication_slot_timeout', true) as slot_idle,
       (select s.setting::int8 from pg_catalog.pg_settings s where s.name = 'logical_decoding_work_mem')
         as decoding_kilobytes,
       pg_catalog.current_setting('hot_standby_feedback')::bool as standby_feedback
  from pg_catalog.pg_roles r
 where r.rolname = current_user
