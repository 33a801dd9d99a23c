//! What `pgcopy` shows: log lines, two lines above them, the whole screen, events for programs; the question; signals.
//! Terminals are those of tmux; without it these tests are skipped aloud.

use std::collections::BTreeMap;
use std::path::Path;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::program::{path_of, signal, start_program};
use crate::support::shops::{gated_shops, shops};
use crate::support::terminal::Terminal;
use crate::support::{Output, PATIENCE, Pair, WorkDir, within};

/// Few enough tables for every one to have a line on the screen; eggs refer to hens that do not come along.
const FEW: [&str; 2] = ["--include", "shop.gated,shop.customer,shop.same1,shop.egg"];

/// The same shops, where the table at the gate is large enough to be copied alone.
fn large_shops() -> Pair {
    let pair = gated_shops();
    pair.in_source(
        "insert into shop.gated select i, 1 + i % 3000 from generate_series(101, 20000) i; analyze",
    );
    pair
}

fn events(out: &Output) -> Vec<Value> {
    let lines = out.stdout.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no object: {line}")))
        .collect()
}

fn count(events: &[Value]) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    for event in events {
        let name = event["event"].as_str().unwrap().to_owned();
        *found.entry(name).or_default() += 1;
    }
    found
}

#[test]
fn events_are_one_object_a_line_and_the_summary_is_the_last_one() {
    let pair = gated_shops();
    pair.in_target(
        "insert into audit.trail values (1000, 100001) on conflict (id) do update set customer = 100001",
    );
    let gate = pair.gate();
    let work = WorkDir::new();
    let more = ["--output", "json", "--exclude", "audit.*"];
    let run = pair.start_copy(&work, &more);
    pair.wait_for_gate(&run);
    // whoever follows the events may be killed: its successor goes on where it stopped
    for pid in run.children_named("progress") {
        signal(pid, Signal::SIGKILL);
    }
    drop(gate);
    let out = run.wait().exits(10);
    let all = events(&out);
    let first = &all[0];
    assert_eq!(
        (&first["event"], &first["format"]),
        (&"start".into(), &1.into())
    );
    assert!(!out.stdout.contains('\x1b'));
    let counts = count(&all);
    let tables = all[1]["tables"].as_array().unwrap().len();
    assert_eq!(all[1]["event"], "plan");
    // a worker takes many small tables at once, and is at one of them
    for event in all.iter().filter(|event| event["event"] == "progress") {
        let running = event["running"].as_array().unwrap().len();
        assert!(running <= 4, "{event}");
    }
    for event in ["table_started", "table_done"] {
        assert_eq!(counts[event], tables, "{event}");
    }
    assert_eq!((counts["keys_removed"], counts["sequences"]), (1, 1));
    let broken: Vec<&Value> = all.iter().filter(|e| e["state"] == "not_valid").collect();
    assert_eq!(broken.len(), 1);
    assert_eq!(broken[0]["name"], "trail_customer_fk");
    assert_eq!(broken[0]["offending_rows"], 1);
    let query = broken[0]["query"].as_str().unwrap();
    assert_eq!(pair.in_target(query), "1000|100001");
    let last = all.last().unwrap();
    assert_eq!(last["event"], "summary");
    assert_eq!(
        (&last["result"], &last["exit"]),
        (&"keys_not_valid".into(), &10.into())
    );
    assert_eq!(last["tables"], tables);
    for event in &all {
        assert_eq!(event["run"], first["run"]);
        assert_eq!(event["time"].as_str().unwrap().len(), 24, "{event}");
    }
    let refused = pair.copy(&work, &["--output", "json", "--include", "nowhere"]);
    let all = events(&refused.exits(3));
    assert_eq!(all[all.len() - 2]["event"], "error");
    assert_eq!(all[all.len() - 1]["result"], "refused");
}

#[test]
fn the_plain_log_says_how_far_the_run_is_and_moves_no_cursor() {
    let pair = large_shops();
    let gate = pair.gate();
    let run = pair.start_copy(&WorkDir::new(), &["--output", "plain"]);
    pair.wait_for_gate(&run);
    assert!(within(PATIENCE * 2, || run.said().contains("Progress: ")));
    drop(gate);
    let out = run.wait().exits(0);
    let line = out
        .stderr
        .lines()
        .find(|line| line.contains("Progress: "))
        .unwrap();
    assert!(
        line.contains(" tables, ") && line.contains("running: shop.gated"),
        "{line}"
    );
    assert!(!out.stderr.contains(['\x1b', '\r']));
    // without a terminal there is nothing to draw on
    for mode in ["progress", "interactive"] {
        let out = pair
            .copy(&WorkDir::new(), &["-v", "--output", mode])
            .exits(0);
        assert!(!out.stderr.contains('\x1b'));
        assert!(out.stderr.contains("is no terminal"), "{}", out.stderr);
    }
}

