-- Lists the units that the target proves to have taken place.
-- Parameters: $1 text uuid of the work directory
-- Result: object int8, part int8, plan int8, rows int8, none null
-- Order: none. Versions: 12 and newer (target).
select object, part, plan, rows from pgcopydb.progress where work = $1 and kind = 'copy'
