-- Lists the labels of enumerated types.
-- Parameters: $1 oid[]: types; arrays of and domains over enumerated types are looked through.
-- Columns: type_oid oid (as given), labels text[].
-- Order: type_oid. Servers: 9.6 and later.
select t.oid as type_oid, array_agg(e.enumlabel::text order by e.enumsortorder) as labels
  from pg_catalog.pg_type t
       join pg_catalog.pg_enum e
         on e.enumtypid = t.oid
         or (t.typelem <> 0 and e.enumtypid = t.typelem)
         or (t.typbasetype <> 0 and e.enumtypid = t.typbasetype)
 where t.oid = any ($1::oid[])
 group by t.oid
 order by t.oid;
