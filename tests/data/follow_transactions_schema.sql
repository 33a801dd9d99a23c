-- Tables for the transactions of follow_transactions.sql.
create table t (id int primary key, v text);
create table u (id int primary key, v text);
create table part (id int, k int, v text, primary key (id, k)) partition by list (k);
create table part1 partition of part for values in (1); create table part2 partition of part for values in (2);
create table def partition of part default;
create table sub (id int primary key, v text) ; 
create sequence sq increment 5 cycle maxvalue 100;
create table many (id int primary key, v text);
