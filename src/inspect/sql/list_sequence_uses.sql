-- Says of sequences whose they are: owner role, owning table, and a column default that takes its values.
-- Parameters: $1 oid[]: the sequences.
-- Columns: oid oid, owner text (raw; null: no such role), owned_by oid (table; null: none), default_of oid
--   (table; null: none), default_oid oid (the pg_attrdef row; null: none).
-- Order: oid. Servers: 9.6 and later. OWNED BY is told before an identity column, of many defaults the one of the
-- table with the lowest oid.
select c.oid, r.rolname::text as owner, o.owned_by, f.default_of, f.default_oid
  from pg_catalog.unnest($1::pg_catalog.oid[]) as t(oid)
       join pg_catalog.pg_class c on c.oid = t.oid
       left join pg_catalog.pg_roles r on r.oid = c.relowner
       left join lateral (
            select d.refobjid as owned_by from pg_catalog.pg_depend d
             where d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass and d.objid = c.oid
               and d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass and d.refobjsubid > 0
               and d.deptype in ('a', 'i')
             order by d.deptype limit 1
       ) o on true
       left join lateral (
            select a.adrelid as default_of, a.oid as default_oid
              from pg_catalog.pg_depend d join pg_catalog.pg_attrdef a on a.oid = d.objid
             where d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass
               and d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass and d.refobjid = c.oid
             order by a.adrelid, a.oid limit 1
       ) f on true
 order by c.oid;
