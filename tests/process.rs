//! Forks, reports, signals and reaping, as the supervisor does them. Needs no server.
//!
//! The fork site refuses a process with more than one thread, and the harness of `cargo test` has
//! many: so this program has a harness of its own, one test after the other in one thread.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    missing_docs,
    reason = "a test may fail loudly, and nobody links against it"
)]

use std::os::fd::AsRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use pgcopydb::error::{Error, Kind, Result};
use pgcopydb::queue::{self, Bell, Message};
use pgcopydb::supervisor::{self, End, Event, Host, Leaf, Machine, Order, Report, Role};
use pgcopydb::sys::fork::{self, PANIC_EXIT_CODE, Reporter};
use pgcopydb::sys::reap::{self, Child, Ended};
use pgcopydb::sys::{clock, signal};
use pgcopydb::workdir::{Claim, Intent, Layout, Remains};

/// The limit of every wait here, and the promise of a stop.
const PATIENCE: Duration = Duration::from_secs(10);

type Test = (&'static str, fn());

const TESTS: &[Test] = &[
    ("a_child_reports_and_ends", a_child_reports_and_ends),
    ("a_panic_is_an_exit_code", a_panic_is_an_exit_code),
    ("a_killed_child_is_reaped", a_killed_child_is_reaped),
    (
        "no_other_descriptor_reaches_a_child",
        no_other_descriptor_reaches_a_child,
    ),
    (
        "nothing_forks_beside_a_thread",
        nothing_forks_beside_a_thread,
    ),
    ("a_child_dies_with_its_parent", a_child_dies_with_its_parent),
    (
        "a_leaf_hears_that_its_parent_is_gone",
        a_leaf_hears_that_its_parent_is_gone,
    ),
    ("leaves_report_in_order", leaves_report_in_order),
    (
        "a_crashed_leaf_is_told_from_a_failed_one",
        a_crashed_leaf_is_told_from_a_failed_one,
    ),
    ("what_a_killed_leaf_s_tool_had_started_goes_too", {
        what_a_killed_leaf_s_tool_had_started_goes_too
    }),
    ("a_stop_ends_a_willing_leaf_at_once", {
        a_stop_ends_a_willing_leaf_at_once
    }),
    ("a_stop_sent_to_a_child_just_forked_is_heard", {
        a_stop_sent_to_a_child_just_forked_is_heard
    }),
    ("a_stop_kills_what_ignores_it_in_time", {
        a_stop_kills_what_ignores_it_in_time
    }),
    ("queues_of_a_killed_run_are_swept", {
        queues_of_a_killed_run_are_swept
    }),
    (
        "foreign_queues_are_left_alone",
        foreign_queues_are_left_alone,
    ),
];

fn main() -> ExitCode {
    let wanted: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with('-'))
        .collect();
    let chosen: Vec<&Test> = TESTS
        .iter()
        .filter(|(name, _)| wanted.is_empty() || wanted.iter().any(|word| name.contains(word)))
        .collect();
    println!("\nrunning {} tests", chosen.len());
    let mut failed = Vec::new();
    for (name, test) in &chosen {
        let passed = catch_unwind(AssertUnwindSafe(test)).is_ok();
        println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
        if !passed {
            failed.push(*name);
        }
    }
    let word = if failed.is_empty() { "ok" } else { "FAILED" };
    let left_out = TESTS.len() - chosen.len();
    println!(
        "\ntest result: {word}. {} passed; {} failed; 0 ignored; 0 measured; {left_out} filtered out",
        chosen.len() - failed.len(),
        failed.len()
    );
    ExitCode::from(u8::from(!failed.is_empty()))
}

