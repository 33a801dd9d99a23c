//! Filters of a follow, and tables that come after the copy: what is left out never arrives, all else does.

use crate::follow_apply::{assert_same_rows, catchup, ready};
use crate::follow_live::start_follow;
use crate::support::follow::{Follow, PLUGINS};
use crate::support::program::{run, start};
use crate::support::{PATIENCE, within};

const SCHEMA: &str = "create table kept (id int primary key, v text);
    create table secret (id int primary key, v text); create table \"se c.ret\" (id int primary key, v text);
    create schema hidden; create table hidden.log (n int);
    create table part (id int primary key, v text) partition by range (id);
    create table part1 partition of part for values from (0) to (100);
    create table part2 partition of part for values from (100) to (200);";
const FILTERS: &str = "[exclude-schema]\nhidden\n\n[exclude-table]\npublic.secret\npublic.\"se c.ret\"\n\n[exclude-table-data]\npublic.part2\n";

fn count(follow: &Follow, table: &str) -> String {
    follow
        .pair
        .in_target(&format!("select count(*) from {table}"))
}

#[test]
fn what_filters_leave_out_never_arrives_and_all_else_does_with_each_plugin() {
    for plugin in PLUGINS {
        let Some(follow) = Follow::bare(plugin, SCHEMA) else {
            continue;
        };
        follow.pair.in_target(SCHEMA);
        let filters = follow.work.file("filters.ini", FILTERS);
        // A table without identity is no trouble when it is left out.
        let run = start_follow(&follow, &["--filters", &filters]);
        let is_set_up = || follow.work.path().join("cdc/origin").exists();
        assert!(within(PATIENCE, is_set_up), "{}", run.said());
        follow.command(&["sentinel", "set", "apply"], &[]).exits(0);
        follow.pair.in_source(
            "begin; insert into kept values (1, 'a'); insert into secret values (1, 'b');
                    insert into \"se c.ret\" values (1, 'c'); insert into hidden.log values (1);
                    insert into part values (1, 'd'), (150, 'e'); commit;
             update part set id = 50 where id = 1; update secret set v = 'x'; delete from hidden.log;
             begin; truncate secret, kept; insert into kept values (2, 'z'); commit;
             insert into secret select i, 'many' from generate_series(10, 3000) i;
             insert into part select i, 'f' from generate_series(60, 99) i",
        );
        follow.end_here();
        run.wait().exits(0);
        for table in ["kept", "part1"] {
            let sum = format!("select md5(string_agg(t::text, ' ' order by id)) from {table} t");
            let (source, target) = (follow.pair.in_source(&sum), follow.pair.in_target(&sum));
            assert_eq!(source, target, "{plugin} {table}");
        }
        for table in ["secret", "\"se c.ret\"", "hidden.log", "part2"] {
            assert_eq!(count(&follow, table), "0", "{plugin} {table}");
        }
        let lines = follow.lines();
        let is_secret = lines.iter().any(|line| line.to_string().contains("many"));
        // Only test_decoding has no way to be told.
        assert_eq!(is_secret, plugin == "test_decoding", "{plugin}");
        if plugin == "pgoutput" {
            let members = format!(
                "select string_agg(tablename, ' ' order by tablename) from pg_publication_tables where pubname = '{}'",
                follow.slot
            );
            assert_eq!(follow.pair.in_source(&members), "kept part1");
        }
        let other = follow
            .work
            .file("other.ini", "[exclude-table]\npublic.kept\n");
        start_follow(&follow, &["--resume", "--filters", &other])
            .wait()
            .exits(3)
            .says(&["set up with other filters"]);
        // The same ones again, and none: those of the setup count.
        for more in [&["--resume", "--filters", &filters][..], &["--resume"][..]] {
            follow.pair.in_source("insert into kept select max(id) + 1, 'again' from kept; update secret set v = v || '.'");
            follow.end_here();
            start_follow(&follow, more).wait().exits(0);
            assert_eq!(
                count(&follow, "kept"),
                follow.pair.in_source("select count(*) from kept")
            );
            assert_eq!(count(&follow, "secret"), "0");
        }
        follow.cleanup(&[]).exits(0);
    }
}

#[test]
fn a_copy_with_other_filters_than_those_of_its_slot_is_refused() {
    let follow = Follow::bare("pgoutput", SCHEMA).unwrap();
    let (source, target, dir) = (follow.pair.source(), follow.target(), follow.work.dir());
    let filters = follow.work.file("filters.ini", FILTERS);
    let holder = start(&[
        "snapshot",
        "--follow",
        "--dir",
        &dir,
        "--source",
        &source,
        "--slot-name",
        &follow.slot,
        "--plugin",
        "pgoutput",
        "--filters",
        &filters,
    ]);
    let is_held = || follow.work.path().join("snapshot").exists();
    assert!(within(PATIENCE, is_held), "{}", holder.said());
    let clone = |more: &[&str]| {
        let mut words = vec![
            "clone", "--dir", &dir, "--source", &source, "--target", &target,
        ];
        words.extend(more);
        run(&words)
    };
    clone(&["--resume"])
        .exits(3)
        .says(&["made with other filters"]);
    assert_eq!(
        follow.pair.in_target("select to_regclass('kept') is null"),
        "t"
    );
    clone(&["--resume", "--filters", &filters]).exits(0);
    assert_eq!(
        follow
            .pair
            .in_target("select to_regclass('secret') is null"),
        "t"
    );
    drop(holder);
    follow.cleanup(&[]).exits(0);
}

