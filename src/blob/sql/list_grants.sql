-- Lists who may do what with the large objects of a batch that have other than default privileges.
-- Parameters: $1 oid first, $2 oid last
-- Result: oid oid not null, grantee text null (public), privilege text not null,
--   grantable bool not null
-- Order: oid, then as granted. Versions: 9.6 and newer.
select m.oid,
       case when a.grantee = 0 then null else pg_catalog.pg_get_userbyid(a.grantee)::text end,
       a.privilege_type,
       a.is_grantable
  from pg_catalog.pg_largeobject_metadata m,
       pg_catalog.aclexplode(m.lomacl) with ordinality as a (grantor, grantee, privilege_type, is_grantable, position)
 where m.oid between $1::oid and $2::oid
   and m.lomacl is not null
 order by m.oid, a.position