/// Everything a child says, and how it ended.
fn hear_out(child: &mut Child) -> (Vec<String>, Ended) {
    let since = Instant::now();
    let mut lines = Vec::new();
    while since.elapsed() < PATIENCE {
        if reap::poll_all(&[&*child], Duration::from_millis(100)).is_empty() {
            continue;
        }
        let news = child.read().expect("a pipe of ours can be read");
        lines.extend(news.lines);
        if let Some(ended) = news.ended {
            return (lines, ended);
        }
    }
    child.signal(Signal::SIGKILL);
    panic!("process {} does not end, it said {lines:?}", child.pid());
}

/// The next line of a child that goes on.
fn next_line(child: &mut Child) -> String {
    let since = Instant::now();
    while since.elapsed() < PATIENCE {
        if reap::poll_all(&[&*child], Duration::from_millis(100)).is_empty() {
            continue;
        }
        let news = child.read().expect("a pipe of ours can be read");
        assert!(news.ended.is_none(), "it ended: {:?}", news.ended);
        if let Some(line) = news.lines.first() {
            return line.clone();
        }
    }
    panic!("process {} says nothing", child.pid());
}

/// Is it there, and no zombie?
fn lives(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

fn ends(pid: i32) -> bool {
    let since = Instant::now();
    while lives(pid) && since.elapsed() < PATIENCE {
        clock::nap(Duration::from_millis(20));
    }
    !lives(pid)
}

/// Does nothing, whatever signal comes.
fn sleep_for_ever() -> ! {
    loop {
        clock::nap(Duration::from_secs(1));
    }
}

fn a_child_reports_and_ends() {
    let mut child = fork::spawn("test", |reporter| {
        reporter.send("one");
        reporter.send("two");
        7
    })
    .unwrap();
    let (lines, ended) = hear_out(&mut child);
    assert_eq!(lines, ["one", "two"]);
    assert_eq!(ended, Ended::Exit(7));
}

fn a_panic_is_an_exit_code() {
    let mut child = fork::spawn("test", |reporter| {
        reporter.send("before");
        std::panic::set_hook(Box::new(|_| {}));
        panic!("on purpose");
    })
    .unwrap();
    let (lines, ended) = hear_out(&mut child);
    assert_eq!(lines, ["before"]);
    assert_eq!(ended, Ended::Exit(PANIC_EXIT_CODE));
}

fn a_killed_child_is_reaped() {
    let mut child = fork::spawn("test", |reporter| {
        reporter.send("here");
        sleep_for_ever()
    })
    .unwrap();
    assert_eq!(next_line(&mut child), "here");
    let pid = child.pid();
    child.signal(Signal::SIGKILL);
    let (_, ended) = hear_out(&mut child);
    assert_eq!(ended, Ended::Signal(Signal::SIGKILL as i32));
    let there = std::path::Path::new("/proc").join(pid.to_string()).exists();
    assert!(!there, "a zombie is left");
}

fn no_other_descriptor_reaches_a_child() {
    let file = tempfile::tempfile().unwrap();
    let (pipe_out, pipe_in) = nix::unistd::pipe().unwrap();
    let open = [file.as_raw_fd(), pipe_out.as_raw_fd(), pipe_in.as_raw_fd()];
    assert!(open.iter().all(|fd| *fd > 2));
    let mut child = fork::spawn("test", |reporter| {
        let listed = std::fs::read_dir("/proc/self/fd").expect("/proc");
        // the listing's own descriptor is closed by the time the links are read
        let names: Vec<_> = listed.map(|entry| entry.unwrap().path()).collect();
        for path in names {
            if let Ok(what) = std::fs::read_link(&path) {
                let number = path.file_name().unwrap().to_string_lossy().into_owned();
                reporter.send(&format!("{number} {}", what.display()));
            }
        }
        0
    })
    .unwrap();
    let (lines, _) = hear_out(&mut child);
    let above_two: Vec<&String> = lines
        .iter()
        .filter(|line| !["0 ", "1 ", "2 "].iter().any(|fd| line.starts_with(fd)))
        .collect();
    assert_eq!(above_two.len(), 1, "{lines:?}");
    assert!(above_two[0].contains("pipe:"), "{lines:?}");
}

fn nothing_forks_beside_a_thread() {
    let (release, held) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || held.recv());
    let refused = fork::spawn("test", |_| 0).unwrap_err();
    assert_eq!(refused.kind(), Kind::Internal);
    drop(release);
    let _ended = thread.join();
    // The kernel's entry of the thread may outlive the join by a moment.
    let since = Instant::now();
    let threads = || std::fs::read_dir("/proc/self/task").unwrap().count();
    while threads() > 1 && since.elapsed() < PATIENCE {
        clock::nap(Duration::from_millis(1));
    }
    let mut child = fork::spawn("test", |_| 0).unwrap();
    assert_eq!(hear_out(&mut child).1, Ended::Exit(0));
}

