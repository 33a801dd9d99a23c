-- Lists what default privileges give others on objects that the current role makes, as the statements that take it
-- back. What everybody has on new objects anyway does not count.
-- Parameters: none.
-- Columns: revoke text. Order: revoke. Servers: 9.6 and later.
select format('alter default privileges for role %I%s revoke %s on %s from %s;', r.rolname,
              coalesce(' in schema ' || quote_ident(n.nspname), ''),
              string_agg(lower(a.privilege_type), ', ' order by a.privilege_type),
              kind.word, coalesce(quote_ident(g.rolname), 'public')) as revoke
  from pg_catalog.pg_default_acl d
       join pg_catalog.pg_roles r on r.oid = d.defaclrole
       join (values ('r', 'r', 'tables'), ('S', 's', 'sequences'), ('f', 'f', 'functions'), ('T', 'T', 'types'),
                    ('n', 'n', 'schemas')) as kind (letter, of_default, word) on kind.letter = d.defaclobjtype::text
       left join pg_catalog.pg_namespace n on n.oid = d.defaclnamespace
       cross join lateral pg_catalog.aclexplode(d.defaclacl) a
       left join pg_catalog.pg_roles g on g.oid = a.grantee
 where r.rolname = current_user
   and a.grantee <> d.defaclrole
   and (d.defaclnamespace <> 0
        or not exists (
            select 1
              from pg_catalog.aclexplode(pg_catalog.acldefault(kind.of_default::"char", d.defaclrole)) h
             where h.grantee = a.grantee and h.privilege_type = a.privilege_type))
 group by r.rolname, n.nspname, kind.word, g.rolname
 order by 1;
