//! `--host` and `--port`: a follow that listens for sentinel commands, whom it answers, whom it refuses, and what
//! cannot disturb it.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::follow_apply::assert_same_rows;
use crate::support::PATIENCE;
use crate::support::follow::{Follow, TABLE};
use crate::support::program::{self, Output, Running, WorkDir, run, start, start_with};
use crate::support::within;

const TOKEN: &str = "pgcopydb.token";

fn free_port() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port().to_string()
}

fn refs(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

/// `follow`, `clone` or `stream replay` between the databases.
fn words(follow: &Follow, command: &[&str], more: &[&str]) -> Vec<String> {
    let (source, target, dir) = (follow.pair.source(), follow.target(), follow.work.dir());
    let mut all = command.to_vec();
    all.extend(["--dir", &dir, "--source", &source, "--target", &target]);
    all.extend(["--slot-name", &follow.slot, "--origin", &follow.slot]);
    all.extend(["--plugin", follow.plugin]);
    all.extend(more);
    all.into_iter().map(str::to_owned).collect()
}

/// Both databases with a table, set up and not allowed to apply.
fn ready() -> Follow {
    let follow = Follow::bare("pgoutput", TABLE).unwrap();
    follow.pair.in_target(TABLE);
    follow.setup(&[]).exits(0);
    follow
}

fn wait_until_it_listens(run: &Running, port: &str) {
    let listens = || TcpStream::connect(format!("127.0.0.1:{port}")).is_ok();
    assert!(within(PATIENCE, listens), "{}", run.said());
}

/// A `stream` command to the follow that listens at that port.
fn over_tcp(dir: &str, port: &str, command: &[&str], more: &[&str]) -> Output {
    let mut all = vec!["stream"];
    all.extend(command);
    all.extend(["--dir", dir, "--host", "127.0.0.1", "--port", port]);
    all.extend(more);
    run(&all)
}

fn token_of(follow: &Follow) -> String {
    let text = std::fs::read_to_string(follow.work.path().join(TOKEN)).unwrap();
    text.trim_end().to_owned()
}

fn set_mode(path: impl AsRef<Path>, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// Rows of a query on the target, waited for.
fn arrives(follow: &Follow, run: &Running, query: &str, expected: &str) {
    let is_there = within(PATIENCE, || follow.pair.in_target(query) == expected);
    assert!(is_there, "{}", run.said());
}

#[test]
fn a_follow_is_led_to_its_end_from_a_machine_without_its_files() {
    let (follow, port, elsewhere) = (ready(), free_port(), WorkDir::new());
    let listen = [
        "--host",
        "127.0.0.1",
        "--port",
        &port,
        "--resume",
        "--trace",
    ];
    let run = start(&refs(&words(&follow, &["follow"], &listen)));
    wait_until_it_listens(&run, &port);
    let token = follow.work.path().join(TOKEN);
    let mode = std::fs::metadata(&token).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode, 0o600);
    let copy = elsewhere.file("copy of the token", &format!("{}\n", token_of(&follow)));
    set_mode(&copy, 0o600);
    let dir = elsewhere.path().join("no such directory");
    let dir = dir.to_str().unwrap();
    let there = |command: &[&str], more: &[&str]| {
        let all = [&["--token-file", &copy], more].concat();
        over_tcp(dir, &port, command, &all).exits(0)
    };
    let get = ["sentinel", "get"];
    for field in ["--startpos", "--endpos", "--apply"] {
        let here = follow.command(&get, &[field]).exits(0).stdout;
        assert_eq!(there(&get, &[field]).stdout, here);
        let here = follow.command(&get, &[field, "--json"]).exits(0).stdout;
        assert_eq!(there(&get, &[field, "--json"]).stdout, here);
    }
    let all = there(&get, &["--json"]).stdout;
    let all: serde_json::Value = serde_json::from_str(&all).unwrap();
    assert_eq!(all.as_object().unwrap().len(), 6, "{all}");

    follow
        .pair
        .in_source("insert into t select i, 'x' from generate_series(1, 100) i");
    assert_eq!(follow.pair.in_target("select count(*) from t"), "0");
    there(&["sentinel", "set", "apply"], &[]).says(&["has been set to enabled via service"]);
    arrives(&follow, &run, "select count(*) from t", "100");
    there(&["sentinel", "set", "prefetch"], &[]);
    assert_eq!(follow.sentinel("--apply"), "disabled");
    there(&["sentinel", "set", "apply"], &["--json"]);
    assert_eq!(follow.sentinel("--apply"), "enabled");
    let startpos = follow.sentinel("--startpos");
    there(&["sentinel", "set", "startpos", &startpos], &[]);

    let prune = there(&["prune"], &["--dry-run", "--json"]).stdout;
    let prune: serde_json::Value = serde_json::from_str(&prune).unwrap();
    assert_eq!(prune["dry_run"], true);
    there(&["prune"], &[]).says(&["Removed 0 CDC file pair(s)"]);

    // What the files' own command refuses is refused here, in the same words.
    let other = follow.pair.to.uri(&follow.pair.db);
    let wrong = ["--token-file", &copy, "--source", &other];
    over_tcp(dir, &port, &get, &wrong)
        .exits(3)
        .says(&["the work directory was set up for another source"]);
    let source = follow.pair.source();
    let set = there(
        &["sentinel", "set", "endpos"],
        &["--current", "--source", &source],
    );
    let lsn = follow.sentinel("--endpos");
    assert_eq!(set.stdout.trim_end(), lsn);
    let said = format!("sentinel endpos has been set to {lsn} via service");
    set.says(&[&said]);
    let secret = token_of(&follow);
    let out = run.wait().exits(0).says(&[
        "Listening for sentinel commands at 127.0.0.1:",
        "Did \"set apply\" for 127.0.0.1:",
        &format!("Did \"set endpos {lsn}\" for 127.0.0.1:"),
    ]);
    assert!(!out.stderr.contains(&secret) && !out.stdout.contains(&secret));
    assert_same_rows(&follow.pair);
    assert!(!elsewhere.path().join("no such directory").exists());
}

#[test]
fn who_has_no_token_or_another_one_is_refused_and_the_follow_goes_on() {
    let (follow, port, elsewhere) = (ready(), free_port(), WorkDir::new());
    // The address comes from the environment, the port from an option.
    let words = words(&follow, &["stream", "replay"], &["--port", &port]);
    let here = [("PGCOPYDB_HOST", "127.0.0.1")];
    let run = start_with(&refs(&words), &here);
    wait_until_it_listens(&run, &port);
    let (dir, endpos) = (follow.work.dir(), ["sentinel", "set", "endpos", "FF/0"]);
    let other = elsewhere.file("other", &"ab".repeat(32));
    set_mode(&other, 0o600);
    over_tcp(&dir, &port, &endpos, &["--token-file", &other])
        .exits(3)
        .says(&["the token is not that of this follow", "HINT"]);
    set_mode(&other, 0o644);
    over_tcp(&dir, &port, &endpos, &["--token-file", &other])
        .exits(1)
        .says(&["has mode 0644: others may read it"]);
    let nothing = elsewhere.dir();
    over_tcp(&nothing, &port, &endpos, &[])
        .exits(1)
        .says(&[TOKEN, "cannot be read"]);
    assert_eq!(follow.sentinel("--endpos"), "0/0");
    let told = || run.said().contains("Refused 1 clients with another token");
    assert!(within(PATIENCE, told), "{}", run.said());
    // Neither is what the environment says meant for those who ask.
    let mut get = vec!["stream", "sentinel", "get", "--apply", "--dir", &dir];
    let nowhere = [("PGCOPYDB_HOST", "127.0.0.1"), ("PGCOPYDB_PORT", "1")];
    let out = start_with(&get, &nowhere).wait().exits(0);
    assert_eq!(out.stdout, "disabled\n");
    // But the file of the token is.
    get.extend(["--host", "127.0.0.1", "--port", &port]);
    get[5] = &nothing;
    let token = follow.work.path().join(TOKEN);
    let told = [("PGCOPYDB_TOKEN_FILE", token.to_str().unwrap())];
    let out = start_with(&get, &told).wait().exits(0);
    assert_eq!(out.stdout, "disabled\n");

    over_tcp(&dir, &port, &["sentinel", "set", "apply"], &[]).exits(0);
    follow.pair.in_source("insert into t values (1, 'x')");
    arrives(&follow, &run, "select count(*) from t", "1");
    // A token that others could have read is replaced when the follow begins again.
    let before = token_of(&follow);
    run.kill(Signal::SIGTERM);
    run.wait().exits(0);
    set_mode(&token, 0o640);
    let run = start_with(&refs(&words), &here);
    wait_until_it_listens(&run, &port);
    assert_ne!(token_of(&follow), before);
    follow.end_here();
    run.wait().exits(0).says(&["A new token is made"]);
    assert_same_rows(&follow.pair);
}

/// Clients that are none: silent ones, and those that send anything.
fn disturb(port: &str, seconds: u64) -> u32 {
    let (until, mut count) = (Instant::now() + Duration::from_secs(seconds), 0);
    let mut open: Vec<TcpStream> = Vec::new();
    let texts: [&[u8]; 6] = [
        b"",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x02\x20\x00\x40abc",
        b"\x02\x20\xff\xff",
        b"\x01\x03\x01\x08\x00\x00\x00\x00\x00\x00\x00\x00",
        &[2; 5000],
    ];
    while Instant::now() < until {
        let Ok(mut stream) = TcpStream::connect(format!("127.0.0.1:{port}")) else {
            continue;
        };
        stream.set_nonblocking(true).unwrap();
        let _gone = stream.write_all(texts[count as usize % texts.len()]);
        count += 1;
        open.push(stream);
        if open.len() == 200 {
            open.drain(..100);
        }
    }
    count
}

#[test]
fn half_open_clients_garbage_and_a_flood_of_connections_disturb_nothing() {
    let (follow, port) = (ready(), free_port());
    let listen = ["--host", "127.0.0.1", "--port", &port, "--resume"];
    let run = start(&refs(&words(&follow, &["follow"], &listen)));
    wait_until_it_listens(&run, &port);
    let dir = follow.work.dir();
    over_tcp(&dir, &port, &["sentinel", "set", "apply"], &[]).exits(0);
    let stream = ["follow receive", "follow transform", "follow apply"];
    let pids = || -> BTreeSet<i32> {
        let named = stream.iter().flat_map(|title| run.children_named(title));
        named.collect()
    };
    assert!(within(PATIENCE, || pids().len() == 3), "{}", run.said());
    let before = pids();
    // One that says nothing is let go.
    let mut silent = TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
    silent.set_read_timeout(Some(PATIENCE)).unwrap();
    let flood = {
        let port = port.clone();
        std::thread::spawn(move || disturb(&port, 6))
    };
    let mut asked = 0;
    while !flood.is_finished() {
        over_tcp(&dir, &port, &["sentinel", "get", "--apply"], &[]).exits(0);
        let row = format!("insert into t values ({asked}, 'x')");
        follow.pair.in_source(&row);
        asked += 1;
    }
    let count = flood.join().unwrap();
    println!("{count} connections that were none, {asked} requests answered among them");
    assert!(count > 200 && asked > 3, "{count} {asked}");
    assert_eq!(silent.read(&mut [0; 16]).unwrap_or(0), 0);
    arrives(&follow, &run, "select count(*) from t", &asked.to_string());
    assert_eq!(pids(), before, "{}", run.said());

    // Even one that ends the process which listens ends nothing else.
    for _ in 0..2 {
        let remote = run.children_named("follow remote");
        assert_eq!(remote.len(), 1, "{}", run.said());
        program::signal(remote[0], Signal::SIGKILL);
        let is_other = || {
            let now = run.children_named("follow remote");
            now.len() == 1 && now != remote
        };
        assert!(within(PATIENCE, is_other), "{}", run.said());
        wait_until_it_listens(&run, &port);
    }
    assert_eq!(pids(), before, "{}", run.said());
    let source = follow.pair.source();
    let end = ["--current", "--source", &source];
    over_tcp(&dir, &port, &["sentinel", "set", "endpos"], &end).exits(0);
    run.wait()
        .exits(0)
        .says(&["The process that listens for sentinel commands ended"]);
    assert_same_rows(&follow.pair);
}

#[test]
fn a_port_that_is_taken_is_an_error_before_anything_is_done() {
    let follow = Follow::bare("pgoutput", TABLE).unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let slots = format!(
        "select count(*) from pg_replication_slots where slot_name = '{}'",
        follow.slot
    );
    for command in [&["clone", "--follow"][..], &["follow"]] {
        run(&refs(&words(&follow, command, &["--port", &port])))
            .exits(1)
            .says(&["option --port needs --host"]);
        let listen = ["--host", "127.0.0.1", "--port", &port];
        run(&refs(&words(&follow, command, &listen)))
            .exits(3)
            .says(&["could not listen at 127.0.0.1:", "in use", "--port"]);
        assert_eq!(follow.pair.in_source(&slots), "0");
        assert!(!follow.work.path().join("schema").exists());
    }
    // With --restart, not even that of the earlier run is removed.
    follow.setup(&[]).exits(0);
    let again = ["--restart", "--host", "127.0.0.1", "--port", &port];
    run(&refs(&words(&follow, &["clone", "--follow"], &again))).exits(3);
    assert_eq!(follow.pair.in_source(&slots), "1");
    assert_eq!(follow.sentinel("--endpos"), "0/0");
    run(&refs(&words(
        &follow,
        &["follow"],
        &["--host", "192.0.2.1"],
    )))
    .exits(1)
    .says(&["could not listen at 192.0.2.1:5442"]);
    run(&refs(&words(&follow, &["follow"], &["--port", "65536"]))).exits(1);
}

#[test]
fn where_nobody_listens_the_files_of_this_machine_are_no_answer() {
    let follow = ready();
    let dir = follow.work.dir();
    let get = ["sentinel", "get", "--endpos"];
    follow.command(&get, &[]).exits(0);
    over_tcp(&dir, &free_port(), &get, &[]).exits(12).says(&[
        "could not reach a follow at 127.0.0.1:",
        "refused",
        "HINT",
    ]);
    let set = ["sentinel", "set", "endpos", "FF/0"];
    over_tcp(&dir, &free_port(), &set, &[]).exits(12);
    over_tcp(&dir, &free_port(), &["prune"], &[]).exits(12);
    assert_eq!(follow.sentinel("--endpos"), "0/0");
    // One that listens and never answers, and one that is something else.
    let token = follow.work.path().join(TOKEN);
    std::fs::write(&token, "ab".repeat(32)).unwrap();
    set_mode(&token, 0o600);
    let deaf = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = deaf.local_addr().unwrap().port().to_string();
    let since = Instant::now();
    over_tcp(&dir, &port, &set, &[]).exits(12).says(&[
        "gave no answer",
        "Whether \"set endpos FF/0\" was done is not known",
    ]);
    assert!((4..15).contains(&since.elapsed().as_secs()));
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = other.local_addr().unwrap().port().to_string();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = other.accept().unwrap();
        let _asked = stream.read(&mut [0; 2000]).unwrap();
        stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .unwrap();
    });
    over_tcp(&dir, &port, &get, &[])
        .exits(12)
        .says(&["is no follow of this version"]);
    server.join().unwrap();
}

