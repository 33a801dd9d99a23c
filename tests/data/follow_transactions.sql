-- Transactions of every make on the tables of follow_transactions_schema.sql; each statement is one unless it says otherwise.
begin; insert into t values (1, 'p'); prepare transaction 'follow_one'; insert into u values (1, 'between'); commit prepared 'follow_one';
begin; insert into t values (2, 'p'); prepare transaction 'follow_two'; insert into u values (2, 'between'); rollback prepared 'follow_two';
begin; insert into t values (3, 'a'); savepoint a; insert into t values (4, 'b'); savepoint b; insert into t values (5, 'c'); rollback to b; insert into t values (6, 'd'); release a; savepoint c; delete from t where id = 3; rollback to c; commit;
begin; insert into many select g, repeat('x', 200) from generate_series(1, 30000) g; savepoint a; update many set v = 'y' where id <= 10000; rollback to a; delete from many where id > 20000; commit;
begin; insert into many select g, repeat('x', 200) from generate_series(100001, 140000) g; rollback;
do $$ begin for i in 1..500 loop begin insert into sub values (i, 'v'); if i % 3 = 0 then raise 'no'; end if; exception when others then null; end; end loop; end $$;
insert into part values (1, 1, 'a'), (2, 2, 'b'), (3, 3, 'c'); update part set k = 2 where id = 1; update part set k = 7 where id = 2; 
begin; alter table part detach partition part2; update part2 set v = 'detached'; alter table part attach partition part2 for values in (2); commit;
begin; truncate part; insert into part values (1, 1, 'a'), (2, 2, 'b'); commit; truncate part1; begin; truncate t, u; rollback; 
begin; create table tmp2 (like t including all); insert into tmp2 select * from t; drop table tmp2; insert into t values (50, 'after'); commit;
begin; alter table t add column n int default 5; insert into t values (60, 'x', 6); update t set n = 7 where id = 60; rollback; insert into t values (61, 'y');
begin; create temp table tt (a int); insert into tt values (1); insert into t values (62, 'z'); commit;
begin; truncate many; insert into many values (1, 'q'); savepoint s; truncate many; rollback to s; insert into many values (2, 'r'); commit;
begin; delete from many; insert into many select g, 'n' from generate_series(1, 7000) g; update many set id = -id; update many set v = v || id where id % 2 = 0; delete from many where id % 5 = 0; commit;
select pg_logical_emit_message(true, 'x', 'y'), pg_logical_emit_message(false, 'x', E'multi\nline');
vacuum full many; cluster t using t_pkey; reindex table t; insert into t values (70, 'q');
select nextval('sq') from generate_series(1, 30);
merge into t using (values (1, 'm'), (99, 'n')) s(id, v) on t.id = s.id when matched then update set v = s.v when not matched then insert values (s.id, s.v);
insert into t values (1, 'c') on conflict (id) do update set v = 'oc'; insert into t values (1, 'c') on conflict do nothing;
select pg_switch_wal(); begin; insert into u values (100, 'x'); select pg_switch_wal(); insert into u values (101, 'x'); select pg_switch_wal(); insert into u values (102, 'x'); commit;
copy u from stdin;
200	a\nb\\
201	\N
\.
with d as (delete from u where id >= 200 returning *) insert into u select id + 1000, v from d;
