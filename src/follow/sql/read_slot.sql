-- One replication slot, whatever columns this version has.
-- Parameters: $1 text: its name.
-- Columns: slot text (JSON object of the row); no row: no such slot.
-- Servers: 9.6 and later.
select to_jsonb(s)::text as slot
  from pg_catalog.pg_replication_slots s
 where s.slot_name = $1;
