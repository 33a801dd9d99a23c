//! The machine that this program runs on, and the ways to the servers: limits, processors, memory, clocks, latency.
//!
//! Runs in the main program, for `check` and `--dry-run`. Looks only. The judging is pure.

use super::connect::Connected;
use super::finding::Findings;
use crate::error::{Error, Kind, Result};
use crate::sys::clock;
use crate::units::{Side, pretty_bytes};
use nix::sys::resource::{Resource, getrlimit};
use std::time::Instant;

/// System V queues that a run makes.
const QUEUES: u64 = 3;
/// Bytes that one of them should hold; with less, bells are lost and workers look later.
const QUEUE_BYTES: u64 = 4096;
/// Descriptors that a process of a run may have open beside one for each child.
const FILES: u64 = 64;
/// Workers for each processor from which on they only wait for each other.
const WORKERS_PER_PROCESSOR: u64 = 16;
/// Time there and back from which on every statement is felt, microseconds.
const LATENCY_US: u64 = 20_000;
/// How far clocks may be apart, milliseconds.
const CLOCK_MS: i64 = 5_000;
/// `maintenance_work_mem` that a run gives to each session that builds an index.
const BUILD_BYTES: u64 = 256 << 20;
/// Statements that measure the latency; the fastest counts.
const PROBES: u32 = 3;
/// As many at most, while the latency seems long: a busy machine is no long way.
const PROBES_MAX: u32 = 20;
/// Bytes that are fetched to see how fast they come.
const FETCHED_BYTES: u64 = 1 << 20;
/// Bytes a second from which on a way is no reason to wonder.
const FAST_ENOUGH: u64 = 1 << 20;
/// Free room that the target should have for the source's database, in percent of its size.
const ROOM_PERCENT: u64 = 150;

/// Workers of a run.
#[derive(Clone, Copy, Debug)]
pub struct Workers {
    /// All of them.
    pub all: u64,
    /// Those that build indexes.
    pub index: u64,
}

/// What there is to know of this machine; what cannot be known is no obstacle.
#[derive(Clone, Copy, Debug, Default)]
struct Machine {
    files: Option<u64>,
    queues_free: Option<u64>,
    queue_bytes: Option<u64>,
    processors: Option<u64>,
    memory_bytes: Option<u64>,
}

/// What there is to know of the way to a server.
#[derive(Clone, Copy, Debug, Default)]
struct Way {
    latency_us: u64,
    /// Its clock is ahead by that, in doubt 0.
    clock_ahead_ms: i64,
    is_here: bool,
    /// Bytes a second; `None`: not measured.
    bytes_per_second: Option<u64>,
    /// Room on the disk of the server, where it is this machine's.
    free_bytes: Option<u64>,
    database_bytes: u64,
}

/// Looks at this machine and at both ways. Errors: a query that failed.
pub fn look_at_machine(
    workers: Workers,
    (source, target): (&mut Connected, &mut Connected),
    findings: &mut Findings,
) -> Result<()> {
    let machine = Machine::read();
    judge_machine(&machine, workers, findings);
    let mut needed = 0;
    for connected in [source, target] {
        let side = connected.link.side;
        let way = Way::read(connected)?;
        judge_way(&way, (side, &machine), workers, findings);
        match side {
            Side::Source => needed = way.database_bytes,
            Side::Target => judge_room(&way, needed, findings),
        }
    }
    Ok(())
}

impl Machine {
    fn read() -> Self {
        let number =
            |path: &str| -> Option<u64> { std::fs::read_to_string(path).ok()?.trim().parse().ok() };
        let queues = || -> Option<u64> {
            let all = number("/proc/sys/kernel/msgmni")?;
            let used = std::fs::read_to_string("/proc/sysvipc/msg")
                .ok()?
                .lines()
                .count();
            Some(all.saturating_sub(u64::try_from(used).ok()?.saturating_sub(1)))
        };
        let memory = || -> Option<u64> {
            let text = std::fs::read_to_string("/proc/meminfo").ok()?;
            let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
            let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
            Some(kilobytes << 10)
        };
        let processors = std::thread::available_parallelism().ok();
        Self {
            files: getrlimit(Resource::RLIMIT_NOFILE)
                .ok()
                .map(|(soft, _)| soft),
            queues_free: queues(),
            queue_bytes: number("/proc/sys/kernel/msgmnb"),
            processors: processors.and_then(|count| u64::try_from(count.get()).ok()),
            memory_bytes: memory(),
        }
    }
}

