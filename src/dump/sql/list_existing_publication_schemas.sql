-- Purpose:  which schemas the target's publications hold already, named as pg_restore's list names them.
-- Params:   none
-- Columns:  desc text (kind of entry), nspname text, tag text; none is null
-- Order:    none
-- Versions: 15 and newer; older servers lack pg_publication_namespace
select 'PUBLICATION TABLES IN SCHEMA'::text as desc,
       translate(n.nspname::text, E'\n\r', '  ') as nspname,
       translate(p.pubname || ' ' || n.nspname, E'\n\r', '  ') as tag
  from pg_catalog.pg_publication_namespace s
       join pg_catalog.pg_publication p on p.oid = s.pnpubid
       join pg_catalog.pg_namespace n on n.oid = s.pnnspid
