-- Says whether this role may use replication origins as applying does.
-- Parameters: none.
-- Columns: may_use bool.
-- One row. Servers: 12 and later (target). Before 14 the functions ask for a superuser, whatever was granted.
select r.rolsuper
       or pg_catalog.current_setting('server_version_num')::int4 >= 140000
          and not exists (select from pg_catalog.pg_proc p
                           where p.pronamespace = 'pg_catalog'::pg_catalog.regnamespace
                             and p.proname = any ('{pg_replication_origin_create, pg_replication_origin_advance, pg_replication_origin_oid,
                                  pg_replication_origin_progress, pg_replication_origin_drop, pg_replication_origin_session_setup,
                                  pg_replication_origin_xact_setup, pg_replication_origin_xact_reset}')
                             and not pg_catalog.has_function_privilege(p.oid, 'execute')) as may_use
  from pg_catalog.pg_roles r
 where r.rolname = current_user;
