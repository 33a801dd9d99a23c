-- Changes of the tables of follow_schema.sql; each statement is a transaction unless it says otherwise.
insert into t select i, 'v'||i, '\x00ff', i/7.0, i*1e300, now(), '{"a": "null"}', array[i,null], 'null' from generate_series(1,100) i;
update t set v = 'x''y"\z'||E'\n\t', e = null where id < 10;
update t set id = id + 1000 where id > 95;
delete from t where id between 20 and 30;
begin; insert into t (id, v) values (5000, 'a'); update t set v = 'b' where id = 5000; delete from t where id = 5000; insert into t (id, v) values (5000, 'c'); commit;
insert into gen (a, t) values (1, 'x'), (2, 'y'); update gen set t = 'zz' where a = 1; update gen set a = 10 where a = 2; delete from gen where a = 1;
insert into ident (v) values ('a'), ('b'), ('c'); update ident set v = 'z' where id = 2; delete from ident where id = 3;
insert into ident overriding system value values (50, 60, 'q'); update ident set id = default where id = 1;
update ident set other = default where id = 2;
insert into fullt select i % 3, case when i % 2 = 0 then 'x' end, case when i < 5 then 1.0 else 1.00 end, '{"a":1}', '(1,2)', '2020-01-01 00:00:00+03' from generate_series(1, 10) i;
update fullt set b = 'upd' where ctid = (select ctid from fullt where b is null limit 1);
delete from fullt where ctid = (select ctid from fullt where a = 1 and n::text = '1.00' limit 1);
insert into fullt values (1, 'dup', 1.0, '{}', '(0,0)', null), (1, 'dup', 1.0, '{}', '(0,0)', null); delete from fullt where ctid = (select min(ctid) from fullt where b = 'dup');
insert into idx select i, 'k'||i, 'v' from generate_series(1, 20) i; update idx set v = 'w' where a = 3; update idx set a = a + 100 where a = 4; delete from idx where a = 5;
insert into "Odd ""x" values (1, 'null'), (2, null), (3, 'unchanged-toast-datum'); update "Odd ""x" set "a.b[c]:d" = ' new-tuple: x' where "new-tuple: z" = 2; update "Odd ""x" set "new-tuple: z" = 9 where "new-tuple: z" = 1;
insert into two select i, j, i||'-'||j from generate_series(1, 10) i, generate_series(1, 10) j; delete from two where a = 3; update two set v = 'u' where b = 4; update two set a = a + 100 where b = 5;
insert into allkey select i, i from generate_series(1, 10) i; update allkey set b = b + 1 where a > 5; update allkey set b = b where a = 1; delete from allkey where a = 2;
insert into part select i, 'v' from generate_series(1, 200, 10) i; update part set id = id + 95 where id < 20; delete from part where id = 31; update part set v = 'x' where id > 100;
insert into ref values (1, 1), (2, 2);
insert into types (m, c, d, u, i, iv, bt, vb, ch, nm, q, x, r, mr, tsv, mo, arr, am, dt, tm, ok, bx, hs, lsn, byt, doc) values ('sad', '(1,"a,b")', 5, gen_random_uuid(), '10.0.0.1/8', '1 mon 2 days', '10101', '101', 'ab', 'nm', 'é', '<a>x</a>', '[1,5)', '{[1,2),[5,6)}', 'fat cat:3', '12.30', '{"a,b","c\"d",NULL,"null"}', '{sad,ok}', '2020-02-29', '12:00', true, '(1,1),(0,0)', '1 2 3', '0/1', '\x5c00', '{"a":"\u00e9"}');
insert into types (q, ch, arr) values ('\', '', '{}'), (E'\'', '  ', '{{1,2},{3,4}}'); update types set iv = '-1 day', ok = false, am = null where id = 1; update types set mo = '-0.01', bt = B'00000';
-- Values that change places within a transaction.
insert into uq values (1, 1), (2, 2), (3, 3); begin; update uq set u = 99 where id = 1; update uq set u = 1 where id = 2; update uq set u = 2 where id = 1; commit;
begin; delete from uq where id = 3; insert into uq values (4, 3); commit;
insert into swap values (1, 1), (2, 2); begin; update swap set u = 2 where id = 1; update swap set u = 1 where id = 2; commit;
-- Out of line, and not sent again when another column changes.
insert into big select 1, string_agg(md5(i::text), '') from generate_series(1, 100000) i; update big set id = 2; update big set t = 's'||t;
begin; savepoint a; insert into t (id) values (7777); rollback to a; insert into t (id) values (7778); commit;
begin; truncate ref, t restart identity; insert into t (id, v) values (1, 'after'); commit;
-- One value in two texts.
insert into q values (1.0, 'a'), (2.0, 'b'); begin; update q set v = 'c' where id = 1; delete from q where id = 2.00; insert into q values (2.00, 'd'); commit;
truncate part2; insert into part values (500, 'z');
