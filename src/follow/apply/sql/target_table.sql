-- What a table of the target is, as far as applying changes depends on it.
-- Parameters: $1 text: schema, empty for the first one of the search path that has it; $2 text: name; both raw.
-- Columns: oid oid, nspname text, relname text, relkind text, root oid (of the topmost partitioned table, or
--   its own), fires bool (triggers or rules that run in replica role, in it or in its partitions),
--   populated bool, unique_index bool (a materialized view that can be refreshed concurrently).
-- Rows: one or none. Servers: 12 and later.
with found as (
    select c.oid, n.nspname, c.relname, c.relkind, c.relispartition, c.relispopulated
      from pg_catalog.pg_class c
           join pg_catalog.pg_namespace n on n.oid = c.relnamespace
     where c.relname = $2::text::name
       and case when $1::text = '' then pg_catalog.pg_table_is_visible(c.oid)
                else n.nspname = $1::text::name end
       and c.relkind in ('r', 'p', 'm', 'f', 'v')
)
select f.oid, f.nspname::text, f.relname::text, f.relkind::text,
       coalesce(case when f.relispartition then pg_catalog.pg_partition_root(f.oid)::oid end, f.oid) as root,
       exists (select from pg_catalog.pg_trigger t
                where t.tgenabled in ('A', 'R')
                  and (t.tgrelid = f.oid
                       or f.relkind = 'p'
                          and t.tgrelid in (select relid from pg_catalog.pg_partition_tree(f.oid))))
       or exists (select from pg_catalog.pg_rewrite r
                   where r.ev_class = f.oid and r.ev_enabled in ('A', 'R') and r.ev_type <> '1') as fires,
       f.relispopulated as populated,
       exists (select from pg_catalog.pg_index i
                where i.indrelid = f.oid and i.indisunique and i.indisvalid
                  and i.indpred is null and i.indexprs is null) as unique_index
  from found f
