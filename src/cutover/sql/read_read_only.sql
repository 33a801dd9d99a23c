-- Whether new sessions of this database are read only, and which roles have a setting of their own.
-- Parameters: none.
-- Columns: database text, former text (the database's own setting, null: none), roles text[] (with a setting of their own).
-- Servers: 9.6 and later.
select current_database()::text as database,
       (select substr(one, length('default_transaction_read_only=') + 1)
          from pg_catalog.pg_db_role_setting s, unnest(s.setconfig) one
         where s.setrole = 0 and s.setdatabase = d.oid and one like 'default\_transaction\_read\_only=%') as former,
       array(select r.rolname::text
               from pg_catalog.pg_db_role_setting s, unnest(s.setconfig) one, pg_catalog.pg_roles r
              where s.setrole = r.oid and s.setdatabase in (0, d.oid)
                and one like 'default\_transaction\_read\_only=%'
              order by 1) as roles
  from pg_catalog.pg_database d
 where d.datname = current_database();
