//! The progress line: one line on the terminal, drawn anew each second.
//!
//! Runs in the progress leaf. Reads the ledger, writes standard error, each line in one write. Bytes
//! of what is not copied yet are sizes on the source's disk, so that the total is a guess until the
//! end; what is done never runs backwards.

use crate::catalog::{Ledger, sqlite_error};
use crate::error::Result;
use crate::sys::clock;
use crate::units::{pretty_bytes, pretty_ms, pretty_rate};
use std::collections::VecDeque;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

/// Time between two lines.
const INTERVAL: Duration = Duration::from_secs(1);
/// How many lines back the rate looks.
const SAMPLES_MAX: usize = 30;
/// Rate below which no end can be foretold, bytes a second.
const RATE_MIN: u64 = 1;

/// What the line shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Tables copied.
    pub tables_done: u64,
    /// Tables to copy.
    pub tables_total: u64,
    /// Bytes copied.
    pub bytes_done: u64,
    /// Bytes to copy, a guess.
    pub bytes_total: u64,
    /// Indexes built.
    pub indexes_done: u64,
    /// Indexes to build.
    pub indexes_total: u64,
    /// Bytes a second, lately.
    pub rate: u64,
}

/// Reads figures from the ledger.
#[derive(Debug)]
pub struct ProgressLine;

/// One row for all tables: of each one, units of its last plan; a unit that is not done counts with
/// its share of the table's size, and has moved at most that much.
const READ: &str = "
with copy as (
    select u.id, u.table_oid, u.state, u.bytes,
           max(t.bytes, 0) / count(*) over (partition by u.table_oid) as guess
      from unit u join s_table t on t.oid = u.table_oid
     where u.kind = 'copy'
       and u.plan = (select max(plan) from unit last
                      where last.kind = 'copy' and last.table_oid = u.table_oid)
), figure as (
    select c.table_oid, c.state in ('done', 'skipped') as is_done,
           case when c.state in ('done', 'skipped') then c.bytes
                when c.state = 'running' then min(c.guess, coalesce(
                    (select max(p.bytes) from process p where p.unit_id = c.id), 0))
                else 0 end as moved,
           case when c.state in ('done', 'skipped') then c.bytes else c.guess end as size
      from copy c
), by_table as (
    select min(is_done) as is_done, sum(moved) as moved, sum(size) as size
      from figure group by table_oid
)
select coalesce(sum(is_done), 0), count(*), coalesce(sum(moved), 0), coalesce(sum(size), 0),
       (select count(*) from unit where kind = 'index' and state in ('done', 'skipped')),
       (select count(*) from unit where kind = 'index')
  from by_table";

impl ProgressLine {
    /// Reads the figures of this moment, without a rate.
    pub fn read(ledger: &Ledger) -> Result<Figures> {
        let figure = |row: &rusqlite::Row<'_>, column: usize| -> rusqlite::Result<u64> {
            Ok(u64::try_from(row.get::<_, i64>(column)?).unwrap_or(0))
        };
        ledger
            .connection()
            .prepare_cached(READ)
            .and_then(|mut statement| {
                statement.query_row([], |row| {
                    Ok(Figures {
                        tables_done: figure(row, 0)?,
                        tables_total: figure(row, 1)?,
                        bytes_done: figure(row, 2)?,
                        bytes_total: figure(row, 3)?,
                        indexes_done: figure(row, 4)?,
                        indexes_total: figure(row, 5)?,
                        rate: 0,
                    })
                })
            })
            .map_err(|error| sqlite_error("read", &error))
    }
}

/// Remembers earlier figures: for the rate, and so that nothing runs backwards.
#[derive(Debug, Default)]
pub struct Tracker {
    best: Figures,
    /// Milliseconds and bytes done, oldest first.
    samples: VecDeque<(i64, u64)>,
}

impl Tracker {
    /// Takes the figures of a moment, gives those to show. A unit begun again keeps its highest
    /// figure until it passes it.
    pub fn add(&mut self, now_ms: i64, read: Figures) -> Figures {
        let best = &mut self.best;
        best.tables_done = best.tables_done.max(read.tables_done);
        best.bytes_done = best.bytes_done.max(read.bytes_done);
        best.indexes_done = best.indexes_done.max(read.indexes_done);
        best.tables_total = read.tables_total.max(best.tables_done);
        best.bytes_total = read.bytes_total.max(best.bytes_done);
        best.indexes_total = read.indexes_total.max(best.indexes_done);
        if self.samples.len() == SAMPLES_MAX {
            self.samples.pop_front();
        }
        self.samples.push_back((now_ms, best.bytes_done));
        let (since, before) = self
            .samples
            .front()
            .copied()
            .unwrap_or((now_ms, best.bytes_done));
        let elapsed_ms = u64::try_from(now_ms.saturating_sub(since)).unwrap_or(0);
        let moved = best.bytes_done.saturating_sub(before);
        best.rate = moved
            .saturating_mul(1000)
            .checked_div(elapsed_ms)
            .unwrap_or(0);
        *best
    }
}

