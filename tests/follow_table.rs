//! Progress in a table of the target, where the role may not use replication origins: each transaction once.

use crate::cutover::cutover;
use crate::follow_apply::{assert_same_rows, catchup, kill_at_any_moment};
use crate::follow_live::start_follow;
use crate::support::follow::{Follow, PLUGINS};
use crate::support::program::start;
use crate::support::{PATIENCE, within};

const SCHEMA: &str =
    "create table t (id int primary key, v text); create table log (n int, v text);";

/// A follow into a database of a role that may do nothing but keep triggers quiet.
fn by_owner(plugin: &'static str, schema: &str) -> Option<Follow> {
    let mut follow = Follow::bare(plugin, schema)?;
    let (role, db) = (format!("{}_owner", follow.slot), follow.pair.db.clone());
    follow.pair.in_target(&format!(
        "create role {role} login; grant set on parameter session_replication_role to {role};
         alter database {db} owner to {role}; set role {role}; {schema}"
    ));
    follow.role = Some(role);
    Some(follow)
}

fn set_up(follow: &Follow) {
    follow
        .setup(&["--allow-no-identity"])
        .exits(0)
        .says(&["table pgcopydb.cdc_applied"]);
    follow.command(&["sentinel", "set", "apply"], &[]).exits(0);
}

fn change(follow: &Follow, n: i32) {
    follow.pair.in_source(&format!(
        "begin; insert into t values ({n}, 'one'), ({n} + 1, 'two'); insert into log values ({n}, 'a'), ({n}, 'a'); commit;
         update t set v = v || '!' where id = {n}; delete from t where id = {n} + 1;
         insert into log select i, repeat('x', 50) from generate_series(1, 8000) i;"
    ));
}

fn progress(follow: &Follow) -> String {
    follow.pair.in_target(&format!(
        "select end_lsn from pgcopydb.cdc_applied where name = '{}'",
        follow.slot
    ))
}

#[test]
fn changes_arrive_once_without_a_right_on_origins_with_each_plugin() {
    for plugin in PLUGINS {
        let Some(follow) = by_owner(plugin, SCHEMA) else {
            continue;
        };
        set_up(&follow);
        let origins = "select count(*) from pg_replication_origin where roname = '{}'";
        let origins = origins.replace("{}", &follow.slot);
        assert_eq!(follow.pair.in_target(&origins), "0");
        assert_eq!(progress(&follow), follow.sentinel("--startpos"));
        change(&follow, 1);
        follow.receive_all();
        catchup(&follow, &[]).exits(0);
        assert_same_rows(&follow.pair);
        let reached = progress(&follow);
        catchup(&follow, &[]).exits(0).says(&["previously reached"]);
        assert_eq!(progress(&follow), reached);
        // Set up once more, and on from there.
        follow.setup(&["--allow-no-identity", "--resume"]).exits(0);
        change(&follow, 10);
        follow.receive_all();
        catchup(&follow, &[]).exits(0);
        assert_same_rows(&follow.pair);
        assert_ne!(progress(&follow), reached);
        follow.cleanup(&[]).exits(0);
        let left = "select to_regnamespace('pgcopydb') is null";
        assert_eq!(follow.pair.in_target(left), "t");
        follow.cleanup(&[]).exits(0);
    }
}

#[test]
fn dl_03_47_apply_that_is_killed_at_any_moment_moves_the_row_with_its_transactions() {
    for plugin in PLUGINS {
        let Some(follow) = by_owner(plugin, "") else {
            continue;
        };
        kill_at_any_moment(&follow);
    }
}

#[test]
fn a_follow_with_its_progress_in_a_table_is_cut_over() {
    let follow = by_owner("pgoutput", SCHEMA).unwrap();
    set_up(&follow);
    let run = start_follow(&follow, &["--allow-no-identity"]);
    change(&follow, 1);
    let arrived = within(PATIENCE, || {
        follow.pair.in_target("select count(*) from log") == "8002"
    });
    assert!(arrived, "{}", run.said());
    change(&follow, 20);
    cutover(&follow, &[])
        .wait()
        .exits(0)
        .says(&["Cutover is complete"]);
    run.wait().exits(0);
    assert_same_rows(&follow.pair);
    follow.cleanup(&[]).exits(0);
}

#[test]
fn dl_03_a_row_of_progress_that_was_removed_or_moved_on_stops_apply_before_anything_is_there_twice()
{
    let follow = by_owner("test_decoding", SCHEMA).unwrap();
    set_up(&follow);
    change(&follow, 1);
    follow.receive_all();
    // Another process, which knows nothing of the lock, has applied up to the end.
    follow.pair.in_target(
        "create function ahead() returns trigger language plpgsql as $$ begin new.end_lsn = 'FF/0'; return new; end $$;
         create trigger ahead before update on pgcopydb.cdc_applied for each row execute function ahead();
         alter table pgcopydb.cdc_applied enable always trigger ahead; insert into log values (0, 'mark')",
    );
    catchup(&follow, &[])
        .exits(3)
        .says(&["another process moved it"]);
    let is_once = "select count(*) <= 2 from log where n = 1 and v = 'a'";
    assert_eq!(follow.pair.in_target(is_once), "t");
    follow.pair.in_target("delete from pgcopydb.cdc_applied");
    // The origin of that name does not exist either.
    catchup(&follow, &[]).exits(7);
    follow
        .setup(&["--allow-no-identity", "--resume"])
        .exits(3)
        .says(&["changes were applied to it before"]);
}

#[test]
fn a_role_that_may_neither_use_origins_nor_make_a_table_is_refused_before_a_slot_is_made() {
    let follow = by_owner("pgoutput", SCHEMA).unwrap();
    let (db, role) = (&follow.pair.db, follow.role.clone().unwrap());
    follow.pair.in_target(&format!(
        "alter database {db} owner to postgres; revoke all on database {db} from {role}"
    ));
    follow
        .setup(&["--allow-no-identity"])
        .exits(7)
        .says(&["GRANT CREATE ON DATABASE"]);
    let slots = format!(
        "select count(*) from pg_replication_slots where slot_name = '{}'",
        follow.slot
    );
    assert_eq!(follow.pair.in_source(&slots), "0");
}

#[test]
fn a_clone_that_follows_needs_no_right_on_origins() {
    let follow = by_owner("pgoutput", "").unwrap();
    follow.pair.in_source(SCHEMA);
    follow
        .pair
        .in_source("insert into t select i, 'old' from generate_series(100, 200) i");
    let (source, target, dir) = (follow.pair.source(), follow.target(), follow.work.dir());
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
        "pgoutput",
        "--allow-no-identity",
        "--no-owner",
        "--no-acl",
    ]);
    let applies = || follow.sentinel_or_none("--apply").as_deref() == Some("enabled");
    assert!(within(PATIENCE * 3, applies), "{}", run.said());
    change(&follow, 1);
    follow.end_here();
    run.wait().exits(0);
    assert_same_rows(&follow.pair);
    assert_ne!(progress(&follow), follow.sentinel("--startpos"));
    follow.cleanup(&[]).exits(0);
}
