//! Looking at a work directory, by `status` and the lists: at any time, by anybody, without a trace.

use crate::support::program::run_among_mounts;
use crate::support::{Output, Pair, WorkDir, pause, run, within};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

fn json(out: &Output) -> Value {
    serde_json::from_str(&out.stdout).unwrap_or_else(|error| panic!("{error}:\n{}", out.stdout))
}

fn status(dir: &str) -> Value {
    json(&run(&["status", "--json", "--dir", dir]).exits(0))
}

fn progress(dir: &str) -> Value {
    json(&run(&["list", "progress", "--json", "--dir", dir]).exits(0))
}

/// Every file below a folder with its size and time of change.
fn trace(folder: &Path) -> BTreeMap<String, (u64, std::time::SystemTime)> {
    let mut found = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(path) = open.pop() {
        let status = std::fs::metadata(&path).unwrap();
        if status.is_dir() {
            open.extend(std::fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()));
        }
        let size = if status.is_dir() { 0 } else { status.len() };
        found.insert(
            path.display().to_string(),
            (size, status.modified().unwrap()),
        );
    }
    found
}

/// The figures that must never run backwards.
fn counts(document: &Value) -> [u64; 5] {
    [
        "/tables/done",
        "/indexes/done",
        "/bytes/done",
        "/bytes/copied",
        "/tables/total",
    ]
    .map(|place| document.pointer(place).and_then(Value::as_u64).unwrap())
}

/// What one reader saw, and when.
struct Look {
    begun: Instant,
    ended: Instant,
    figures: Option<[u64; 5]>,
}

/// One reader: its run must end well.
fn look(dir: &str, command: &[&str]) -> Look {
    let begun = Instant::now();
    let document = json(&run(&[command, &["--json", "--dir", dir]].concat()).exits(0));
    let figures = document.get("progress").unwrap_or(&document);
    Look {
        begun,
        ended: Instant::now(),
        figures: (!figures.is_null()).then(|| counts(figures)),
    }
}

/// Starts a reader each `PACE`, however long the others take, until told to stop.
fn read_on(dir: &str, over: &AtomicBool) -> Vec<Look> {
    std::thread::scope(|scope| {
        let (since, mut readers) = (Instant::now(), Vec::new());
        while !over.load(Ordering::Relaxed) {
            let due = since.elapsed().as_millis() / PACE.as_millis();
            while u128::try_from(readers.len()).unwrap() < due {
                let command = [&["list", "progress"][..], &["status"]][readers.len() % 2];
                readers.push(scope.spawn(move || look(dir, command)));
            }
            pause();
        }
        let looks = readers.into_iter().map(|reader| reader.join().unwrap());
        looks.collect()
    })
}

/// Who begins after another one has ended sees no less.
fn assert_forward(looks: &[Look]) {
    for one in looks {
        let later = looks.iter().filter(|next| next.begun > one.ended);
        for next in later {
            let (Some(before), Some(now)) = (one.figures, next.figures) else {
                // before the run is known, one command shows zeros and the other nothing
                let known = one.figures.is_some_and(|figures| figures != [0; 5]);
                assert!(!known || next.figures.is_some(), "figures went away");
                continue;
            };
            let is_forward = before.iter().zip(&now).take(4).all(|(a, b)| a <= b);
            assert!(is_forward, "{before:?} is followed by {now:?}");
        }
    }
}

/// Twenty readers a second.
const PACE: Duration = Duration::from_millis(50);

