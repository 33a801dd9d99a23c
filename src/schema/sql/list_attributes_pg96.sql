-- Lists the columns of tables on a server that has no generated columns, nor pg_attribute.attgenerated.
-- Parameters: $1 oid[]: the tables.
-- Columns: table_oid oid, attnum int2, attname text (quoted), type_oid oid, typmod int4,
--   generated bool (always false).
-- Order: table_oid, attnum. Servers: 9.6 to 11; otherwise as list_attributes.sql.
select a.attrelid as table_oid, a.attnum, format('%I', a.attname) as attname, a.atttypid as type_oid,
       a.atttypmod as typmod, false as generated
  from unnest($1::oid[]) as t(oid)
       join pg_catalog.pg_attribute a on a.attrelid = t.oid
 where a.attnum > 0 and not a.attisdropped
 order by a.attrelid, a.attnum;
