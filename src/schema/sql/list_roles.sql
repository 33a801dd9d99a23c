-- Lists the roles of the cluster.
-- Parameters: none.
-- Columns: rolname text (raw).
-- Order: rolname. Servers: 9.6 and later.
select r.rolname::text from pg_catalog.pg_roles r order by r.rolname;