/// A child that starts `body` as its own child and says its pid.
fn parent_of(body: fn(&mut Reporter) -> i32) -> (Child, i32) {
    let mut parent = fork::spawn("parent", move |reporter| {
        let grandchild = fork::spawn("grandchild", body).expect("a second fork");
        reporter.send(&grandchild.pid().to_string());
        sleep_for_ever()
    })
    .unwrap();
    let pid = next_line(&mut parent).parse().unwrap();
    assert!(lives(pid));
    (parent, pid)
}

fn a_child_dies_with_its_parent() {
    let (mut parent, grandchild) = parent_of(|_| sleep_for_ever());
    parent.signal(Signal::SIGKILL);
    hear_out(&mut parent);
    assert!(ends(grandchild), "process {grandchild} outlives its parent");
}

/// Starts a leaf under a supervisor that is killed: the leaf counts signals and must stop by itself.
fn a_leaf_hears_that_its_parent_is_gone() {
    let mut parent = fork::spawn("parent", |reporter| {
        signal::install().expect("handlers");
        let leaf = supervisor::spawn(Role::Copy, 1, false, |leaf| {
            leaf.nap(Duration::from_secs(600))
        });
        reporter.send(&leaf.expect("a leaf").pid().to_string());
        sleep_for_ever()
    })
    .unwrap();
    let leaf = next_line(&mut parent).parse().unwrap();
    parent.signal(Signal::SIGKILL);
    hear_out(&mut parent);
    assert!(ends(leaf), "leaf {leaf} outlives its supervisor");
}

