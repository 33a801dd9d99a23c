//! Passwords exist in memory and in the environment of the tools, nowhere else.

use std::path::Path;

use crate::support::servers::GATED;
use crate::support::{Cluster, Pair, WorkDir, program, start};

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

#[test]
fn a_password_is_in_no_file_no_log_and_no_process_list() {
    let (cluster, pair, work) = (guarded(), Pair::with(""), WorkDir::new());
    cluster.sql("postgres", GATED);
    let source = cluster.uri_as("postgres", "keeper", PASSWORD);
    let gate = pair.gate();
    let target = pair.target();
    let run = start(&[
        "clone",
        "--source",
        &source,
        "--target",
        &target,
        "--dir",
        &work.dir(),
    ]);
    pair.wait_for_gate(&run);
    for pid in run.children().into_iter().chain([run.pid()]) {
        assert!(
            !program::title(pid).contains(PASSWORD),
            "{}",
            program::title(pid)
        );
    }
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
    let (source, target) = (cluster.uri_as("postgres", "keeper", ""), pair.target());
    let arguments = [
        "clone",
        "--source",
        &source,
        "--target",
        &target,
        "--dir",
        &work.dir(),
    ];
    program::start_with(&arguments, &[("PGPASSWORD", PASSWORD)])
        .wait()
        .exits(0);
    assert_eq!(files_with_password(&work.path()), Vec::<String>::new());
}
