-- Where the source is, and what it keeps for a replication slot.
-- Parameters: $1 text: name of the slot.
-- Columns: lsn text (flushed; of a standby: replayed), slot text (JSON object of the row, null: no such slot).
-- Servers: 10 and later.
select case when pg_catalog.pg_is_in_recovery() then pg_catalog.pg_last_wal_replay_lsn()
            else pg_catalog.pg_current_wal_flush_lsn() end::text as lsn,
       (select to_jsonb(s)::text from pg_catalog.pg_replication_slots s where s.slot_name = $1) as slot;
