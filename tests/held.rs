//! The snapshot that `pgcopydb snapshot` holds: once in a directory, for other commands, until its end.

use nix::sys::signal::Signal::{SIGINT, SIGTERM};

use crate::steps::kill_at;
use crate::support::{Pair, WorkDir};

#[test]
fn a_snapshot_is_held_once_in_a_directory_and_ends_well() {
    let (pair, work) = (Pair::with("create table t (id integer)"), WorkDir::new());
    let (holder, id) = pair.hold(&work, &["--json"]);
    pair.does(&work, "snapshot", &[])
        .exits(3)
        .says(&[&holder.pid().to_string()]);
    pair.clone(&work, &["--restart"]).exits(3);
    // another snapshot than the directory's is refused
    pair.does(&work, "dump schema", &["--snapshot", "00000003-0000FFFF-1"])
        .exits(1)
        .says(&[&id]);
    holder.kill(SIGINT);
    let output = holder.wait().exits(0);
    let printed: serde_json::Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(printed["snapshot"], id.as_str());
    // one that was killed has left its file, and takes its snapshot along
    let (holder, _) = pair.hold(&work, &[]);
    kill_at(holder, "snapshot holder");
    pair.does(&work, "snapshot", &[])
        .exits(3)
        .says(&["--resume", "--restart"]);
    pair.does(&work, "snapshot", &["--resume"])
        .exits(1)
        .says(&["has ended", "--restart"]);
    let (_holder, _) = pair.hold(&work, &["--restart"]);
    pair.clone(&work, &[]).exits(0).says(&["Using snapshot"]);
    pair.assert_equal();
}

#[test]
fn a_snapshot_that_somebody_else_holds_is_read_with() {
    let (pair, work) = (Pair::with("create table t (id integer)"), WorkDir::new());
    let (holder, id) = pair.hold(&WorkDir::new(), &[]);
    pair.in_source("create table late (id integer)");
    pair.does(&work, "dump schema", &["--snapshot", &id])
        .exits(0);
    pair.does(&work, "restore pre-data", &["--snapshot", &id])
        .exits(0)
        .says(&["--snapshot has no effect"]);
    assert_eq!(pair.in_target("select to_regclass('late') is null"), "t");
    holder.kill(SIGTERM);
    holder.wait().exits(0);
    pair.does(&work, "copy table-data", &["--snapshot", &id])
        .exits(6)
        .says(&["has ended"]);
    pair.does(&work, "copy table-data", &["--snapshot", &id, "--resume"])
        .exits(1);
}
