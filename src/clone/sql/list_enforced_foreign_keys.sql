-- Lists foreign keys between tables of a copy that are enforced for the rows that it writes.
-- Parameters: $1 text[] schemas and $2 text[] tables, of the same length (raw names).
-- Columns: shown text (names for people), statement text (drops it).
-- Order: shown. Servers: 9.6 and later. One of a partitioned table counts once, for the table itself; one
-- whose triggers the user has disabled is not enforced.
with chosen as (
    select c.oid
      from unnest($1::text[], $2::text[]) as w (nspname, relname)
           join pg_catalog.pg_namespace n on n.nspname = w.nspname
           join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = w.relname
)
select pg_catalog.quote_ident(k.conname) || ' on ' || k.conrelid::regclass::text as shown,
       format('alter table %s drop constraint %I;', k.conrelid::regclass, k.conname) as statement
  from pg_catalog.pg_constraint k
 where k.contype = 'f'
   and coalesce(to_jsonb(k) ->> 'conparentid', '0') = '0'
   and (k.conrelid in (select oid from chosen) or k.conrelid in
           (select i.inhparent from pg_catalog.pg_inherits i where i.inhrelid in (select oid from chosen)))
   and k.confrelid <> k.conrelid
   and (k.confrelid in (select oid from chosen) or k.confrelid in
           (select i.inhparent from pg_catalog.pg_inherits i where i.inhrelid in (select oid from chosen)))
   and not exists (select from pg_catalog.pg_trigger t
                    where t.tgconstraint = k.oid and t.tgrelid = k.conrelid and t.tgenabled = 'D')
 order by 1;
