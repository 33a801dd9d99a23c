-- A publication as it is now: its options and its members.
-- Parameters: $1 text: its name.
-- Columns: publication text (JSON object of the row, without the owner), members text (JSON array of
--   {oid}, by oid). No row: no such publication.
-- Servers: 10 and later.
select (to_jsonb(p) - 'pubowner')::text as publication,
       coalesce((select jsonb_agg(jsonb_build_object('oid', r.prrelid::int8)
                                  order by r.prrelid)
                   from pg_catalog.pg_publication_rel r where r.prpubid = p.oid), '[]')::text as members
  from pg_catalog.pg_publication p
 where p.pubname = $1;
