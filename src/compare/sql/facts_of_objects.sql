-- What there is to say about objects of the other kinds.
-- Parameters: none.
-- Columns: class text, name text[] (raw, outermost first), detail text (arguments and the like), fact text,
--   value text (null: none), same_major bool (the text depends on the server's version: compared between equal
--   majors only).
-- Order: none. Servers: 9.6 and later. Members of extensions are left out.
with member as (
    select classid, objid from pg_catalog.pg_depend where deptype = 'e' and objsubid = 0
), object as (
    select 'pg_catalog.pg_cast'::regclass as classid, oid, 0::oid as owner,
           castcontext::text || castmethod::text as definition from pg_catalog.pg_cast
    union all
    select 'pg_catalog.pg_collation'::regclass, oid, collowner,
           ((to_jsonb(c) - array['oid', 'collname', 'collnamespace', 'collowner', 'collversion', 'collencoding'])
            - case when collprovider = 'c' then array['colllocale', 'colliculocale'] else array['']::text[] end)::text
      from pg_catalog.pg_collation c
    union all
    select 'pg_catalog.pg_conversion'::regclass, oid, conowner, conproc::text || condefault::text from pg_catalog.pg_conversion
    union all
    select 'pg_catalog.pg_operator'::regclass, oid, oprowner,
           concat_ws(' ', oprcode, nullif(oprrest::oid, 0)::regproc, nullif(oprjoin::oid, 0)::regproc,
                     nullif(oprcom, 0)::regoperator, nullif(oprnegate, 0)::regoperator, oprcanmerge, oprcanhash)
      from pg_catalog.pg_operator
    union all
    select 'pg_catalog.pg_opclass'::regclass, oid, opcowner,
           concat_ws(' ', opcintype::regtype, opcdefault, nullif(opckeytype, 0)::regtype) from pg_catalog.pg_opclass
    union all
    select 'pg_catalog.pg_opfamily'::regclass, f.oid, f.opfowner,
           (select string_agg(concat_ws(' ', o.amopstrategy, o.amopopr::regoperator), ', '
                              order by o.amopstrategy, o.amopopr::regoperator::text collate "C")
              from pg_catalog.pg_amop o where o.amopfamily = f.oid)
           || ' ' || (select string_agg(concat_ws(' ', o.amprocnum, o.amproc), ', '
                                        order by o.amprocnum, o.amproc::text collate "C")
              from pg_catalog.pg_amproc o where o.amprocfamily = f.oid)
      from pg_catalog.pg_opfamily f
    union all
    select 'pg_catalog.pg_ts_config'::regclass, c.oid, c.cfgowner,
           (select string_agg(concat_ws(' ', m.maptokentype, m.mapseqno, m.mapdict::regdictionary), ', '
                              order by m.maptokentype, m.mapseqno)
              from pg_catalog.pg_ts_config_map m where m.mapcfg = c.oid)
      from pg_catalog.pg_ts_config c
    union all
    select 'pg_catalog.pg_ts_dict'::regclass, oid, dictowner, dictinitoption from pg_catalog.pg_ts_dict
    union all
    select 'pg_catalog.pg_ts_parser'::regclass, oid, 0::oid, concat_ws(' ', prsstart, prstoken, prsend) from pg_catalog.pg_ts_parser
    union all
    select 'pg_catalog.pg_ts_template'::regclass, oid, 0::oid, concat_ws(' ', tmplinit, tmpllexize) from pg_catalog.pg_ts_template
    union all
    select 'pg_catalog.pg_language'::regclass, oid, lanowner, lanpltrusted::text from pg_catalog.pg_language
    union all
    select 'pg_catalog.pg_foreign_data_wrapper'::regclass, oid, fdwowner,
           (select string_agg(o, ', ' order by o collate "C") from unnest(fdwoptions) o) from pg_catalog.pg_foreign_data_wrapper
    union all
    select 'pg_catalog.pg_foreign_server'::regclass, oid, srvowner,
           (select string_agg(o, ', ' order by o collate "C") from unnest(srvoptions) o) from pg_catalog.pg_foreign_server
    union all
    select 'pg_catalog.pg_event_trigger'::regclass, oid, evtowner,
           concat_ws(' ', evtevent, evtfoid::regproc, evtenabled, evttags) from pg_catalog.pg_event_trigger
    union all
    select 'pg_catalog.pg_am'::regclass, oid, 0::oid, amhandler::text || amtype::text from pg_catalog.pg_am
)
select i.type as class, array[i.identity] as name, '' as detail, f.fact, f.value, false as same_major
  from object o
       cross join lateral pg_catalog.pg_identify_object(o.classid, o.oid, 0) i
       cross join lateral (values
         ('owner', pg_catalog.pg_get_userbyid(nullif(o.owner, 0))::text),
         ('definition', o.definition),
         ('comment', pg_catalog.obj_description(o.oid, o.classid::text::name))
       ) f(fact, value)
 where o.oid >= 16384
   and coalesce(i.schema, '') !~ '^pg_' and coalesce(i.schema, '') <> 'information_schema'
   and not exists (select from member m where m.classid = o.classid and m.objid = o.oid);
