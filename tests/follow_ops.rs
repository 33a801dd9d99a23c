//! Looking after a follow: how far behind it is, what the service manager hears, the unit that is shipped.

use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::follow_apply::{catchup, ready};
use crate::support::follow::Follow;
use crate::support::program::{Running, run, start_with};
use crate::support::{PATIENCE, within};

const SCHEMA: &str = "create table t (id integer primary key, v text);";

fn status(follow: &Follow) -> Value {
    let out = run(&["status", "--json", "--dir", &follow.work.dir()]).exits(0);
    serde_json::from_str::<Value>(&out.stdout).unwrap()["follow"].clone()
}

/// A receiver whose service manager is us.
fn receiver(follow: &Follow, socket: &str) -> Running {
    let source = follow.pair.source();
    let words = follow.words(&["receive"], &["--source", &source, "--resume"]);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    start_with(&words, &[("NOTIFY_SOCKET", socket)])
}

#[test]
fn a_follow_tells_how_far_behind_it_is_and_when_it_streams() {
    let follow = ready("pgoutput", SCHEMA, &[]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    assert!(status(&follow)["source_lsn"].is_null(), "nobody has looked");
    let receive = receiver(&follow, path.to_str().unwrap());
    let hear = || {
        let mut buffer = [0; 4096];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    let heard = hear();
    assert!(heard.starts_with("READY=1\nSTATUS="), "{heard}");
    follow
        .pair
        .in_source("insert into t select i, repeat('x', 500) from generate_series(1, 20000) i");
    let is_behind = || {
        let now = status(&follow);
        now["bytes_behind"].as_u64().unwrap_or(0) > 5_000_000
            && now["bytes_not_received"].as_u64().unwrap_or(u64::MAX) < 1_000_000
            && now["seconds_behind"].as_u64().unwrap_or(0) > 3
    };
    assert!(
        within(Duration::from_secs(30), is_behind),
        "{:#}",
        status(&follow)
    );
    let now = status(&follow);
    assert!(now["slot"]["retained_bytes"].as_u64().unwrap() > 0, "{now}");
    assert_eq!(now["slot"]["wal_status"], "reserved");
    assert_eq!(now["endpos"], Value::Null);
    let dir = follow.work.dir();
    run(&["list", "progress", "--dir", &dir]).exits(0).says(&[
        "Received:",
        "behind the source",
        "Applied:",
        "Slot: keeps",
    ]);
    run(&["status", "--dir", &dir])
        .exits(0)
        .says(&["Follow:", "changes are applied", "Rates:"]);
    follow.end_here();
    receive.wait().exits(0);
    catchup(&follow, &[]).exits(0);
    let now = status(&follow);
    assert_eq!(now["drained"], true, "{now}");
    assert_eq!(now["seconds_left"], 0);
}

#[test]
fn near_the_end_the_log_and_the_service_manager_hear_every_ten_seconds() {
    let follow = ready("pgoutput", SCHEMA, &[]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(40)))
        .unwrap();
    // An end that does not come.
    follow
        .command(&["sentinel", "set", "endpos", "FF/0"], &[])
        .exits(0);
    let receive = receiver(&follow, path.to_str().unwrap());
    let begun = Instant::now();
    let mut heard = String::new();
    while !heard.contains("endpos FF/0") {
        let mut buffer = [0; 4096];
        let length = socket.recv(&mut buffer).unwrap();
        heard = String::from_utf8_lossy(&buffer[..length]).into_owned();
    }
    assert!(begun.elapsed() < Duration::from_secs(30));
    assert!(within(PATIENCE, || receive
        .said()
        .contains("are not received")));
    receive.kill(nix::sys::signal::Signal::SIGTERM);
    receive.wait().exits(0);
}

#[test]
fn the_shipped_unit_is_one_that_systemd_accepts() {
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/bin/pgcopydb-follow.service");
    let text = std::fs::read_to_string(shipped).unwrap();
    for wanted in [
        "Type=notify",
        "Restart=on-failure",
        "RestartPreventExitStatus=1 2 3",
        "KillMode=mixed",
    ] {
        assert!(text.contains(wanted), "{wanted}");
    }
    let there = Command::new("systemd-analyze").arg("--version").output();
    if !there.is_ok_and(|output| output.status.success()) {
        println!("skipped: there is no systemd-analyze here");
        return;
    }
    // The program is not installed where the unit expects it.
    let here = text.replace("/usr/bin/pgcopydb", env!("CARGO_BIN_EXE_pgcopydb"));
    let folder = tempfile::tempdir().unwrap();
    let unit = folder.path().join("pgcopydb-follow.service");
    std::fs::write(&unit, here).unwrap();
    let verified = Command::new("systemd-analyze")
        .args(["verify", "--man=no", "--recursive-errors=yes"])
        .arg(&unit)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&verified.stderr);
    assert!(
        verified.status.success() && !said.contains("pgcopydb-follow"),
        "{said}"
    );
}

#[test]
fn a_changed_table_of_the_source_is_told_with_what_the_target_needs() {
    let schema = "create table t (id integer primary key, v varchar(10)); create table u (id integer primary key);
        create table p (id integer primary key) partition by range (id); create table p1 partition of p for values from (0) to (10);";
    let follow = ready("pgoutput", schema, &[]).unwrap();
    follow.pair.in_source(
        "alter table t add column n numeric(5,2); alter table t alter column v type text; drop table u;
         create table p2 partition of p for values from (10) to (20); create table w (id integer)",
    );
    let receive = follow.start(&[]);
    let told = || {
        let said = receive.said();
        [
            "run on the target: alter table \"public\".\"t\" add column \"n\" numeric(5,2)",
            "another type of column \"v\": character varying(10) before, text now",
            "table \"public\".\"u\" is gone",
            "\"public\".\"p2\" is a new partition of \"public\".\"p\"",
            "\"public\".\"w\" was made since",
        ]
        .iter()
        .all(|words| said.contains(words))
    };
    assert!(within(PATIENCE, told), "{}", receive.said());
    assert_eq!(status(&follow)["changed"].as_array().unwrap().len(), 5);
    follow.end_here();
    receive.wait().exits(0);
}
