//! Clones between PostgreSQL majors; `ci/versions` does the same with the whole sample.

use crate::support::{Cluster, Pair, WorkDir, run};

const SQL: &str = "
    create table t (id integer primary key, v text, d date default current_date);
    insert into t select i, md5(i::text), date '2024-01-01' + i from generate_series(1, 3000) i;
    create index t_v on t (lower(v));
    create sequence s; select nextval('s') from generate_series(1, 5);
    create view w as select id, v from t where id > 5;
    create function f(integer) returns integer language sql immutable as 'select $1 + 1';
    select lo_from_bytea(50000, 'content')";

#[test]
fn an_older_server_is_cloned_into_ours() {
    let Some(old) = Cluster::with_version("13") else {
        return;
    };
    old.create_database("db", "");
    old.sql("db", SQL);
    let (pair, work) = (Pair::with(""), WorkDir::new());
    let (source, target) = (old.uri("db"), pair.target());
    let split = "--split-tables-larger-than=20kB";
    run(&[
        "clone",
        split,
        "--source",
        &source,
        "--target",
        &target,
        "--dir",
        &work.dir(),
    ])
    .exits(0);
    let facts = "select count(*), md5(string_agg(row(t.*)::text, ' ' order by id)) from t";
    assert_eq!(old.sql("db", facts), pair.in_target(facts));
    assert_eq!(
        pair.in_target("select last_value, md5(lo_get(50000)) from s, w limit 1"),
        {
            old.sql(
                "db",
                "select last_value, md5(lo_get(50000)) from s, w limit 1",
            )
        }
    );
}