type Body = fn(&mut Leaf<'_>) -> Result<()>;

/// A supervisor of one leaf, in a process of its own since it counts signals; its verdict.
fn supervise(body: Body, stop_at_report: bool) -> (Vec<String>, Duration) {
    let since = Instant::now();
    let mut child = fork::spawn("supervisor", move |reporter| {
        signal::install().expect("handlers");
        let mut machine = One {
            seen: Vec::new(),
            stop_at_report,
        };
        let mut host = Starter { body, leaf: None };
        let result = supervisor::run(&mut machine, &mut host);
        for line in &machine.seen {
            reporter.send(line);
        }
        let left = host.leaf.is_some_and(lives);
        reporter.send(&format!("left: {left}, ok: {}", result.is_ok()));
        0
    })
    .unwrap();
    // twice the promise, so that what broke it can still be told
    let mut lines = Vec::new();
    let ended = loop {
        if since.elapsed() > PATIENCE * 2 {
            child.signal(Signal::SIGKILL);
            panic!("the supervisor does not end, it said {lines:?}");
        }
        if reap::poll_all(&[&child], Duration::from_millis(100)).is_empty() {
            continue;
        }
        let news = child.read().unwrap();
        lines.extend(news.lines);
        if let Some(ended) = news.ended {
            break ended;
        }
    };
    assert_eq!(ended, Ended::Exit(0), "{lines:?}");
    (lines, since.elapsed())
}

/// Starts one leaf, writes down what happens.
struct One {
    seen: Vec<String>,
    stop_at_report: bool,
}

impl Machine for One {
    fn on(&mut self, event: Event) -> Vec<Order> {
        match event {
            Event::Start => vec![Order::Spawn {
                role: Role::Copy,
                number: 3,
                successor: false,
            }],
            Event::Report(role, number, report) => {
                let text = format!("{} {number} {}", role.key(), report.line());
                self.seen.push(text);
                if self.stop_at_report {
                    return vec![Order::StopAll];
                }
                Vec::new()
            }
            Event::Ended(_, _, end) => {
                self.seen.push(match end {
                    End::Done => "done".to_owned(),
                    End::Failed(error) => format!("failed: {error}"),
                    End::Crashed(how) => format!("crashed: {how}"),
                });
                Vec::new()
            }
        }
    }

    fn failure(&self) -> Option<&Error> {
        None
    }
}

struct Starter {
    body: Body,
    leaf: Option<i32>,
}

impl Host for Starter {
    fn spawn(&mut self, role: Role, number: u32, successor: bool) -> Result<Child> {
        let child = supervisor::spawn(role, number, successor, self.body)?;
        self.leaf = Some(child.pid());
        Ok(child)
    }

    fn note(&mut self, _role: Role, _number: u32, _report: &Report) -> Result<()> {
        Ok(())
    }

    fn stopping(&mut self) {}
}

fn say_redo(leaf: &mut Leaf<'_>) {
    leaf.report(&Report::Redo);
}

const REDO: &str = r#"copy 3 {"t":"redo"}"#;

fn leaves_report_in_order() {
    let (lines, _) = supervise(
        |leaf| {
            say_redo(leaf);
            say_redo(leaf);
            Ok(())
        },
        false,
    );
    assert_eq!(lines, [REDO, REDO, "done", "left: false, ok: true"]);
}

fn a_crashed_leaf_is_told_from_a_failed_one() {
    let (lines, _) = supervise(|_| Err(Error::internal("no reason")), false);
    assert_eq!(lines[0], "failed: no reason");
    let (lines, _) = supervise(
        |_| {
            let own = Pid::this();
            kill(own, Signal::SIGKILL).expect("a signal to ourselves");
            Ok(())
        },
        false,
    );
    assert!(
        lines[0].starts_with("crashed: ") && lines[0].contains("SIGKILL"),
        "{lines:?}"
    );
}

/// Processes whose command line holds that text.
fn running(text: &str) -> usize {
    let listing = std::fs::read_dir("/proc").unwrap();
    let paths = listing.map(|entry| entry.unwrap().path().join("cmdline"));
    paths
        .filter_map(|path| std::fs::read(path).ok())
        .filter(|line| String::from_utf8_lossy(line).contains(text))
        .count()
}

fn what_a_killed_leaf_s_tool_had_started_goes_too() {
    const SLEEP: &str = "86399.5";
    let (lines, _) = supervise(
        |_| {
            let mut shell = std::process::Command::new("sh");
            shell.args(["-c", "sleep 86399.5 & sleep 86399.5"]);
            pgcopydb::sys::tool::prepare(&mut shell);
            #[allow(
                clippy::zombie_processes,
                reason = "this process dies before the shell, which is the point"
            )]
            let _tool = shell.spawn().expect("a shell");
            let since = Instant::now();
            while running(SLEEP) < 3 && since.elapsed() < PATIENCE {
                clock::nap(Duration::from_millis(5));
            }
            kill(Pid::this(), Signal::SIGKILL).expect("a signal to ourselves");
            Ok(())
        },
        false,
    );
    assert!(lines[0].starts_with("crashed: "), "{lines:?}");
    assert_eq!(running(SLEEP), 0, "of a tool whose leaf was killed");
}

