-- Says whether the target knows a setting, whether its value is a list of names, and whether a role is there.
-- Parameters: $1 text name of the setting, $2 text role or empty
-- Result: known bool, is_list bool, role_exists bool, none null; one row
-- Order: none. Versions: 12 and newer (target). The lists are those of the server's GUC_LIST_QUOTE settings.
select exists (select 1 from pg_catalog.pg_settings s where pg_catalog.lower(s.name) = pg_catalog.lower($1::text)),
       pg_catalog.lower($1::text) in ('search_path', 'temp_tablespaces', 'session_preload_libraries',
                         'shared_preload_libraries', 'local_preload_libraries', 'unix_socket_directories'),
       exists (select 1 from pg_catalog.pg_roles r where r.rolname = $2::text)
