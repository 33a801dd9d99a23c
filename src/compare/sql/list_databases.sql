-- Lists the databases that can be compared.
-- Parameters: none.
-- Columns: datname text.
-- Order: datname. Servers: 9.6 and later.
select d.datname::text
  from pg_catalog.pg_database d
 where d.datallowconn and not d.datistemplate
 order by d.datname;