impl Way {
    fn read(connected: &mut Connected) -> Result<Self> {
        let sql = include_str!("sql/probe_way.sql");
        let mut way = Self {
            latency_us: u64::MAX,
            ..Self::default()
        };
        for probe in 0..PROBES_MAX {
            if probe >= PROBES && way.latency_us < LATENCY_US {
                break;
            }
            let (begun, before_ms) = (Instant::now(), clock::epoch_ms());
            let row = connected.session.query_one(sql, &[])?;
            let elapsed = begun.elapsed();
            let took_us = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
            if took_us < way.latency_us {
                let half_ms = i64::try_from(elapsed.as_millis() / 2).unwrap_or(0);
                let now_ms: i64 = row.get("now_ms");
                let bytes: Option<i64> = row.get("database_bytes");
                let directory: Option<String> = row.get("data_directory");
                let is_here: bool = row.get("is_here");
                way = Self {
                    latency_us: took_us,
                    clock_ahead_ms: now_ms - before_ms - half_ms,
                    is_here,
                    bytes_per_second: None,
                    free_bytes: directory.filter(|_| is_here).and_then(|path| free(&path)),
                    database_bytes: u64::try_from(bytes.unwrap_or(0)).unwrap_or(0),
                };
            }
        }
        let begun = Instant::now();
        let sql = "select pg_catalog.repeat('x', $1)";
        let length = i32::try_from(FETCHED_BYTES).unwrap_or(i32::MAX);
        connected.session.query_one(sql, &[&length])?;
        let took_us = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        let moving_us = took_us.saturating_sub(way.latency_us).max(1);
        way.bytes_per_second = Some(FETCHED_BYTES.saturating_mul(1_000_000) / moving_us);
        Ok(way)
    }
}

/// Free room on a disk of this machine.
fn free(path: &str) -> Option<u64> {
    let room = nix::sys::statvfs::statvfs(path).ok()?;
    Some(room.blocks_available() * room.fragment_size())
}

/// Whether a target on this machine has room for the source's database.
fn judge_room(target: &Way, needed: u64, findings: &mut Findings) {
    if let Some(free) = target.free_bytes
        && free < needed.saturating_mul(ROOM_PERCENT) / 100
    {
        findings.warn(
            Side::Target,
            format!(
                "the disk of the target has {} of free room, for a database of {}",
                pretty_bytes(free),
                pretty_bytes(needed)
            ),
            "Make room there: tables, indexes and WAL of the copy may take half as much again.",
        );
    }
}

fn judge_machine(machine: &Machine, workers: Workers, findings: &mut Findings) {
    let mut warn = |what: String, hint: &str| {
        findings.warning(Error::new(Kind::BadState, what).hint(hint));
    };
    if let Some(files) = machine.files
        && files < FILES + workers.all
    {
        warn(
            format!(
                "this program may open {files} files, and {} workers need more",
                workers.all
            ),
            "Run before it: ulimit -n 1024",
        );
    }
    if let Some(free) = machine.queues_free
        && free < QUEUES
    {
        warn(
            format!("{free} System V message queues are free here, a run makes {QUEUES}"),
            "Remove what ended programs have left, which ipcs -q lists, or run: sysctl -w kernel.msgmni=32000",
        );
    }
    if let Some(bytes) = machine.queue_bytes
        && bytes < QUEUE_BYTES
    {
        warn(
            format!("a System V message queue holds {bytes} bytes here"),
            "Run here: sysctl -w kernel.msgmnb=16384",
        );
    }
    if let Some(processors) = machine.processors
        && workers.all > processors * WORKERS_PER_PROCESSOR
    {
        warn(
            format!(
                "{} workers are too many for {processors} processors here",
                workers.all
            ),
            "Give fewer --table-jobs, --index-jobs and --large-objects-jobs.",
        );
    }
}

