-- Lists the constraints that users made.
-- Parameters: none.
-- Columns: oid oid, contype text, table_oid oid (0: of a domain), type_oid oid (0: of a table), ref_oid oid (0: no
--   foreign key).
-- Order: none. Servers: 9.6 and later.
select k.oid, k.contype::text, k.conrelid as table_oid, k.contypid as type_oid, k.confrelid as ref_oid
  from pg_catalog.pg_constraint k
 where k.oid >= 16384;