/// The line, at most `width` columns.
pub fn render(figures: &Figures, width: usize) -> String {
    let f = figures;
    let percent = u128::from(f.bytes_done) * 100 / u128::from(f.bytes_total.max(1));
    let mut parts = vec![
        format!("{}/{} tables", f.tables_done, f.tables_total),
        format!(
            "{} of {} ({percent}%)",
            pretty_bytes(f.bytes_done),
            pretty_bytes(f.bytes_total)
        ),
    ];
    if f.bytes_done < f.bytes_total {
        parts.push(pretty_rate(f.rate, 1000));
    }
    parts.push(format!("{}/{} indexes", f.indexes_done, f.indexes_total));
    if f.rate >= RATE_MIN && f.bytes_done < f.bytes_total {
        let left_ms = (f.bytes_total - f.bytes_done).saturating_mul(1000) / f.rate;
        let left_ms = if left_ms < 10_000 {
            left_ms / 1000 * 1000
        } else {
            left_ms
        };
        let left = match left_ms {
            0..10_000 => format!("{}s", left_ms / 1000),
            _ => pretty_ms(left_ms).trim_start().to_owned(),
        };
        parts.push(format!("copy ends in about {left}"));
    }
    parts.join(", ").chars().take(width).collect()
}

/// Draws the line each second until `nap` ends it with an error, which is returned once the line is
/// wiped. `columns` is the width of the terminal.
pub fn draw_loop(
    ledger_path: &Path,
    nap: &dyn Fn(Duration) -> Result<()>,
    columns: &dyn Fn() -> usize,
) -> Result<()> {
    let ledger = Ledger::open_read_only(ledger_path)?;
    let mut tracker = Tracker::default();
    let result = loop {
        let figures = match ProgressLine::read(&ledger) {
            Ok(figures) => tracker.add(clock::epoch_ms(), figures),
            Err(error) => break Err(error),
        };
        // The last column stays free: a full line makes some terminals wrap.
        draw(&format!(
            "\r{}\x1b[K",
            render(&figures, columns().saturating_sub(1))
        ));
        if let Err(error) = nap(INTERVAL) {
            break Err(error);
        }
    };
    draw("\r\x1b[K");
    result
}

/// One write; a terminal that went away is no reason to fail.
fn draw(text: &str) {
    let _ignored = std::io::stderr().lock().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(bytes_done: u64, rate: u64) -> Figures {
        Figures {
            tables_done: 12,
            tables_total: 40,
            bytes_done,
            bytes_total: 20 << 30,
            indexes_done: 3,
            indexes_total: 80,
            rate,
        }
    }

    #[test]
    fn the_line_says_how_far_how_fast_and_how_long() {
        let line = render(&figures(5 << 30, 45_750_000), 200);
        let expected = "12/40 tables, 5120 MB of 20 GB (25%), 366 MBit/s, 3/80 indexes, \
                        copy ends in about  5m52s";
        assert_eq!(line, expected.replace("about  ", "about "));
        let over = render(&figures(20 << 30, 0), 200);
        assert_eq!(over, "12/40 tables, 20 GB of 20 GB (100%), 3/80 indexes");
        assert_eq!(render(&Figures::default(), 11), "0/0 tables,");
        assert!(render(&figures((20 << 30) - 1, 1 << 20), 200).ends_with("about 0s"));
    }

    #[test]
    fn figures_never_run_backwards_and_the_rate_looks_back_a_little() {
        let mut tracker = Tracker::default();
        assert_eq!(tracker.add(0, figures(1000, 0)).rate, 0);
        let shown = tracker.add(2000, figures(5000, 0));
        assert_eq!((shown.bytes_done, shown.rate), (5000, 2000));
        let shown = tracker.add(4000, figures(800, 0));
        assert_eq!((shown.bytes_done, shown.rate), (5000, 1000));
        for second in 0..60 {
            tracker.add(5000 + second * 1000, figures(5000, 0));
        }
        assert_eq!(tracker.add(70_000, figures(5000, 0)).rate, 0);
    }

    #[test]
    fn running_units_count_with_what_they_moved_but_not_more_than_their_share() {
        let ledger = Ledger::in_memory().unwrap();
        ledger
            .connection()
            .execute_batch(
                "insert into s_table (oid, nspname, relname, qname, relkind, amname, persistence,
                    filenode, relpages, bytes, main_bytes, reltuples) values
                    (1, 's', 'a', 's.a', 'r', 'heap', 'p', 1, 1, 1000, 1000, 5),
                    (2, 's', 'b', 's.b', 'r', 'heap', 'p', 1, 1, 400, 400, 5);
                 insert into unit (id, kind, state, table_oid, object, plan, bytes) values
                    (1, 'copy', 'done', 1, 1, 2, 300), (2, 'copy', 'running', 1, 2, 2, 0),
                    (3, 'copy', 'todo', 1, 0, 1, 0), (4, 'copy', 'done', 2, 0, 0, 444),
                    (5, 'index', 'done', 2, 9, 0, 0), (6, 'index', 'waiting', 1, 8, 0, 0);
                 insert into process (role, worker, pid, run_id, title, unit_id, bytes)
                    values ('copy', 1, 7, 1, '', 2, 100), ('copy', 2, 8, 1, '', 4, 999);",
            )
            .unwrap();
        let read = ProgressLine::read(&ledger).unwrap();
        let expected = Figures {
            tables_done: 1,
            tables_total: 2,
            bytes_done: 844,
            bytes_total: 1244,
            indexes_done: 1,
            indexes_total: 2,
            rate: 0,
        };
        assert_eq!(read, expected);
        ledger
            .connection()
            .execute("update process set bytes = 9999", [])
            .unwrap();
        assert_eq!(ProgressLine::read(&ledger).unwrap().bytes_done, 1244);
    }
}