fn judge_way(
    way: &Way,
    (side, machine): (Side, &Machine),
    workers: Workers,
    findings: &mut Findings,
) {
    if way.latency_us >= LATENCY_US {
        findings.warn(
            side,
            format!("the {side} answers after {} ms", way.latency_us / 1000),
            "All rows pass through this machine: run it near the servers, best beside the target.",
        );
    }
    if let Some(speed) = way.bytes_per_second.filter(|speed| *speed < FAST_ENOUGH) {
        findings.warn(
            side,
            format!(
                "rows pass between the {side} and here with {} a second",
                pretty_bytes(speed)
            ),
            "Run it on a machine that is nearer to the servers.",
        );
    }
    let apart_ms = way.clock_ahead_ms.abs();
    if apart_ms > CLOCK_MS {
        findings.warn(
            side,
            format!(
                "the clock of the {side} and the one here are {} s apart",
                apart_ms / 1000
            ),
            "Set both by NTP: times in logs, and ages of sessions, are compared with each other.",
        );
    }
    let needed = BUILD_BYTES * workers.index;
    if side == Side::Target
        && way.is_here
        && let Some(memory) = machine.memory_bytes
        && needed > memory / 2
    {
        findings.warn(
            side,
            format!(
                "{} workers that build indexes may take {} of maintenance_work_mem, of {} here",
                workers.index,
                pretty_bytes(needed),
                pretty_bytes(memory)
            ),
            "Give fewer --index-jobs.",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORKERS: Workers = Workers { all: 12, index: 4 };

    fn said(judge: impl Fn(&mut Findings)) -> Vec<String> {
        let mut findings = Findings::default();
        judge(&mut findings);
        let list = findings.list().iter();
        list.map(|finding| finding.error.message().to_owned())
            .collect()
    }

    #[test]
    fn an_ordinary_machine_and_one_of_which_nothing_is_known_are_good_enough() {
        let ordinary = Machine {
            files: Some(1024),
            queues_free: Some(32000),
            queue_bytes: Some(16384),
            processors: Some(2),
            memory_bytes: Some(8 << 30),
        };
        for machine in [ordinary, Machine::default()] {
            assert!(said(|found| judge_machine(&machine, WORKERS, found)).is_empty());
            let way = Way {
                latency_us: 300,
                clock_ahead_ms: -4000,
                is_here: true,
                bytes_per_second: Some(80 << 20),
                free_bytes: Some(1 << 30),
                database_bytes: 0,
            };
            assert!(said(|found| judge_room(&way, 600 << 20, found)).is_empty());
            assert!(
                said(|found| judge_way(&way, (Side::Target, &machine), WORKERS, found)).is_empty()
            );
        }
    }

    #[test]
    fn each_limit_is_told_with_its_figures() {
        let poor = Machine {
            files: Some(70),
            queues_free: Some(2),
            queue_bytes: Some(64),
            processors: Some(1),
            memory_bytes: Some(4 << 30),
        };
        let many = Workers { all: 20, index: 9 };
        let found = said(|found| judge_machine(&poor, many, found));
        assert_eq!(
            found,
            [
                "this program may open 70 files, and 20 workers need more",
                "2 System V message queues are free here, a run makes 3",
                "a System V message queue holds 64 bytes here",
                "20 workers are too many for 1 processors here",
            ]
        );
        let way = Way {
            latency_us: 25_400,
            clock_ahead_ms: 61_000,
            is_here: true,
            bytes_per_second: Some(700 << 10),
            free_bytes: Some(1 << 30),
            database_bytes: 0,
        };
        assert_eq!(
            said(|found| judge_room(&way, 900 << 20, found)),
            ["the disk of the target has 1024 MB of free room, for a database of 900 MB"]
        );
        let found = said(|found| judge_way(&way, (Side::Target, &poor), many, found));
        assert_eq!(
            found,
            [
                "the target answers after 25 ms",
                "rows pass between the target and here with 700 kB a second",
                "the clock of the target and the one here are 61 s apart",
                "9 workers that build indexes may take 2304 MB of maintenance_work_mem, of 4096 MB here",
            ]
        );
        let far = Way {
            is_here: false,
            ..way
        };
        assert_eq!(
            said(|found| judge_way(&far, (Side::Target, &poor), many, found)).len(),
            3
        );
    }
}
