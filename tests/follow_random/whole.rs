//! The whole follow: one program whose processes die at random, the supervisor among them.

use std::time::Duration;

use nix::sys::signal::Signal;

use super::judge::differences;
use super::load::Load;
use super::steps::{fill_both, must, wait};
use super::{Run, keep};
use crate::support::program::{Output, Running, signal, start};
use crate::support::within;

/// A follow that has nothing more to do ends within this, however slow the machine is.
const END: Duration = Duration::from_secs(120);
/// A tree whose top was killed is gone within this.
const GONE: Duration = Duration::from_secs(12);

/// One run of `follow`; what went wrong, if anything did.
pub fn follow(seed: u64, plugin: &'static str) -> Result<(), String> {
    let mut this = Run::new(seed, plugin);
    let mut log = Vec::new();
    let result = play(&mut this, &mut log);
    if let Err(why) = &result {
        keep(seed, &this, &log, why);
    }
    this.end();
    result
}

fn begin(this: &Run) -> Running {
    let follow = &this.follow;
    let (source, target) = (follow.pair.source(), follow.pair.target());
    start(&[
        "follow",
        "--dir",
        &follow.work.dir(),
        "--source",
        &source,
        "--target",
        &target,
        "--slot-name",
        &follow.slot,
        "--origin",
        &follow.slot,
        "--resume",
    ])
}

fn play(this: &mut Run, log: &mut Vec<String>) -> Result<(), String> {
    this.follow.pair.in_target(&this.schema.ddl);
    fill_both(this)?;
    must(&this.follow.setup(&[]), "setup")?;
    must(
        &this.follow.command(&["sentinel", "set", "apply"], &[]),
        "set apply",
    )?;
    let mut load = Load::connect(&this.follow.pair.source(), this.follow.plugin);
    let mut running = begin(this);
    let result = work(this, &mut load, &mut running).and_then(|()| end(this, &mut load, running));
    log.append(&mut load.log);
    result
}

/// Whether a run ended because a process of it was killed that nobody can start again.
fn is_our_doing(out: &Output) -> bool {
    out.code == 12 && out.stderr.contains("was ended by SIGKILL")
}

/// Kills something; gives what runs then.
fn disturb(this: &mut Run, mut running: Running) -> Result<Running, String> {
    match this.dice.below(4) {
        0 => {
            let tree = running.children();
            running.kill(Signal::SIGKILL);
            running.wait_within(GONE);
            let gone = || tree.iter().all(|pid| !crate::support::program::lives(*pid));
            if !within(GONE, gone) {
                return Err("processes outlive their supervisor".to_owned());
            }
            Ok(begin(this))
        }
        1 => {
            running.kill(Signal::SIGTERM);
            let out = running.wait_within(GONE);
            // The signal may come before it is heeded.
            if !is_our_doing(&out) && out.code != 143 {
                must(&out, "a follow that was stopped")?;
            }
            Ok(begin(this))
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

fn work(this: &mut Run, load: &mut Load, running: &mut Running) -> Result<(), String> {
    for _ in 0..120 + this.dice.below(240) {
        load.step(&this.schema, &mut this.dice);
        match this.dice.below(200) {
            0..3 => {
                let next = std::mem::replace(running, idle());
                *running = disturb(this, next)?;
            }
            3..6 => {
                this.follow.pair.in_source("select pg_switch_wal()");
            }
            6 => must(&this.follow.command(&["prune"], &[]), "prune")?,
            7 => {
                let which = this.dice.pick(&["apply", "prefetch"]);
                let out = this.follow.command(&["sentinel", "set", which], &[]);
                must(&out, "sentinel set")?;
            }
            8 => wait(this.dice.below(300)),
            _ => {}
        }
    }
    Ok(())
}

/// Something that has ended, to stand in a place.
fn idle() -> Running {
    start(&["version"])
}

fn end(this: &mut Run, load: &mut Load, mut running: Running) -> Result<(), String> {
    load.finish(&mut this.dice);
    must(
        &this.follow.command(&["sentinel", "set", "apply"], &[]),
        "set apply",
    )?;
    this.follow.end_here();
    if this.dice.chance(1, 2) {
        wait(this.dice.below(300));
        if !within(Duration::ZERO, || running.children().is_empty()) {
            running = disturb(this, running)?;
        }
    }
    let mut out = running.wait_within(END);
    if is_our_doing(&out) {
        running = begin(this);
        out = running.wait_within(END);
    }
    must(&out, "the last follow")?;
    if !within(GONE, || running.children().is_empty()) {
        return Err("processes are left".to_owned());
    }
    match differences(&this.follow.pair, &this.schema) {
        Some(text) => Err(format!("{text}{}", out.stderr)),
        None => Ok(()),
    }
}