#[test]
fn a_clone_that_follows_listens_from_its_first_process_to_its_last() {
    let follow = Follow::bare(
        "pgoutput",
        "create table t (id integer primary key, v text);
         insert into t select i, 'before' from generate_series(1, 1000) i",
    )
    .unwrap();
    let port = free_port();
    let listen = ["--host", "127.0.0.1", "--port", &port];
    let line = words(&follow, &["clone", "--follow"], &listen);
    let run = start(&refs(&line));
    wait_until_it_listens(&run, &port);
    let (dir, source) = (follow.work.dir(), follow.pair.source());
    let set = || {
        let end = ["--current", "--source", &source];
        over_tcp(&dir, &port, &["sentinel", "set", "endpos"], &end)
    };
    // Before there is a slot that is refused; it is taken as soon as there is one.
    let mut last = String::new();
    let is_set = within(PATIENCE, || {
        let out = set();
        last.clone_from(&out.stderr);
        assert!([0, 3].contains(&out.code), "{last}");
        out.code == 0
    });
    assert!(is_set, "{last}\n{}", run.said());
    run.wait().exits(0).says(&["Follow mode is now done"]);
    assert_same_rows(&follow.pair);
    // Gone on with, it listens, too; now nobody does.
    over_tcp(&dir, &port, &["sentinel", "get"], &[]).exits(12);
    follow.pair.in_source("insert into t values (0, 'after')");
    over_tcp(&dir, &port, &["sentinel", "set", "endpos", "0/0"], &[]).exits(12);
    follow
        .command(&["sentinel", "set", "endpos", "0/0"], &[])
        .exits(0);
    let mut line = line;
    line.push("--resume".to_owned());
    let run = start(&refs(&line));
    wait_until_it_listens(&run, &port);
    set().exits(0);
    run.wait().exits(0);
    assert_same_rows(&follow.pair);
}

