//! The whole follow: one program whose processes die at random, the supervisor among them.

use std::time::Duration;

use nix::sys::signal::Signal;

use super::judge::differences;
use super::load::{Load, first_rows};
use super::steps::{fill_both, must, wait};
use super::{Run, connect, keep};
use crate::support::program::{Output, Running, signal, start};
use crate::support::within;

/// A follow that has nothing more to do ends within this, however slow the machine is.
const END: Duration = Duration::from_secs(120);
/// A tree whose top was killed is gone within this.
const GONE: Duration = Duration::from_secs(12);

/// One run of `follow`; what went wrong, if anything did.
pub fn follow(seed: u64, plugin: &'static str) -> Result<(), String> {
    run(seed, plugin, beside)
}

/// One run of `clone --follow`; what went wrong, if anything did.
pub fn clone(seed: u64, plugin: &'static str) -> Result<(), String> {
    run(seed, plugin, from_nothing)
}

type Play = fn(&mut Run, &mut Vec<String>) -> Result<(), String>;

fn run(seed: u64, plugin: &'static str, play: Play) -> Result<(), String> {
    let mut this = Run::new(seed, plugin);
    let mut log = Vec::new();
    let result = play(&mut this, &mut log);
    if let Err(why) = &result {
        keep(seed, &this, &log, why);
    }
    this.end();
    result
}

/// The program and its words, the first time and again.
#[derive(Clone, Copy)]
struct Kind {
    command: &'static str,
    first: &'static [&'static str],
    again: &'static [&'static str],
}

const FOLLOW: Kind = Kind {
    command: "follow",
    first: &["--resume"],
    again: &["--resume"],
};

const CLONE: Kind = Kind {
    command: "clone",
    first: &["--follow", "--split-tables-larger-than", "64kB"],
    again: &[
        "--follow",
        "--split-tables-larger-than",
        "64kB",
        "--resume",
        "--not-consistent",
    ],
};

fn begin(this: &Run, kind: Kind, more: &[&str]) -> Running {
    let follow = &this.follow;
    let (source, target, dir) = (
        follow.pair.source(),
        follow.pair.target(),
        follow.work.dir(),
    );
    let mut words = vec![
        kind.command,
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
        follow.plugin,
    ];
    words.extend(more);
    if let Some((host, port)) = &this.listens {
        words.extend(["--host", host, "--port", port]);
    }
    start(&words)
}

/// A `stream` command to the follow that listens.
fn over_tcp(this: &Run, command: &[&str], more: &[&str]) -> Option<Output> {
    let (host, port) = this.listens.as_ref()?;
    let all = [more, &["--host", host, "--port", port]].concat();
    Some(this.follow.command(command, &all))
}

/// Sets the endpos to where the source is, through the listener where there is one. It may have been killed a moment
/// ago, but comes back as long as the follow lives.
fn end_here(this: &Run, running: &Running) -> Result<String, String> {
    let source = this.follow.pair.source();
    let current = ["--current", "--source", &source];
    let mut said = String::new();
    let mut set = None;
    let is_done = || {
        let lives = crate::support::program::lives(running.pid());
        let asked = over_tcp(this, &["sentinel", "set", "endpos"], &current);
        let is_listening = asked.is_some() && lives;
        if let Some(out) = asked {
            said.clone_from(&out.stderr);
            set = (out.code == 0).then(|| out.stdout.trim_end().to_owned());
        }
        set.is_some() || !is_listening
    };
    if !within(GONE, is_done) {
        return Err(format!("the listener does not come back: {said}"));
    }
    Ok(set.unwrap_or_else(|| this.follow.end_here()))
}

/// Both sides have the same rows before anything is followed.
fn beside(this: &mut Run, log: &mut Vec<String>) -> Result<(), String> {
    this.follow.pair.in_target(&this.schema.ddl);
    fill_both(this)?;
    must(&this.follow.setup(&[]), "setup")?;
    must(
        &this.follow.command(&["sentinel", "set", "apply"], &[]),
        "set apply",
    )?;
    let mut load = Load::connect(&this.follow.pair.source(), this.follow.plugin);
    play(this, &mut load, FOLLOW, log)
}