/// The command line of a copy for a shell.
fn command(pair: &Pair, work: &WorkDir, more: &[&str]) -> String {
    let source = pair.from.uri_as(&pair.db, "app", "");
    let target = pair.to.uri_as(&pair.db, "app", "");
    let program = path_of("pgcopy");
    format!(
        "{} copy -s {source} -t {target} --dir {} {}",
        program.display(),
        work.dir(),
        more.join(" ")
    )
}

/// Takes from a screen what varies from run to run: names of servers and files, times and rates, what came first.
fn settled(screen: &str) -> Vec<String> {
    let is_number = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
    // 7ms, 3s120, 12s, 1m07s
    let is_time = |word: &str| {
        let digits = word.replace("ms", "").replace(['m', 's'], "");
        word.contains('s') && is_number(&digits)
    };
    let word = |word: &str| -> String {
        if word.starts_with("postgres://") || word.starts_with("127.0.0.1:") {
            "PLACE".to_owned()
        } else if is_time(word) {
            "TIME".to_owned()
        } else {
            word.to_owned()
        }
    };
    let line = |line: &str| -> String {
        // where files are, and what is foretold
        let line = line.split('"').next().unwrap_or_default();
        let line = line.split(" ETA").next().unwrap_or_default();
        let words: Vec<String> = line.split_whitespace().map(word).collect();
        let mut kept: Vec<&str> = words.iter().map(String::as_str).collect();
        while let Some(at) = kept.iter().position(|word| word.ends_with("B/s")) {
            kept.drain(at.saturating_sub(1)..=at);
        }
        kept.join(" ")
    };
    let mut lines: Vec<String> = screen.lines().map(line).collect();
    let at = lines.iter().position(|line| line.starts_with('+'));
    let count = lines.iter().filter(|line| line.starts_with('+')).count();
    if let Some(at) = at {
        lines[at..at + count].sort();
    }
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    lines
}

#[track_caller]
fn assert_screen(screen: &str, name: &str) {
    // where not all lines have room, it is chance which ones have
    let settled = |screen: &str| -> Vec<String> {
        let lines = settled(screen).into_iter();
        let is_full = screen.contains("more done");
        lines
            .filter(|line| !(is_full && line.starts_with('+')))
            .collect()
    };
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(name);
    let kept = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        settled(screen) == settled(&kept),
        "{name}:\n{screen}\n---\n{kept}"
    );
}

#[test]
fn the_screen_shows_tables_and_is_gone_at_the_end() {
    let pair = large_shops();
    let work = WorkDir::new();
    let gate = pair.gate();
    let shown = command(
        &pair,
        &work,
        &[&FEW[..], &["--yes", "--output", "interactive"]].concat(),
    );
    let Some(terminal) = Terminal::open((100, 24), &format!("NO_COLOR=1 {shown}")) else {
        return;
    };
    terminal.shows("3/4 tables done");
    assert_screen(&terminal.screen(), "pgcopy-interactive-100x24.screen");
    terminal.resize(60, 10);
    terminal.shows("shop.gated                           0 %");
    assert_screen(&terminal.screen(), "pgcopy-interactive-60x10.screen");
    terminal.resize(100, 24);
    drop(gate);
    terminal.shows("ended with 10");
    let screen = terminal.screen();
    assert!(
        screen.contains("Sequences: ") && screen.contains("The log is "),
        "{screen}"
    );
    let log = std::fs::read_to_string(work.path().join("pgcopy.log")).unwrap();
    assert!(log.contains("COPY shop.gated") && !screen.contains("COPY shop.gated"));
}

