-- Lists the columns of tables.
-- Parameters: $1 oid[]: the tables.
-- Columns: table_oid oid, attnum int2, attname text (quoted), type_oid oid, typmod int4,
--   generated bool (stored or virtual generated column).
-- Order: table_oid, attnum. Servers: 12 and later; before see list_attributes_pg96.sql.
select a.attrelid as table_oid, a.attnum, format('%I', a.attname) as attname, a.atttypid as type_oid,
       a.atttypmod as typmod, a.attgenerated <> '' as generated
  from unnest($1::oid[]) as t(oid)
       join pg_catalog.pg_attribute a on a.attrelid = t.oid
 where a.attnum > 0 and not a.attisdropped
 order by a.attrelid, a.attnum;
