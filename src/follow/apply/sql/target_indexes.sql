-- Unique and exclusion indexes of a table of the target.
-- Parameters: $1 oid: the table.
-- Columns: is_primary bool, tells_rows bool (unique, checked at once, valid, of plain columns, without a
--   condition), attnums int2[], operators text[] (of each column, the operator that compares it, as OPERATOR() takes
--   it; null where there is none).
-- Order: the primary key first, then by oid. Servers: 12 and later.
select i.indisprimary as is_primary,
       i.indisunique and i.indimmediate and i.indisvalid and i.indislive and not i.indisexclusion
       and i.indpred is null and i.indexprs is null as tells_rows,
       array(select i.indkey[k - 1]::int2
               from pg_catalog.generate_series(1, i.indnkeyatts) k order by k) as attnums,
       array(select (select pg_catalog.format('%I.%s', n.nspname, o.oprname)
                       from pg_catalog.pg_opclass c
                            join pg_catalog.pg_amop p on p.amopfamily = c.opcfamily
                                 and p.amoplefttype = c.opcintype and p.amoprighttype = c.opcintype
                                 and p.amopstrategy = 3
                            join pg_catalog.pg_operator o on o.oid = p.amopopr
                            join pg_catalog.pg_namespace n on n.oid = o.oprnamespace
                            join pg_catalog.pg_am m on m.oid = c.opcmethod and m.amname = 'btree'
                      where c.oid = i.indclass[k - 1])
               from pg_catalog.generate_series(1, i.indnkeyatts) k order by k) as operators
  from pg_catalog.pg_index i
 where i.indrelid = $1::oid and (i.indisunique or i.indisexclusion)
 order by i.indisprimary desc, i.indexrelid
