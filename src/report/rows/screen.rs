//! The whole screen of `--output interactive`.
//!
//! Pure: a view becomes lines, at most as many and as long as the terminal has.

use super::lines::{bar, cut, fit, of, rate, seconds, span};
use super::view::{Key, Phase, Sums, Table, View};
use crate::units::{pretty_bytes, pretty_count};

/// Lines that are always there: two at the top, the bar, the last message, and blank ones between.
const FRAME: usize = 6;
/// Width from which on a line has all of its columns.
const WIDE: usize = 92;

/// What stands before a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    Running,
    Failed,
    Done,
    Waiting,
}

impl Mark {
    fn text(self, colour: bool) -> String {
        let (sign, code) = match self {
            Self::Running => (">", "36"),
            Self::Failed => ("x", "31"),
            Self::Done => ("+", "32"),
            Self::Waiting => return " ".to_owned(),
        };
        if colour {
            format!("\x1b[{code}m{sign}\x1b[0m")
        } else {
            sign.to_owned()
        }
    }
}

/// The size of a terminal, and whether marks are coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) colour: bool,
}

/// The lines of the screen, from the top.
pub(super) fn screen(view: &View, sums: &Sums, last: Option<&str>, frame: Frame) -> Vec<String> {
    let width = frame.width;
    let removed = view.keys.len();
    let back = view.keys.iter().filter(|key| key.is_back()).count();
    let mut lines = vec![
        cut(
            &format!("pgcopy  {} -> {}", view.source.0, view.target.0),
            width,
        ),
        cut(
            &format!(
                "{}   {}/{} tables done   {} workers   {removed} keys removed, {back} back   {}",
                view.phase.name(),
                sums.tables.0,
                sums.tables.1,
                view.workers,
                seconds(view.elapsed_ms)
            ),
            width,
        ),
        String::new(),
    ];
    let room = frame.height.saturating_sub(FRAME + 1);
    lines.extend(if is_about_keys(view.phase) {
        key_lines(view, frame, room)
    } else {
        table_lines(view, frame, room)
    });
    lines.push(String::new());
    lines.push(cut(&bar(sums), width));
    lines.push(cut(last.unwrap_or_default(), width));
    lines.truncate(frame.height);
    lines
}

fn is_about_keys(phase: Phase) -> bool {
    matches!(phase, Phase::RestoringKeys | Phase::Validating)
}

/// Lines of what is at work, what failed, what is done, newest first; then how many are left out.
fn fill(
    mut running: Vec<String>,
    failed: Vec<String>,
    done: Vec<String>,
    (waiting, room): (usize, usize),
) -> Vec<String> {
    let all_done = done.len();
    running.extend(failed);
    // The last line says what has no room; what failed is never among that, as long as it fits at all.
    running.truncate(room.saturating_sub(1));
    let left = room.saturating_sub(1).saturating_sub(running.len());
    let shown = all_done.min(left);
    running.extend(done.into_iter().take(shown));
    let more = all_done - shown;
    match (more, waiting) {
        (0, 0) => {}
        (0, waiting) => running.push(format!("  ... {waiting} waiting")),
        (more, 0) => running.push(format!("  ... {more} more done")),
        (more, waiting) => running.push(format!("  ... {more} more done, {waiting} waiting")),
    }
    running
}

fn table_lines(view: &View, frame: Frame, room: usize) -> Vec<String> {
    let mut at_work: Vec<&Table> = view.tables.iter().filter(|t| t.is_running()).collect();
    at_work.sort_by_key(|table| table.started_at());
    let failed = view
        .tables
        .iter()
        .filter(|t| t.is_failed() && !t.is_running());
    let mut done: Vec<&Table> = view.tables.iter().filter(|t| t.is_done()).collect();
    done.sort_by_key(|table| std::cmp::Reverse(table.finished_at()));
    let failed: Vec<String> = failed.map(|table| failed_line(table, frame)).collect();
    let waiting = view.tables.len() - at_work.len() - failed.len() - done.len();
    fill(
        at_work
            .into_iter()
            .map(|table| running_line(table, view.now, frame))
            .collect(),
        failed,
        done.into_iter()
            .map(|table| done_line(table, frame))
            .collect(),
        (waiting, room),
    )
}

