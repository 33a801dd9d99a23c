-- Lists the tables made WITH OIDS, whose oids are not copied. No other statement of this name exists, as
-- no newer server has such tables (this one finds none there).
-- Parameters: none.
-- Columns: oid oid, qname text (quoted), reason text (oids).
-- Order: qname. Servers: 9.6 to 11.
select c.oid, format('%I.%I', n.nspname, c.relname) as qname, 'oids' as reason
  from pg_catalog.pg_class c
       join pg_catalog.pg_namespace n on n.oid = c.relnamespace
 where c.relkind in ('r', 'p')
   and c.relpersistence in ('p', 'u')
   and n.nspname !~ '^pg_'
   and n.nspname <> 'information_schema'
   and n.nspname <> 'pgcopydb'
   and to_jsonb(c) ->> 'relhasoids' = 'true'
 order by qname;
