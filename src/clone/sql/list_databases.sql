-- Lists the databases of the cluster, with what a new one of each must be given.
-- Parameters: none.
-- Columns: datname text, bytes int8 (0: the role may not connect to it), is_skipped text (why it is left out;
--   null: it is not), owner text (null: no such role), encoding text, collate text, ctype text, provider text (c, i
--   or b), locale text (of a provider that is not the C library; null: none), icu_rules text, tablespace text (null:
--   the default one), connection_limit int4 (-1: none).
-- Order: largest first. Servers: 9.6 and later.
select d.datname::text,
       case when pg_catalog.has_database_privilege(d.oid, 'connect') then pg_catalog.pg_database_size(d.oid)
            else 0 end as bytes,
       case when d.datistemplate then 'it is a template' when not d.datallowconn then 'it allows no connections' end
           as is_skipped,
       r.rolname::text as owner,
       pg_catalog.pg_encoding_to_char(d.encoding)::text as encoding,
       d.datcollate::text as collate, d.datctype::text as ctype,
       coalesce(j.doc ->> 'datlocprovider', 'c') as provider,
       coalesce(j.doc ->> 'datlocale', j.doc ->> 'daticulocale') as locale,
       j.doc ->> 'daticurules' as icu_rules,
       nullif(t.spcname::text, 'pg_default') as tablespace,
       d.datconnlimit as connection_limit
  from pg_catalog.pg_database d
       cross join lateral (select to_jsonb(d) as doc) j
       left join pg_catalog.pg_roles r on r.oid = d.datdba
       left join pg_catalog.pg_tablespace t on t.oid = d.dattablespace
 order by bytes desc, d.datname;