fn a_stop_ends_a_willing_leaf_at_once() {
    let (lines, took) = supervise(
        |leaf| {
            say_redo(leaf);
            leaf.nap(Duration::from_secs(600))
        },
        true,
    );
    assert_eq!(lines.last().unwrap(), "left: false, ok: true");
    assert!(lines[1].starts_with("failed: stopped by"), "{lines:?}");
    assert!(took < Duration::from_secs(3), "it took {took:?}");
}

/// A holder of a snapshot that is dismissed in its first moment once lived for ever.
fn a_stop_sent_to_a_child_just_forked_is_heard() {
    pgcopydb::sys::signal::install().unwrap();
    for round in 0..100 {
        let mut child = fork::spawn("test", |_| {
            while pgcopydb::sys::signal::first().is_none() {
                clock::nap(Duration::from_millis(1));
            }
            0
        })
        .unwrap();
        clock::nap(Duration::from_micros(round * 20));
        child.signal(Signal::SIGTERM);
        assert_eq!(hear_out(&mut child).1, Ended::Exit(0));
    }
}

fn a_stop_kills_what_ignores_it_in_time() {
    let (lines, took) = supervise(
        |leaf| {
            say_redo(leaf);
            sleep_for_ever()
        },
        true,
    );
    assert_eq!(lines.last().unwrap(), "left: false, ok: true");
    assert!(
        lines[1].starts_with("crashed: ") && lines[1].contains("SIGKILL"),
        "{lines:?}"
    );
    assert!(took < PATIENCE, "it took {took:?}");
}

/// Keys of the message queues that the kernel has.
fn queue_keys() -> Vec<i32> {
    let text = std::fs::read_to_string("/proc/sysvipc/msg").unwrap();
    let first_words = text.lines().skip(1).filter_map(|line| {
        let word = line.split_whitespace().next()?;
        word.parse().ok()
    });
    first_words.collect()
}

fn queues_of_a_killed_run_are_swept() {
    let folder = tempfile::tempdir().unwrap();
    let layout = Layout::new(folder.path().join("run"));
    let of_child = layout.clone();
    let mut child = fork::spawn("test", move |reporter| {
        let claim = Claim::take(of_child, Intent::Fresh).expect("a new work directory");
        let remains = Remains::of(&claim.layout);
        for _ in 0..3 {
            let bell = Bell::create(|key| {
                reporter.send(&key.to_string());
                remains.remember(key)
            })
            .expect("a queue");
            bell.ring(Message::Look).expect("room for a message");
        }
        reporter.send("made");
        sleep_for_ever()
    })
    .unwrap();
    let mut keys = Vec::new();
    while keys.len() < 3 || !queue_keys().contains(&keys[2]) {
        keys = remembered(&layout);
        assert!(lives(child.pid()), "the child is gone, it made {keys:?}");
        clock::nap(Duration::from_millis(10));
    }
    child.signal(Signal::SIGKILL);
    hear_out(&mut child);
    assert!(keys.iter().all(|key| queue_keys().contains(key)));
    // the next run takes the directory, which the dead one's lock no longer holds
    let claim = Claim::take(layout, Intent::Resume).unwrap();
    assert!(!keys.iter().any(|key| queue_keys().contains(key)));
    assert_eq!(Remains::of(&claim.layout).sweep(), 0);
}

fn remembered(layout: &Layout) -> Vec<i32> {
    let text = std::fs::read_to_string(layout.remains()).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

fn foreign_queues_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let layout = Layout::new(folder.path().join("run"));
    let claim = Claim::take(layout, Intent::Fresh).unwrap();
    let mut foreign = 0;
    let bell = Bell::create(|key| {
        foreign = key;
        Ok(())
    })
    .unwrap();
    std::fs::write(claim.layout.remains(), "0\n-5\nnonsense\n99999999999999\n").unwrap();
    assert_eq!(Remains::of(&claim.layout).sweep(), 0);
    assert!(queue_keys().contains(&foreign));
    assert!(queue::remove_by_key(foreign));
    bell.remove();
}