const TABLES: &str = "
    create table parted (id integer primary key, t text);
    insert into parted select i, repeat('x', 200) from generate_series(1, 150000) i;
    do $$ begin for n in 1..60 loop
        execute format('create table t%s (id integer primary key, t text)', n);
        execute format('insert into t%s select i, repeat(''y'', 100) from generate_series(1, %s) i', n, n * 60);
        execute format('create index on t%s (t, id)', n);
    end loop; end $$;
    create table odd (\"a.b\" integer, \"ü \"\"q\"\"\" text); insert into odd values (1, 'x')";

#[test]
fn twenty_readers_a_second_see_no_error_and_no_step_back_and_disturb_nothing() {
    let (pair, work) = (Pair::with(TABLES), WorkDir::new());
    let mut clone = pair.start(&work, &["--split-tables-larger-than", "4MB"]);
    let dir = work.dir();
    assert!(within(Duration::from_secs(30), || work
        .path()
        .join("schema")
        .exists()));
    let (over, since) = (AtomicBool::new(false), Instant::now());
    let (ended, elapsed, looks) = std::thread::scope(|scope| {
        let readers = scope.spawn(|| read_on(&dir, &over));
        let ended = clone.wait_within(Duration::from_secs(120));
        let elapsed = since.elapsed();
        over.store(true, Ordering::Relaxed);
        (ended, elapsed, readers.join().unwrap())
    });
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(!ended.stderr.contains("ERROR"), "{}", ended.stderr);
    assert_forward(&looks);
    let count = f64::from(u32::try_from(looks.len()).unwrap());
    assert!(
        count > 20.0 && count / elapsed.as_secs_f64() > 19.0,
        "{count} in {elapsed:?}"
    );
    pair.assert_equal();
    let end = progress(&dir);
    let [tables, indexes, bytes, copied, total] = counts(&end);
    assert_eq!((tables, total, bytes), (62, 62, copied));
    assert_eq!(indexes, 121);
    assert_eq!(end["state"], "complete");
}

#[test]
fn a_run_is_seen_while_it_goes_on_after_it_was_killed_and_when_it_is_complete() {
    let (pair, work) = (Pair::with(crate::support::servers::GATED), WorkDir::new());
    let dir = work.dir();
    let gate = pair.gate();
    let clone = pair.start(&work, &["--table-jobs=2", "--index-jobs=1"]);
    pair.wait_for_gate(&clone);
    let seen = status(&dir);
    assert_eq!(
        (&seen["state"], &seen["pid"]),
        (&"running".into(), &clone.pid().into())
    );
    let figures = progress(&dir);
    let at_work = figures["tables"]["in-progress"].as_array().unwrap();
    assert!(
        at_work.iter().any(|table| table["name"] == "gated"),
        "{figures:#}"
    );
    assert!(at_work[0]["process"]["pid"].as_i64().unwrap() > 0);
    clone.kill(Signal::SIGKILL);
    drop(gate);
    assert!(clone.is_gone_within(Duration::from_secs(15)));
    let seen = status(&dir);
    assert_eq!(seen["state"], "interrupted");
    let resume = seen["resume"].as_str().unwrap().to_owned();
    assert!(resume.ends_with("--resume --not-consistent"), "{resume}");
    assert!(resume.contains(&dir), "{resume}");
    let highest = counts(&progress(&dir));
    // the command that it names is the one that goes on
    let words: Vec<&str> = resume.split(' ').skip(1).collect();
    run(&words).exits(0);
    pair.assert_equal();
    let seen = status(&dir);
    assert_eq!(seen["state"], "complete");
    assert_eq!(
        (&seen["resume"], &seen["run"]["outcome"]),
        (&Value::Null, &"done".into())
    );
    let now = counts(&seen["progress"]);
    assert!(highest[3] <= now[3], "{highest:?} {now:?}");
    let text = run(&["status", "--dir", &dir]).exits(0).stdout;
    assert!(
        text.contains("State:     complete\n") && text.contains("Next:"),
        "{text}"
    );
    let summary = run(&["list", "progress", "--summary", "--dir", &dir])
        .exits(0)
        .stdout;
    assert!(summary.contains("COPY (cumulative)"), "{summary}");
    let stored = run(&["list", "progress", "--summary", "--json", "--dir", &dir]).exits(0);
    assert_eq!(
        stored.stdout,
        std::fs::read_to_string(work.path().join("summary.json")).unwrap()
    );
}

#[test]
fn looking_leaves_no_trace_and_needs_no_right_to_write() {
    let (pair, work) = (Pair::with("create table t (i integer)"), WorkDir::new());
    pair.clone(&work, &[]).exits(0);
    let dir = work.dir();
    run(&["list", "progress", "--dir", &dir]).exits(0);
    let before = trace(&work.path());
    run(&["status", "--dir", &dir]).exits(0);
    run(&["list", "progress", "--dir", &dir]).exits(0);
    run(&["list", "progress", "--summary", "--dir", &dir]).exits(0);
    run(&["list", "progress", "--watch", "--dir", &dir]).exits(0);
    assert_eq!(trace(&work.path()), before);
    let read_only = format!("mount --bind {dir} {dir}; mount -o remount,ro,bind {dir}");
    for command in [&["status"][..], &["list", "progress"]] {
        let arguments = [command, &["--dir", &dir]].concat();
        if let Some(out) = run_among_mounts(&read_only, &arguments) {
            out.exits(0).says(&["complete"]);
        }
    }
}

#[test]
fn a_killed_runs_directory_that_cannot_be_written_is_read_with_its_log() {
    let (pair, work) = (Pair::with(crate::support::servers::GATED), WorkDir::new());
    let gate = pair.gate();
    let clone = pair.start(&work, &["--table-jobs=1", "--index-jobs=1"]);
    pair.wait_for_gate(&clone);
    for pid in clone.children() {
        crate::support::program::signal(pid, Signal::SIGKILL);
    }
    clone.kill(Signal::SIGKILL);
    drop(gate);
    assert!(clone.is_gone_within(Duration::from_secs(15)));
    let dir = work.dir();
    let read_only = format!("mount --bind {dir} {dir}; mount -o remount,ro,bind {dir}");
    for command in [&["status"][..], &["list", "progress"]] {
        let arguments = [command, &["--dir", &dir]].concat();
        if let Some(out) = run_among_mounts(&read_only, &arguments) {
            out.exits(0).says(&["interrupted"]);
        }
    }
}

#[test]
fn without_a_run_status_answers_and_progress_says_what_is_missing() {
    let work = WorkDir::new();
    let dir = work.dir();
    let refused = |words: &str| {
        run(&["list", "progress", "--dir", &dir])
            .exits(3)
            .says(&[words, "--dir"]);
    };
    assert_eq!(status(&dir)["state"], "missing");
    refused("does not exist");
    assert!(!work.path().exists());
    std::fs::create_dir(work.path()).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(work.path(), mode).unwrap();
    assert_eq!(status(&dir)["state"], "idle");
    refused("no run has begun");
    std::fs::write(work.path().join("precious.txt"), "x").unwrap();
    let seen = status(&dir);
    assert_eq!(seen["state"], "foreign");
    assert!(seen["reason"].as_str().unwrap().contains("precious.txt"));
    refused("is not a work directory");
    let names: Vec<_> = std::fs::read_dir(work.path()).unwrap().collect();
    assert_eq!(names.len(), 1);
    run(&["list", "progress", "--summary", "--watch", "--dir", &dir]).exits(1);
    run(&["list", "progress", "--watch", "0", "--dir", &dir]).exits(1);
    run(&["status", "--source", "x"])
        .exits(1)
        .says(&["option --source is not used"]);
}

#[test]
fn watching_ends_with_the_run_and_prints_a_document_a_line() {
    let (pair, work) = (Pair::with(crate::support::servers::GATED), WorkDir::new());
    let dir = work.dir();
    let gate = pair.gate();
    let clone = pair.start(&work, &["--table-jobs=2"]);
    pair.wait_for_gate(&clone);
    let watch =
        crate::support::start(&["list", "progress", "--json", "--watch", "1", "--dir", &dir]);
    crate::support::pause();
    drop(gate);
    clone.wait().exits(0);
    let out = watch.wait().exits(0);
    let last: Value = serde_json::from_str(out.stdout.lines().last().unwrap()).unwrap();
    assert_eq!(last["state"], "complete");
    assert_eq!(counts(&last)[0], 2);
}

#[test]
fn dl_35_lists_take_what_a_work_directory_has_and_leave_it_as_it_is() {
    let (pair, work) = (
        Pair::with("create table t (i integer primary key); create sequence s"),
        WorkDir::new(),
    );
    pair.clone(&work, &[]).exits(0);
    pair.in_source("create table later (i integer)");
    let (source, dir) = (pair.source(), work.dir());
    let tables = |more: &[&str]| {
        run(&[
            &["list", "tables", "--source", &source, "--dir", &dir],
            more,
        ]
        .concat())
        .exits(0)
    };
    let taken = tables(&[]).says(&["Using the catalogs", "--force"]);
    assert!(!taken.stdout.contains("later"), "{}", taken.stdout);
    for anew in [
        &["--force"][..],
        &["--split-at", "1 MB"],
        &["--estimate-table-sizes"],
    ] {
        let out = tables(anew);
        assert!(
            out.stdout.contains("later") && !out.stderr.contains("Using"),
            "{anew:?} {}",
            out.stdout
        );
    }
    let filtered = (
        Pair::with("create table kept (i integer); create table left_out (i integer)"),
        WorkDir::new(),
    );
    let filters = filtered
        .1
        .file("filters.ini", "[exclude-table]\npublic.left_out\n");
    filtered
        .0
        .clone(&filtered.1, &["--filters", &filters])
        .exits(0);
    let (of_filtered, in_filtered) = (filtered.0.source(), filtered.1.dir());
    let all = run(&[
        "list",
        "tables",
        "--source",
        &of_filtered,
        "--dir",
        &in_filtered,
    ])
    .exits(0);
    assert!(all.stdout.contains("left_out"), "{}", all.stdout);
    let other = Pair::with("create table another (i integer)");
    let of_other = run(&["list", "tables", "--source", &other.source(), "--dir", &dir]).exits(0);
    assert!(of_other.stdout.contains("another") && !of_other.stdout.contains(" t |"));
    let read_only = format!("mount --bind {dir} {dir}; mount -o remount,ro,bind {dir}");
    for what in [
        "tables",
        "indexes",
        "sequences",
        "schema",
        "extensions",
        "collations",
    ] {
        let arguments = ["list", what, "--source", &source, "--dir", &dir];
        run(&arguments).exits(0);
        if let Some(out) = run_among_mounts(&read_only, &arguments) {
            out.exits(0);
        }
    }
    let status = run(&["status", "--json", "--dir", &dir]).exits(0);
    assert!(status.stdout.contains("\"complete\""), "{}", status.stdout);
    assert!(!work.path().join("schema.json").exists());
}
