-- Says what objects are: their kind and full name.
-- Parameters: $1 oid[] catalogs, $2 oid[] objects, of the same length.
-- Columns: classid oid, objid oid, type text, identity text (null for both: dropped since).
-- Order: none. Servers: 9.6 and later.
select o.classid, o.objid, i.type, i.identity
  from unnest($1::oid[], $2::oid[]) as o (classid, objid)
       cross join lateral pg_catalog.pg_identify_object(o.classid, o.objid, 0) i;