/// The target is empty, and the source never stands still.
fn from_nothing(this: &mut Run, log: &mut Vec<String>) -> Result<(), String> {
    let mut source = connect(&this.follow.pair.source());
    for sql in first_rows(&this.schema, &mut this.dice, this.follow.plugin) {
        let _ = source.batch_execute(&sql);
    }
    drop(source);
    let mut load = Load::connect(&this.follow.pair.source(), this.follow.plugin);
    // A snapshot does not show what a TRUNCATE took: a table emptied before its turn fails by name.
    load.truncates = false;
    for _ in 0..this.dice.below(30) {
        load.step(&this.schema, &mut this.dice);
    }
    play(this, &mut load, CLONE, log)
}

fn play(this: &mut Run, load: &mut Load, kind: Kind, log: &mut Vec<String>) -> Result<(), String> {
    let mut running = begin(this, kind, kind.first);
    let result = work(this, load, kind, &mut running).and_then(|()| end(this, load, kind, running));
    log.append(&mut load.log);
    result
}

/// Goes on after a stop. A copy that is not whole may be refused: then all begins anew.
fn go_on(this: &Run, kind: Kind, load: &mut Load) -> Result<Running, String> {
    let mut running = begin(this, kind, kind.again);
    if kind.command == "follow" {
        return Ok(running);
    }
    let refused =
        || running.children().is_empty() && !crate::support::program::lives(running.pid());
    if !within(Duration::from_millis(700), refused) {
        return Ok(running);
    }
    let out = running.wait_within(GONE);
    if out.code == 0 || is_our_doing(&out) {
        return Ok(begin(this, kind, kind.again));
    }
    if out.code != 3 {
        must(&out, "a clone that is resumed")?;
    }
    Ok(anew(this, kind, load, &out))
}

/// All begins anew after a refusal.
fn anew(this: &Run, kind: Kind, load: &mut Load, out: &Output) -> Running {
    load.log
        .push(format!("-- refused, and begun anew: {}", out.stderr));
    // Perhaps nothing was written down yet.
    let slot = &this.follow.slot;
    let (from, db) = (this.follow.pair.from, &this.follow.pair.db);
    from.sql(
        db,
        &format!("select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = '{slot}'"),
    );
    let free = format!(
        "select count(*) = 0 from pg_replication_slots where slot_name = '{slot}' and active"
    );
    from.wait_until(db, &free, GONE);
    let named = ["--slot-name", slot, "--origin", slot];
    this.follow.cleanup(&named);
    let _ = std::fs::remove_dir_all(this.follow.work.path());
    let (to, db) = (this.follow.pair.to, &this.follow.pair.db);
    to.sql("postgres", &format!("drop database \"{db}\" with (force)"));
    to.create_database(db, "template template0");
    begin(this, kind, kind.first)
}

/// Whether a run ended because a process of it was killed that nobody can start again.
fn is_our_doing(out: &Output) -> bool {
    let words = [
        "was ended by SIGKILL",
        "failed with exit code 137",
        "pg_restore failed",
    ];
    out.code != 0 && words.iter().any(|word| out.stderr.contains(word))
}

/// Kills something; gives what runs then.
fn disturb(
    this: &mut Run,
    mut running: Running,
    kind: Kind,
    load: &mut Load,
) -> Result<Running, String> {
    match this.dice.below(4) {
        0 => {
            let tree = running.children();
            running.kill(Signal::SIGKILL);
            running.wait_within(GONE);
            let gone = || tree.iter().all(|pid| !crate::support::program::lives(*pid));
            if !within(GONE, gone) {
                return Err("processes outlive their supervisor".to_owned());
            }
            go_on(this, kind, load)
        }
        1 => {
            running.kill(Signal::SIGTERM);
            let out = running.wait_within(GONE);
            // The signal may come before it is heeded; a copy that is not whole is no success.
            if !is_our_doing(&out) && ![143, 15].contains(&out.code) {
                must(&out, "a follow that was stopped")?;
            }
            go_on(this, kind, load)
        }
        _ => {
            let children = running.children();
            if !children.is_empty() {
                signal(this.dice.pick(&children), Signal::SIGKILL);
            }
            Ok(running)
        }
    }
}

