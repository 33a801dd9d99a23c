-- Lists the settings of this database, and of roles in this database.
-- Parameters: none.
-- Columns: rolname text (raw; null: of the database itself), setconfig text (name=value).
-- Order: the database first, then rolname; within them as they were set. Servers: 9.6 and later.
select r.rolname::text, c.setconfig
  from pg_catalog.pg_db_role_setting s
       join pg_catalog.pg_database d on d.oid = s.setdatabase and d.datname = current_database()
       left join pg_catalog.pg_roles r on r.oid = s.setrole
       cross join lateral unnest(s.setconfig) with ordinality as c(setconfig, position)
 where s.setrole = 0 or r.oid is not null
 order by r.rolname nulls first, c.position;
