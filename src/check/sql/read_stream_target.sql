-- Reads what following changes needs of a target.
-- Parameters: none
-- Result (one row): may_set_role bool not null (session_replication_role can be set, as far as is
--   known before 15, where only superusers can), may_track bool not null
--   (replication origins can be used), free_origins int8 not null
-- Versions: 12 and newer.
select exists (select 1 from pg_catalog.pg_roles r where r.rolname = current_user and r.rolsuper)
         as may_set_role,
       (select r.rolsuper from pg_catalog.pg_roles r where r.rolname = current_user)
         or pg_catalog.current_setting('server_version_num')::int4 >= 140000
            and not exists (select from pg_catalog.pg_proc p
                           where p.pronamespace = 'pg_catalog'::pg_catalog.regnamespace
                             and p.proname = any ('{pg_replication_origin_create, pg_replication_origin_advance, pg_replication_origin_oid,
                                  pg_replication_origin_progress, pg_replication_origin_drop, pg_replication_origin_session_setup,
                                  pg_replication_origin_xact_setup, pg_replication_origin_xact_reset}')
                             and not pg_catalog.has_function_privilege(p.oid, 'execute'))
         as may_track,
       pg_catalog.current_setting('max_replication_slots')::int8
         - (select count(*) from pg_catalog.pg_replication_origin) as free_origins
