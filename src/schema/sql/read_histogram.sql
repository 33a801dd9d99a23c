-- Reads the histogram of an integer column, to cut a table into parts of equal row counts.
-- Parameters: $1 oid: the table, $2 text: the column, quoted.
-- Columns: bounds int8[] (ascending). No row: never analyzed, too few values, or not allowed to look.
-- Servers: 9.6 and later.
select s.histogram_bounds::text::int8[] as bounds
  from pg_catalog.pg_class c
       join pg_catalog.pg_namespace n on n.oid = c.relnamespace
       join pg_catalog.pg_stats s on s.schemaname = n.nspname and s.tablename = c.relname
 where c.oid = $1::oid
   and format('%I', s.attname) = $2::text
   and not s.inherited
   and s.histogram_bounds is not null;