#[test]
fn a_clone_that_follows_publishes_what_its_filters_keep() {
    for plugin in PLUGINS {
        let Some(follow) = Follow::bare(plugin, SCHEMA) else {
            continue;
        };
        let (source, target, dir) = (follow.pair.source(), follow.target(), follow.work.dir());
        let filters = follow.work.file("filters.ini", FILTERS);
        let run = start(&[
            "clone",
            "--follow",
            "--dir",
            &dir,
            "--source",
            &source,
            "--target",
            &target,
            "--slot-name",
            &follow.slot,
            "--origin",
            &follow.slot,
            "--plugin",
            plugin,
            "--filters",
            &filters,
        ]);
        let applies = || follow.sentinel_or_none("--apply").as_deref() == Some("enabled");
        assert!(within(PATIENCE * 3, applies), "{}", run.said());
        follow.pair.in_source(
            "insert into kept values (1, 'a'); insert into secret values (1, 'b'); insert into hidden.log values (1);
             insert into part values (1, 'd'), (150, 'e'); update part set id = 160 where id = 1;
             update part set id = 7 where id = 150;",
        );
        follow.end_here();
        run.wait().exits(0);
        assert_eq!(count(&follow, "kept"), "1");
        assert_eq!(
            follow
                .pair
                .in_target("select string_agg(id::text, ' ') from part"),
            "7"
        );
        assert_eq!(
            follow
                .pair
                .in_target("select to_regclass('secret') is null"),
            "t"
        );
        follow.cleanup(&[]).exits(0);
    }
}

#[test]
fn a_table_made_after_the_copy_is_told_and_stops_nothing_with_each_plugin() {
    for plugin in PLUGINS {
        let Some(follow) = ready(plugin, "create table t (id int primary key, v text)", &[]) else {
            continue;
        };
        follow.pair.in_source(
            "insert into t values (1, 'a'); create table fresh (id int primary key, v text);
             begin; insert into fresh values (1, 'x'); insert into t values (2, 'b'); update fresh set v = 'y'; commit;
             create table gone (id int primary key); insert into gone values (1); drop table gone;
             insert into fresh select i, 'many' from generate_series(10, 9000) i; truncate fresh; insert into t values (3, 'c')",
        );
        follow.receive_all();
        let out = catchup(&follow, &[]).exits(0);
        if plugin != "pgoutput" {
            out.says(&["\"public\".\"fresh\" was made on the source after the copy"]);
        }
        let rows = "select string_agg(t::text, ' ' order by id) from t";
        assert_eq!(follow.pair.in_target(rows), follow.pair.in_source(rows));
        catchup(&follow, &[]).exits(0).says(&["previously reached"]);
        follow.cleanup(&[]).exits(0);
    }
}

#[test]
fn dl_18_a_table_that_was_renamed_on_the_source_stops_apply_until_the_target_follows() {
    for plugin in PLUGINS {
        let Some(follow) = ready(plugin, "create table t (id int primary key, v text)", &[]) else {
            continue;
        };
        follow
            .pair
            .in_source("insert into t values (1, 'a'); alter table t rename to t2; insert into t2 values (2, 'b')");
        follow.receive_all();
        let out = catchup(&follow, &[]);
        assert_ne!(out.code, 0, "{}", out.stderr);
        out.says(&[
            "\"public\".\"t\" of the copy under another name",
            "Rename the table",
        ]);
        assert_eq!(count(&follow, "t"), "1");
        follow.pair.in_target("alter table t rename to t2");
        catchup(&follow, &[]).exits(0);
        assert_same_rows(&follow.pair);
        follow.cleanup(&[]).exits(0);
    }
}

#[test]
fn a_partition_made_after_the_copy_goes_to_its_root_with_each_plugin() {
    let schema = "create table part (id int primary key, v text) partition by range (id);
        create table part1 partition of part for values from (0) to (100);";
    for plugin in PLUGINS {
        let Some(follow) = ready(plugin, schema, &[]) else {
            continue;
        };
        follow
            .pair
            .in_target("create table others partition of part default");
        follow.pair.in_source(
            "insert into part values (1, 'a'); create table part2 partition of part for values from (100) to (200);
             insert into part values (2, 'b'), (150, 'c'); update part set id = 160 where id = 2; delete from part where id = 150",
        );
        follow.receive_all();
        catchup(&follow, &[]).exits(0);
        let rows = "select string_agg(part::text, ' ' order by id) from part";
        assert_eq!(
            follow.pair.in_target(rows),
            follow.pair.in_source(rows),
            "{plugin}"
        );
        follow.cleanup(&[]).exits(0);
    }
}

#[test]
fn a_partition_beside_one_that_is_left_out_is_refused_as_no_publication_has_it() {
    let follow = Follow::bare("pgoutput", SCHEMA).unwrap();
    follow.pair.in_target(SCHEMA);
    let filters = follow.work.file("filters.ini", FILTERS);
    let run = start_follow(&follow, &["--filters", &filters]);
    let is_set_up = || follow.work.path().join("cdc/origin").exists();
    assert!(within(PATIENCE, is_set_up), "{}", run.said());
    follow.command(&["sentinel", "set", "apply"], &[]).exits(0);
    follow.pair.in_source(
        "insert into part values (1, 'a'); create table part3 partition of part for values from (200) to (300);
         insert into part values (250, 'b')",
    );
    follow.end_here();
    run.wait()
        .exits(6)
        .says(&["\"public\".\"part3\"", "is in no publication"]);
    start_follow(&follow, &["--resume"]).wait().exits(6);
    follow.cleanup(&[]).exits(0);
}
