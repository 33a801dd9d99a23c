//! The progress line: one line on the terminal, drawn anew each second.
//!
//! Runs in the progress leaf. Reads the ledger, or those of all databases, writes standard error, each line in one write.

use super::figures::Figures;
use crate::catalog::Ledger;
use crate::error::Result;
use crate::sys::clock;
use crate::units::{pretty_bytes, pretty_ms, pretty_rate};
use std::collections::{BTreeMap, VecDeque};
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

/// Time between two lines.
const INTERVAL: Duration = Duration::from_secs(1);
/// How many lines back the rate looks.
const SAMPLES_MAX: usize = 30;
/// Rate below which no end can be foretold, bytes a second.
const RATE_MIN: u64 = 1;

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
        parts.push(format!("copy ends in about {}", about(left_ms)));
    }
    parts.join(", ").chars().take(width).collect()
}

/// A time to come, without the milliseconds that nobody can foretell.
pub(super) fn about(left_ms: u64) -> String {
    match left_ms {
        0..10_000 => format!("{}s", left_ms / 1000),
        _ => pretty_ms(left_ms).trim_start().to_owned(),
    }
}

/// The figures of all ledgers together. Those that cannot be read, such as that of a database which was
/// not begun yet, are left out.
#[derive(Default)]
struct Ledgers {
    open: BTreeMap<PathBuf, Ledger>,
}

impl Ledgers {
    fn read(&mut self, paths: &[PathBuf]) -> Figures {
        let mut sum = Figures::default();
        for path in paths {
            if !self.open.contains_key(path) && path.exists() {
                let opened = Ledger::open_read_only(path).map(|ledger| (path.clone(), ledger));
                self.open.extend(opened);
            }
            let figures = self.open.get(path).map(Figures::read);
            if let Some(Ok(figures)) = figures {
                sum = sum.plus(figures);
            }
        }
        sum
    }
}

/// Draws the line each second until `nap` ends it with an error, which is returned once the line is
/// wiped. `columns` is the width of the terminal.
pub fn draw_loop(
    ledgers: &[PathBuf],
    nap: &dyn Fn(Duration) -> Result<()>,
    columns: &dyn Fn() -> usize,
) -> Result<()> {
    let mut open = Ledgers::default();
    let mut tracker = Tracker::default();
    let result = loop {
        let figures = tracker.add(clock::epoch_ms(), open.read(ledgers));
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
            ..Figures::default()
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
}
