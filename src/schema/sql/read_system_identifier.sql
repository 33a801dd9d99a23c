-- Reads the number that initdb gave the cluster; copies made of its files carry the same one.
-- Parameters: none.
-- Columns: system_identifier text.
-- One row. Servers: 9.6 and later; fails where the role may not execute the function.
select system_identifier::text from pg_catalog.pg_control_system();
