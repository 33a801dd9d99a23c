//! The single commands: receive in the background, transform and apply beside it, all of them killed.

use std::time::Duration;

use nix::sys::signal::Signal;

use super::judge::differences;
use super::load::{self, Load};
use super::{Run, connect, keep};
use crate::support::program::{Output, Running, run, start};
use crate::support::within;

/// Longest stretch that a process lives before it is killed, once everything is received.
const LIFE_MAX_MS: usize = 250;

/// One run; what went wrong, if anything did.
pub fn case(seed: u64, plugin: &'static str) -> Result<(), String> {
    let mut this = Run::new(seed, plugin);
    let mut log = Vec::new();
    let result = play(&mut this, &mut log);

    if let Err(why) = &result {
        keep(seed, &this, &log, why);
    }
    this.end();
    result
}

/// The commands of one run.
struct Commands {
    receive: Running,
    catchup: Option<Running>,
    target: String,
}

fn words(run: &Run, target: &str) -> Vec<String> {
    let source = run.follow.pair.source();
    let more = ["--source", &source, "--target", target, "--resume"];
    run.follow.words(&["catchup"], &more)
}

fn start_catchup(run: &Run, target: &str) -> Running {
    let words = words(run, target);
    start(&words.iter().map(String::as_str).collect::<Vec<_>>())
}

fn play(this: &mut Run, log: &mut Vec<String>) -> Result<(), String> {
    let target = this.follow.pair.target();
    this.follow.pair.in_target(&this.schema.ddl);
    fill_both(this)?;
    let out = this.follow.setup(&[]);
    must(&out, "setup")?;
    must(
        &this.follow.command(&["sentinel", "set", "apply"], &[]),
        "set apply",
    )?;
    let mut load = Load::connect(&this.follow.pair.source(), this.follow.plugin);
    let mut commands = Commands {
        receive: this.follow.start(&[]),
        catchup: None,
        target,
    };
    let result = work(this, &mut load, &mut commands).and_then(|()| end(this, &mut load, commands));
    log.append(&mut load.log);
    result
}

pub fn must(out: &Output, what: &str) -> Result<(), String> {
    if out.code == 0 {
        return Ok(());
    }
    Err(format!(
        "{what}: exit {}\n{}{}",
        out.code, out.stdout, out.stderr
    ))
}

pub fn wait(milliseconds: usize) {
    within(Duration::from_millis(milliseconds as u64), || false);
}

/// The same rows on both sides.
pub fn fill_both(this: &mut Run) -> Result<(), String> {
    let mut source = connect(&this.follow.pair.source());
    let mut target = connect(&this.follow.pair.target());
    for sql in load::first_rows(&this.schema, &mut this.dice, this.follow.plugin) {
        if source.batch_execute(&sql).is_ok() != target.batch_execute(&sql).is_ok() {
            return Err(format!("the generator is wrong: {sql}"));
        }
    }
    match differences(&this.follow.pair, &this.schema) {
        Some(text) => Err(format!("the generator is wrong: {text}")),
        None => Ok(()),
    }
}

/// The load, and kills in its midst.
fn work(this: &mut Run, load: &mut Load, commands: &mut Commands) -> Result<(), String> {
    for _ in 0..120 + this.dice.below(240) {
        load.step(&this.schema, &mut this.dice);
        match this.dice.below(200) {
            0 | 1 => {
                commands.receive.kill(Signal::SIGKILL);
                commands.receive.wait_within(Duration::from_secs(10));
                commands.receive = this.follow.start(&[]);
            }
            2..6 => {
                this.follow.pair.in_source("select pg_switch_wal()");
            }
            6..10 => match commands.catchup.take() {
                None => commands.catchup = Some(start_catchup(this, &commands.target)),
                Some(mut running) => {
                    running.kill(Signal::SIGKILL);
                    let out = running.wait_within(Duration::from_secs(10));
                    if out.code != 137 {
                        must(&out, "catchup under way")?;
                    }
                }
            },
            10 => must(&this.follow.command(&["prune"], &[]), "prune")?,
            _ => {}
        }
    }
    Ok(())
}

/// All that is committed arrives, whatever dies on the way.
fn end(this: &mut Run, load: &mut Load, mut commands: Commands) -> Result<(), String> {
    load.finish(&mut this.dice);
    if let Some(mut running) = commands.catchup.take() {
        let out = running.wait_within(Duration::from_secs(60));
        must(&out, "catchup under way")?;
    }
    this.follow.end_here();
    if this.dice.chance(1, 2) {
        wait(this.dice.below(200));
        commands.receive.kill(Signal::SIGKILL);
        commands.receive.wait_within(Duration::from_secs(10));
        commands.receive = this.follow.start(&[]);
    }
    must(&commands.receive.wait(), "receive")?;
    if this.dice.chance(1, 4) {
        by_hand(this, &commands.target)?;
    }
    for _ in 0..this.dice.below(4) {
        let mut running = start_catchup(this, &commands.target);
        wait(this.dice.below(LIFE_MAX_MS));
        running.kill(Signal::SIGKILL);
        let out = running.wait_within(Duration::from_secs(10));
        if out.code != 137 {
            must(&out, "catchup")?;
        }
    }
    let out = start_catchup(this, &commands.target).wait();
    must(&out, "the last catchup")?;
    match differences(&this.follow.pair, &this.schema) {
        Some(text) => Err(format!("{text}{}", out.stderr)),
        None => Ok(()),
    }
}

/// File by file, as somebody would do it by hand.
fn by_hand(this: &Run, target: &str) -> Result<(), String> {
    let mut names: Vec<_> = std::fs::read_dir(this.follow.cdc())
        .expect("the folder of changes")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "json"))
        .filter(|path| path.file_stem().is_some_and(|stem| stem.len() == 24))
        .collect();
    names.sort();
    for json in names {
        let sql = json.with_extension("sql");
        let (json, sql) = (json.to_string_lossy(), sql.to_string_lossy());
        let words = this.follow.words(&["transform"], &[&json, &sql]);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        must(&run(&words), "transform")?;
        let words = this
            .follow
            .words(&["apply"], &["--resume", "--target", target, &sql]);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let out = run(&words);
        // A transaction over two files is for catchup; so are files behind a place that was left open.
        if out.code == 3 && out.stderr.contains("begins in an earlier file") {
            return Ok(());
        }
        must(&out, "apply")?;
    }
    Ok(())
}