#[test]
fn an_address_of_ipv6_is_listened_at_and_asked() {
    let Ok(free) = TcpListener::bind("[::1]:0") else {
        println!("skipped: there is no IPv6 here");
        return;
    };
    let port = free.local_addr().unwrap().port().to_string();
    drop(free);
    let follow = ready();
    let dir = follow.work.dir();
    let here = ["--host", "::1", "--port", &port];
    let run = start(&refs(&words(
        &follow,
        &["follow"],
        &[&here[..], &["--resume"]].concat(),
    )));
    let ask = |words: &[&str]| follow.command(words, &here);
    let listens = || ask(&["sentinel", "get"]).code == 0;
    assert!(within(PATIENCE, listens), "{}", run.said());
    ask(&["sentinel", "set", "apply"]).exits(0);
    follow.pair.in_source("insert into t values (1, 'x')");
    arrives(&follow, &run, "select count(*) from t", "1");
    // Nobody listens at the other loopback address.
    let other = over_tcp(&dir, &port, &["sentinel", "get"], &[]);
    assert_ne!(other.code, 0, "{}", other.stdout);
    let source = follow.pair.source();
    let current = [&["--current", "--source", &source], &here[..]].concat();
    follow
        .command(&["sentinel", "set", "endpos"], &current)
        .exits(0);
    run.wait().exits(0);
    assert_same_rows(&follow.pair);
}