/// Mark, name, and columns at the right.
fn line(mark: Mark, name: &str, columns: &str, frame: Frame) -> String {
    let width = frame
        .width
        .saturating_sub(3 + columns.chars().count())
        .max(8);
    let name = fit(name, width);
    let text = format!("{name:<width$} {columns}");
    let text = cut(text.trim_end(), frame.width.saturating_sub(2));
    format!("{} {text}", mark.text(frame.colour))
}

fn columns(cells: [String; 6], frame: Frame) -> String {
    let [part, percent, rows, bytes, rate, time] = cells;
    if frame.width >= WIDE {
        format!("{part:>9} {percent:>5} {rows:>27} {bytes:>8} {rate:>9} {time:>7}")
    } else {
        format!("{percent:>5} {bytes:>8} {time:>7}")
    }
}

fn running_line(table: &Table, now: i64, frame: Frame) -> String {
    let parts = table.parts.len();
    let at = table.parts.iter().find(|part| part.state == "running");
    let part = match at {
        Some(part) if parts > 1 => format!("part {}/{parts}", part.number),
        _ => String::new(),
    };
    let elapsed_ms = u64::try_from(now - table.started_at()).unwrap_or(0);
    let cells = [
        part,
        format!("{} %", table.share() / 10),
        format!("{} rows", of(table.rows_done(), table.rows_total())),
        pretty_bytes(table.bytes()),
        rate(table.bytes().saturating_mul(1000) / elapsed_ms.max(1)),
        seconds(elapsed_ms),
    ];
    line(Mark::Running, &table.shown(), &columns(cells, frame), frame)
}

fn done_line(table: &Table, frame: Frame) -> String {
    let elapsed_ms = table.parts.iter().map(|part| part.elapsed_ms).sum();
    let cells = [
        String::new(),
        String::new(),
        format!("{} rows", pretty_count(table.rows_done())),
        pretty_bytes(table.bytes()),
        String::new(),
        span(elapsed_ms),
    ];
    line(Mark::Done, &table.shown(), &columns(cells, frame), frame)
}

fn failed_line(table: &Table, frame: Frame) -> String {
    let error = table.parts.iter().find_map(|part| part.error.as_deref());
    let (code, message) = super::events::code_and_message(error);
    let text = format!("{}  ERROR {code} {message}", table.shown());
    let text = cut(text.trim_end(), frame.width.saturating_sub(2));
    format!("{} {text}", Mark::Failed.text(frame.colour))
}

fn key_lines(view: &View, frame: Frame, room: usize) -> Vec<String> {
    let named = |mark: Mark, key: &Key, what: &str| {
        let name = format!("{}.{} -> {}", key.child, key.name, key.parent);
        line(mark, &name, what, frame)
    };
    let is_broken = |key: &&Key| key.state == "failed";
    let at_work = view.keys.iter().filter(|key| key.is_at_work);
    let broken = view
        .keys
        .iter()
        .filter(is_broken)
        .filter(|key| !key.is_at_work);
    let back = view.keys.iter().filter(|key| key.is_back());
    let at_work: Vec<String> = at_work
        .map(|key| named(Mark::Running, key, "validating"))
        .collect();
    let broken: Vec<String> = broken
        .map(|key| named(Mark::Failed, key, "does not hold"))
        .collect();
    let back: Vec<String> = back.map(|key| named(Mark::Done, key, "valid")).collect();
    let waiting = view.keys.len() - at_work.len() - broken.len() - back.len();
    let (waiting, more): (usize, Vec<String>) = if room > waiting + at_work.len() {
        let open = view
            .keys
            .iter()
            .filter(|key| !key.is_at_work && !key.is_back() && key.state != "failed");
        let lines = open.map(|key| {
            let what = if key.state == "added" {
                "not valid yet"
            } else {
                "missing"
            };
            named(Mark::Waiting, key, what)
        });
        (0, lines.collect())
    } else {
        (waiting, Vec::new())
    };
    fill(
        at_work,
        broken,
        more.into_iter().chain(back).collect(),
        (waiting, room),
    )
}
