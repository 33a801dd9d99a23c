-- Lists the databases that can be connected to, templates left out.
-- Parameters: none.
-- Columns: oid oid, datname text (raw), qname text (quoted), bytes int8 (null: the role may not know).
-- Order: datname. Servers: 9.6 and later.
select d.oid, d.datname::text, pg_catalog.quote_ident(d.datname) as qname,
       case when pg_catalog.has_database_privilege(d.oid, 'CONNECT')
            then pg_catalog.pg_database_size(d.oid) end as bytes
  from pg_catalog.pg_database d
 where d.datallowconn and not d.datistemplate
 order by d.datname;
