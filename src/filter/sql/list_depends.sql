-- Lists all dependencies of what users made, without columns: a large catalog has a million.
-- Parameters: none.
-- Columns: classid oid, objid oid, refclassid oid, refobjid oid, deptype text.
-- Order: none. Servers: 9.6 and later. Objects of users have oids from 16384 on.
select distinct d.classid, d.objid, d.refclassid, d.refobjid, d.deptype::text
  from pg_catalog.pg_depend d
 where d.objid >= 16384
   and (d.classid, d.objid) <> (d.refclassid, d.refobjid);
