-- Lists the tables that have extended statistics, which are made after the tables were analyzed.
-- Parameters: none
-- Result: qname text not null, quoted
-- Order: by name. Versions: 12 and newer (target).
select distinct pg_catalog.format('%I.%I', n.nspname, c.relname)
  from pg_catalog.pg_statistic_ext s
  join pg_catalog.pg_class c on c.oid = s.stxrelid
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
 order by 1
