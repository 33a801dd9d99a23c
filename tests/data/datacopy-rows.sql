-- Rows for the tables of datacopy.sql, with keys and triggers off.
set session_replication_role = replica;
alter table shop.orders disable trigger always; alter table shop.line disable trigger replica;
insert into shop.customer select i, 'customer ' || i, (array['glad', 'sad', 'so so'])[1 + i % 3]::shop.mood, 1 + i % 9
  from generate_series(1, 3000) i;
insert into shop.orders (customer, cents) select 1 + i % 3000, i from generate_series(1, 6000) i;
insert into shop.line select i, n, 'thing' from generate_series(1, 6000) i, generate_series(1, 2) n;
insert into shop.label select i, 1, repeat('x', i % 50) from generate_series(1, 2000) i;
insert into shop.label values (null, null, 'neither');
insert into shop.note (order_id, no) select i, 2 from generate_series(1, 500) i;
insert into shop.note (order_id, no) values (77, null);
insert into shop.person select i, nullif(i / 2, 0) from generate_series(1, 1000) i;
insert into shop.egg select i, i from generate_series(1, 300) i;
insert into shop.hen select i, i from generate_series(1, 300) i;
insert into shop.ring1 select i, i from generate_series(1, 200) i;
insert into shop.ring2 select i, i from generate_series(1, 200) i;
insert into shop.ring3 select i, i from generate_series(1, 200) i;
-- a key that is NOT VALID over rows that break it
insert into shop.loose select i, 100000 + i from generate_series(1, 50) i;
insert into shop.same1 select i, i from generate_series(1, 50) i;
insert into shop.same2 select i, i from generate_series(1, 50) i;
insert into "odd schema"."Quoted ""table""" select i, i from generate_series(1, 50) i;
insert into shop.measure select i, i % 200, 1 + i % 3000 from generate_series(1, 4000) i;
insert into shop.reading select i, i, i % 200 from generate_series(1, 4000) i;
insert into shop.both select i, i, i, i % 200 from generate_series(1, 4000) i;
insert into shop.tree select i, 1 + i % 2, nullif(i / 2, 0), 1 + (i / 2) % 2 from generate_series(1, 400) i;
insert into shop.by_default (t) select 'd' from generate_series(1, 70) i;
insert into shop.bare default values; insert into shop.bare default values;
insert into shop.quick select i, 'q' from generate_series(1, 400) i;
insert into shop.base select i, 'b' from generate_series(1, 30) i;
insert into shop.heir select i, 'h', i from generate_series(31, 60) i;
insert into audit.trail select i, i from generate_series(1, 40) i;
insert into audit.old_logs select i from generate_series(1, 10) i;
insert into audit.temp_1 select i from generate_series(1, 10) i;
do $$ begin for i in 1..24 loop
    execute format('insert into audit.plain_%s select i, %L from generate_series(1, %s) i', i, i, i * 20);
end loop; end $$;
select setval('shop.lone', 4711), setval('audit.other', 66, false);
alter table shop.orders enable always trigger always; alter table shop.line enable replica trigger replica;
