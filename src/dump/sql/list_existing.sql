-- Purpose:  what post-data objects the target has already, named as pg_restore's list names them, so
--           that a second attempt leaves them out.
-- Params:   none
-- Columns:  desc text (kind of entry), nspname text (schema, or - for none), tag text; none is null
-- Order:    none
-- Versions: 12 and newer
with names as (
  select c.oid, c.relkind, c.relispopulated,
         translate(n.nspname, E'\n\r', '  ') as nspname,
         translate(c.relname, E'\n\r', '  ') as relname
    from pg_catalog.pg_class c
         join pg_catalog.pg_namespace n on n.oid = c.relnamespace
   where n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
), existing (descr, nspname, tag) as (
  -- an index that makes a constraint belongs to the constraint's entry; an invalid one is no index yet
  select 'INDEX', names.nspname, names.relname
    from names join pg_catalog.pg_index i on i.indexrelid = names.oid
   where i.indisvalid or names.relkind = 'I'
  union all
  select case c.contype when 'f' then 'FK CONSTRAINT' when 'c' then 'CHECK CONSTRAINT'
                        else 'CONSTRAINT' end,
         names.nspname, names.relname || ' ' || c.conname
    from pg_catalog.pg_constraint c join names on names.oid = c.conrelid
   where c.contype in ('f', 'c', 'p', 'u', 'x', 'n')
  union all
  select 'CHECK CONSTRAINT', n.nspname, t.typname || ' ' || c.conname
    from pg_catalog.pg_constraint c
         join pg_catalog.pg_type t on t.oid = c.contypid
         join pg_catalog.pg_namespace n on n.oid = t.typnamespace
   where n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
  union all
  select 'TRIGGER', names.nspname, names.relname || ' ' || t.tgname
    from pg_catalog.pg_trigger t join names on names.oid = t.tgrelid
   where not t.tgisinternal
  union all
  select 'RULE', names.nspname, names.relname || ' ' || r.rulename
    from pg_catalog.pg_rewrite r join names on names.oid = r.ev_class
   where r.rulename <> '_RETURN'
  union all
  select 'POLICY', names.nspname, names.relname || ' ' || p.polname
    from pg_catalog.pg_policy p join names on names.oid = p.polrelid
  union all
  select 'STATISTICS', n.nspname, s.stxname
    from pg_catalog.pg_statistic_ext s
         join pg_catalog.pg_namespace n on n.oid = s.stxnamespace
  union all
  select 'INDEX ATTACH', names.nspname, names.relname
    from names join pg_catalog.pg_inherits h on h.inhrelid = names.oid
   where names.relkind in ('i', 'I')
  union all
  select 'MATERIALIZED VIEW DATA', names.nspname, names.relname
    from names
   where names.relkind = 'm' and names.relispopulated
  union all
  select 'EVENT TRIGGER', '-', e.evtname
    from pg_catalog.pg_event_trigger e
  union all
  select 'PUBLICATION', '-', p.pubname
    from pg_catalog.pg_publication p
  union all
  select 'PUBLICATION TABLE', names.nspname, p.pubname || ' ' || names.relname
    from pg_catalog.pg_publication_rel r
         join pg_catalog.pg_publication p on p.oid = r.prpubid
         join names on names.oid = r.prrelid
  union all
  select 'SUBSCRIPTION', '-', s.subname
    from pg_catalog.pg_subscription s
         join pg_catalog.pg_database d on d.oid = s.subdbid
   where d.datname = pg_catalog.current_database()
)
select descr::text as desc,
       translate(nspname::text, E'\n\r', '  ') as nspname,
       translate(tag::text, E'\n\r', '  ') as tag
  from existing