#[test]
fn two_lines_stay_above_the_log_and_leave_the_terminal_as_it_was() {
    let pair = large_shops();
    let gate = pair.gate();
    let more = [&FEW[..], &["--yes", "--output", "progress"]].concat();
    let shown = command(&pair, &WorkDir::new(), &more);
    let Some(terminal) = Terminal::open((100, 24), &shown) else {
        return;
    };
    terminal.shows("3/4 tables");
    terminal.shows("COPY shop.customer");
    let top: Vec<String> = terminal
        .screen()
        .lines()
        .take(2)
        .map(str::to_owned)
        .collect();
    assert_screen(&top.join("\n"), "pgcopy-progress.screen");
    terminal.resize(60, 12);
    assert!(within(PATIENCE, || terminal
        .screen()
        .lines()
        .next()
        .is_some_and(|l| l.len() <= 60)));
    drop(gate);
    terminal.shows("ended with 10");
    // the whole height scrolls again
    terminal.types("seq 100 140");
    let scrolled = || {
        let screen = terminal.screen();
        let first = screen.lines().next().unwrap_or_default();
        first.trim().parse::<u32>().is_ok()
    };
    assert!(within(PATIENCE, scrolled), "{}", terminal.screen());
}

#[test]
fn only_the_word_yes_goes_on() {
    let pair = shops();
    let before = pair.target_state();
    let work = WorkDir::new();
    let asking = command(&pair, &work, &["--include", "audit.plain_3"]);
    for (answer, said) in [("y", "ended with 3"), ("C-c", "ended with 130")] {
        let Some(terminal) = Terminal::open((100, 40), &asking) else {
            return;
        };
        terminal.shows("Type yes to go on:");
        assert!(
            terminal
                .screen()
                .contains("pgcopy plan: nothing has been changed")
        );
        terminal.types(answer);
        terminal.shows(said);
        assert!(
            terminal
                .screen()
                .to_lowercase()
                .contains("nothing was changed")
        );
        assert_eq!(before, pair.target_state());
    }
    let Some(terminal) = Terminal::open((100, 40), &asking) else {
        return;
    };
    terminal.shows("Type yes to go on:");
    terminal.types("YES");
    terminal.shows("ended with 0");
    assert_eq!(pair.in_target("select count(*) from audit.plain_3"), "60");
}

#[test]
fn a_first_interrupt_puts_back_and_a_second_one_leaves_at_once() {
    let pair = gated_shops();
    let before = pair.target_schema();
    let one = ["--include", "shop.gated"];
    let gate = pair.gate();
    let mut run = pair.start_copy(&WorkDir::new(), &one);
    pair.wait_for_gate(&run);
    run.kill(Signal::SIGINT);
    run.wait_within(PATIENCE * 3)
        .exits(130)
        .says(&["back as they were"]);
    assert_eq!(before, pair.target_schema());
    let work = WorkDir::new();
    let mut run = pair.start_copy(&work, &one);
    pair.wait_for_gate(&run);
    // the key cannot come back while somebody holds the table that it refers to
    let lock = pair.hold_open("lock table shop.customer in access exclusive mode");
    run.kill(Signal::SIGINT);
    assert!(
        within(PATIENCE * 2, || run
            .said()
            .contains("Restoring 1 foreign keys")),
        "{}",
        run.said()
    );
    run.kill(Signal::SIGINT);
    let out = run.wait_within(PATIENCE).exits(130);
    assert!(
        out.stderr.contains("pgcopy restore-constraints"),
        "{}",
        out.stderr
    );
    drop((lock, gate));
    assert_ne!(before, pair.target_schema());
    pair.pgcopy("restore-constraints", &work, &["--dry-run"])
        .exits(0)
        .says(&["add constraint"]);
    pair.pgcopy("restore-constraints", &work, &[]).exits(0);
    assert_eq!(before, pair.target_schema());
}

#[test]
fn each_kind_of_failure_has_its_exit_code() {
    let pair = shops();
    let (source, target) = (pair.source(), pair.target());
    let nowhere = format!("{source}_that_is_not_there");
    let work = WorkDir::new();
    let copy = |source: &str, more: &[&str]| {
        let dir = work.dir();
        let all = ["copy", "-s", source, "-t", &target, "--dir", &dir];
        start_program("pgcopy", &[&all[..], more].concat()).wait()
    };
    copy(&source, &["--no-such-option"]).exits(1);
    copy(&source, &["--batch-size", "0"])
        .exits(1)
        .says(&["--batch-size"]);
    copy(&source, &[]).exits(3).says(&["--yes"]);
    copy(&nowhere, &["--yes"])
        .exits(6)
        .says(&["does not exist"]);
    // a row that the target refuses
    pair.in_target("alter table audit.plain_3 add check (id < 5)");
    let out = copy(&source, &["--yes", "--include", "audit.plain_3"]).exits(7);
    assert!(out.stderr.contains("23514"), "{}", out.stderr);
    assert!(!out.stderr.contains("Failing row"), "{}", out.stderr);
}
