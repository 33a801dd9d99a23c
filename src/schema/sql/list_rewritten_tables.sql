-- Lists the tables whose file is not the one that the snapshot saw any more: truncated or rewritten since, so
-- that their size says nothing about the rows of the snapshot. To be run after the sizes were read.
-- Parameters: none.
-- Columns: oid oid.
-- Order: none. Servers: 9.6 and later. pg_relation_filenode() shows the current file, pg_class the snapshot's.
select c.oid
  from pg_catalog.pg_class c
 where c.relkind = 'r'
   and c.relpersistence in ('p', 'u')
   and c.relfilenode <> 0
   and pg_catalog.pg_relation_filenode(c.oid) is distinct from c.relfilenode;
