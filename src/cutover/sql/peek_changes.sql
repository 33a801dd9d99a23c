-- What the replication slot would send next, without taking it.
-- Parameters: $1 text: name of the slot; $2 int4: most changes, exceeded by the last transaction only; $3 text[]: options
--   of the plugin, names and values by turns.
-- Columns: lsn text (of a commit: its end), data bytea.
-- Order: that of the commits. Servers: 9.6 and later.
select location.lsn::text as lsn, location.data
  from pg_catalog.pg_logical_slot_peek_binary_changes($1, null, $2, variadic $3) as location (lsn, xid, data);
