//! Passwords exist in memory and in the environment of the tools, nowhere else.

use std::path::Path;

use crate::support::servers::{GATED, pair_on};
use crate::support::{Cluster, PATIENCE, Pair, Running, WorkDir, program, start, within};

const PASSWORD: &str = "hunter2xyzzy";

/// Files below a folder whose bytes hold the password.
fn files_with_password(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files_with_password(&path));
        } else if let Ok(bytes) = std::fs::read(&path) {
            let there = bytes
                .windows(PASSWORD.len())
                .any(|w| w == PASSWORD.as_bytes());
            found.extend(there.then(|| path.display().to_string()));
        }
    }
    found
}

/// A server that wants the password from role `keeper`.
fn guarded() -> Cluster {
    let cluster = Cluster::start();
    let role = format!("create role keeper superuser login password '{PASSWORD}'");
    cluster.sql("postgres", &role);
    cluster.hba("host all keeper 127.0.0.1/32 scram-sha-256");
    cluster
}

/// No process of the run shows the password, neither in its title nor in its environment.
#[track_caller]
fn assert_hidden(run: &Running) {
    for pid in run.children().into_iter().chain([run.pid()]) {
        let title = program::title(pid);
        assert!(!title.contains(PASSWORD), "{title}");
        assert!(!program::environment_shows(pid, PASSWORD), "{title}");
    }
}

#[test]
fn a_password_is_in_no_file_no_log_and_no_process_list() {
    let (cluster, pair, work) = (guarded(), Pair::with(""), WorkDir::new());
    cluster.sql("postgres", GATED);
    let source = cluster.uri_as("postgres", "keeper", PASSWORD);
    let gate = pair.gate();
    let target = pair.target();
    let run = start(&[
        "clone",
        "--trace",
        "--source",
        &source,
        "--target",
        &target,
        "--dir",
        &work.dir(),
    ]);
    pair.wait_for_gate(&run);
    assert_hidden(&run);
    let names = cluster.sql(
        "postgres",
        "select application_name, query from pg_stat_activity",
    );
    drop(gate);
    let out = run.wait().exits(0);
    assert!(!names.contains(PASSWORD), "{names}");
    assert!(
        !out.stderr.contains(PASSWORD) && !out.stdout.contains(PASSWORD),
        "{}",
        out.stderr
    );
    assert_eq!(files_with_password(&work.path()), Vec::<String>::new());
}

#[test]
fn a_password_is_not_printed_by_errors() {
    let (cluster, pair, work) = (guarded(), Pair::with(""), WorkDir::new());
    let target = pair.target();
    for database in ["no_such_database", "postgres?sslmode=nonsense"] {
        let source = cluster.uri_as(database, "keeper", PASSWORD);
        let run = start(&[
            "clone",
            "--source",
            &source,
            "--target",
            &target,
            "--dir",
            &work.dir(),
        ]);
        let out = run.wait();
        assert_ne!(out.code, 0);
        assert!(
            !out.stderr.contains(PASSWORD) && !out.stdout.contains(PASSWORD),
            "{}",
            out.stderr
        );
    }
}

#[test]
fn a_password_from_the_environment_works() {
    let (cluster, pair, work) = (guarded(), Pair::with(""), WorkDir::new());
    cluster.sql("postgres", GATED);
    let (source, target) = (cluster.uri_as("postgres", "keeper", ""), pair.target());
    let arguments = [
        "clone",
        "--trace",
        "--source",
        &source,
        "--target",
        &target,
        "--dir",
        &work.dir(),
    ];
    let gate = pair.gate();
    let run = program::start_with(&arguments, &[("PGPASSWORD", PASSWORD)]);
    pair.wait_for_gate(&run);
    assert_hidden(&run);
    drop(gate);
    let out = run.wait().exits(0);
    assert!(!out.stderr.contains(PASSWORD), "{}", out.stderr);
    assert_eq!(files_with_password(&work.path()), Vec::<String>::new());
}

#[test]
fn the_password_of_the_target_is_not_on_the_command_line_of_a_tool() {
    let cluster: &'static Cluster = Box::leak(Box::new(guarded()));
    let from = Pair::with(GATED).from;
    let (pair, work) = (
        pair_on(from, cluster, "secret".to_owned(), ""),
        WorkDir::new(),
    );
    pair.in_source(GATED);
    pair.in_source(
        "alter table gated drop constraint gated_id_check;
         create materialized view seen as select id from gated where gate(id)",
    );
    let (source, dir) = (pair.source(), work.dir());
    let target = cluster.uri_as(&pair.db, "keeper", PASSWORD);
    let gate = pair.gate();
    let run = start(&[
        "clone", "--trace", "--source", &source, "--target", &target, "--dir", &dir,
    ]);
    pair.wait_for_gate(&run);
    let restores = || !run.children_named("pg_restore").is_empty();
    assert!(within(PATIENCE, restores), "it is pg_restore that waits");
    assert_hidden(&run);
    drop(gate);
    let out = run.wait().exits(0);
    assert!(
        !out.stderr.contains(PASSWORD) && !out.stdout.contains(PASSWORD),
        "{}",
        out.stderr
    );
    assert_eq!(files_with_password(&work.path()), Vec::<String>::new());
}
