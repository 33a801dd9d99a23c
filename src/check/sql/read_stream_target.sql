-- Reads what following changes needs of a target.
-- Parameters: none
-- Result (one row): may_set_role bool not null (session_replication_role can be set, as far as is
--   known before 15, where only superusers can), may_track bool not null
--   (replication origins can be used), free_origins int8 not null
-- Versions: 12 and newer.
select exists (select 1 from pg_catalog.pg_roles r where r.rolname = current_user and r.rolsuper)
         as may_set_role,
       pg_catalog.has_function_privilege('pg_catalog.pg_replication_origin_session_setup(text)', 'execute')
         and pg_catalog.has_function_privilege('pg_catalog.pg_replication_origin_create(text)', 'execute')
         as may_track,
       pg_catalog.current_setting('max_replication_slots')::int8
         - (select count(*) from pg_catalog.pg_replication_origin) as free_origins
