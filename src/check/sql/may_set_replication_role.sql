-- Whether the current role may set session_replication_role.
-- Parameters: none
-- Result (one row): may_set bool not null. Versions: 15 and newer.
select pg_catalog.has_parameter_privilege('session_replication_role', 'set') as may_set