fn work(this: &mut Run, load: &mut Load, kind: Kind, running: &mut Running) -> Result<(), String> {
    for _ in 0..120 + this.dice.below(240) {
        load.step(&this.schema, &mut this.dice);
        match this.dice.below(200) {
            0..3 => {
                let next = std::mem::replace(running, idle());
                *running = disturb(this, next, kind, load)?;
            }
            3..6 => {
                this.follow.pair.in_source("select pg_switch_wal()");
            }
            6 if kind.command == "follow" => {
                must(&this.follow.command(&["prune"], &[]), "prune")?;
            }
            7 if kind.command == "follow" => {
                let which = this.dice.pick(&["apply", "prefetch"]);
                let out = this.follow.command(&["sentinel", "set", which], &[]);
                must(&out, "sentinel set")?;
            }
            8 | 9 => wait(this.dice.below(300)),
            10..13 => {
                // Whatever runs may have been killed a moment ago: an answer, or a word of why there is none.
                if let Some(out) = over_tcp(this, &["sentinel", "get"], &["--json"])
                    && (out.code == 0) == out.stdout.is_empty()
                {
                    return Err(format!("no answer and no error: {}", out.stderr));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Something that has ended, to stand in a place.
fn idle() -> Running {
    start(&["version"])
}

/// Waits until the copy is made and its changes are being applied.
fn wait_for_copy(
    this: &Run,
    kind: Kind,
    load: &mut Load,
    mut running: Running,
) -> Result<Running, String> {
    let applies = || {
        let got = this.follow.command(&["sentinel", "get"], &["--apply"]);
        got.code == 0 && got.stdout.trim() == "enabled"
    };
    for _ in 0..4 {
        let ended = || !crate::support::program::lives(running.pid());
        within(END, || applies() || ended());
        if applies() {
            return Ok(running);
        }
        let out = running.wait_within(GONE);
        if !is_our_doing(&out) {
            must(&out, "the clone")?;
        }
        running = go_on(this, kind, load)?;
    }
    Err("the copy does not come to its end".to_owned())
}

/// Whether a follow came to another end than that: before that was set, or too late to reach it.
fn is_at_former_end(out: &Output, endpos: &str) -> bool {
    match out.code {
        0 => !out.stderr.contains(&format!("with endpos {endpos}\n")),
        3 => out.stderr.contains("was set while this follow ended"),
        _ => false,
    }
}

fn end(this: &mut Run, load: &mut Load, kind: Kind, mut running: Running) -> Result<(), String> {
    load.finish(&mut this.dice);
    if kind.command == "clone" {
        running = wait_for_copy(this, kind, load, running)?;
        load.truncates = true;
        for _ in 0..this.dice.below(100) {
            load.step(&this.schema, &mut this.dice);
        }
        load.finish(&mut this.dice);
    }
    must(
        &this.follow.command(&["sentinel", "set", "apply"], &[]),
        "set apply",
    )?;
    let mut endpos = end_here(this, &running)?;
    if this.dice.chance(1, 3) {
        // It is moved on while the end is being made.
        wait(this.dice.below(400));
        for _ in 0..10 {
            load.step(&this.schema, &mut this.dice);
        }
        load.finish(&mut this.dice);
        endpos = end_here(this, &running)?;
    }
    if this.dice.chance(1, 2) {
        wait(this.dice.below(300));
        if !running.children().is_empty() {
            running = disturb(this, running, kind, load)?;
        }
    }
    let mut out = running.wait_within(END);
    if is_our_doing(&out) {
        running = go_on(this, kind, load)?;
        out = running.wait_within(END);
    }
    if is_at_former_end(&out, &endpos) {
        load.log
            .push("-- ended before the endpos was moved on".to_owned());
        running = go_on(this, kind, load)?;
        out = running.wait_within(END);
    }
    must(&out, "the last follow")?;
    if !out.stderr.contains(&format!("with endpos {endpos}\n")) {
        return Err(format!(
            "it says nothing of endpos {endpos}: {}",
            out.stderr
        ));
    }
    if !within(GONE, || running.children().is_empty()) {
        return Err("processes are left".to_owned());
    }
    let sequences = "select schemaname, sequencename, last_value from pg_sequences order by 1, 2";
    if kind.command == "clone" {
        let pair = &this.follow.pair;
        let (source, target) = (pair.in_source(sequences), pair.in_target(sequences));
        if source != target {
            return Err(format!(
                "sequences differ:\n{source}\n--\n{target}\n{}",
                out.stderr
            ));
        }
    }
    match differences(&this.follow.pair, &this.schema) {
        Some(text) => Err(format!("{text}{}", out.stderr)),
        None => Ok(()),
    }
}
