//! Lines for people: the two above the log, those of the plain log, and the pieces that the screen shares.
//!
//! Pure.

use super::view::{Phase, Sums, Table, View};
use crate::units::{pretty_bytes, pretty_count, pretty_ms};

/// Cells of the bar.
const BAR: u64 = 25;
/// Most tables that a line names.
const NAMED_MAX: usize = 8;
/// Time to come above which it is not foretold, milliseconds: ten days.
const FORETOLD_MAX_MS: u64 = 864_000_000;

/// A duration without blanks before it.
pub(super) fn span(elapsed_ms: u64) -> String {
    pretty_ms(elapsed_ms).trim_start().to_owned()
}

/// A duration in whole seconds.
pub(super) fn seconds(elapsed_ms: u64) -> String {
    match elapsed_ms {
        0..10_000 => format!("{}s", elapsed_ms / 1000),
        _ => span(elapsed_ms),
    }
}

/// Bytes a second.
pub(super) fn rate(bytes: u64) -> String {
    format!("{}/s", pretty_bytes(bytes))
}

/// `2515 of 4120 thousands`: the word that both have is said once.
pub(super) fn of(done: u64, total: Option<u64>) -> String {
    let done = pretty_count(done);
    let Some(total) = total.map(pretty_count) else {
        return done;
    };
    let word = |text: &str| {
        text.rsplit_once(' ')
            .map(|(_, word)| word.to_owned())
            .filter(|word| word.starts_with(char::is_alphabetic))
    };
    match (word(&done), word(&total)) {
        (Some(a), Some(b)) if a == b => {
            let number = done.strip_suffix(&a).unwrap_or(&done).trim_end();
            format!("{number} of {total}")
        }
        _ => format!("{done} of {total}"),
    }
}

/// At most `width` characters, the middle of a longer text left out.
pub(super) fn fit(text: &str, width: usize) -> String {
    let letters: Vec<char> = text.chars().map(printable).collect();
    if letters.len() <= width {
        return letters.into_iter().collect();
    }
    let head = width.saturating_sub(1) / 2;
    let tail = width.saturating_sub(1) - head;
    let first = letters.iter().take(head);
    let last = letters.iter().skip(letters.len() - tail);
    first.chain(&['~']).chain(last).collect()
}

/// At most `width` characters.
pub(super) fn cut(text: &str, width: usize) -> String {
    text.chars().map(printable).take(width).collect()
}

/// Names may hold anything; a terminal must not obey it.
fn printable(letter: char) -> char {
    if letter.is_control() { '?' } else { letter }
}

/// `[#####-----]  41 %  ...`.
pub(super) fn bar(sums: &Sums) -> String {
    let cells = sums.percent * BAR / 100;
    let drawn: String = (0..BAR)
        .map(|cell| if cell < cells { '#' } else { '-' })
        .collect();
    let mut parts = vec![
        format!("[{drawn}]"),
        format!("{:>2} %", sums.percent),
        format!("{} rows", of(sums.rows.0, sums.rows.1)),
        pretty_bytes(sums.bytes),
        rate(sums.rate),
    ];
    if let Some(left) = sums.left_ms.filter(|left| *left < FORETOLD_MAX_MS)
        && sums.percent < 99
    {
        parts.push(format!("ETA {}", seconds(left)));
    }
    parts.join("  ")
}

/// The two lines above the log.
pub(super) fn two_lines(view: &View, sums: &Sums, width: usize) -> [String; 2] {
    let first = format!(
        "pgcopy  {} -> {}   {}   {}/{} tables   {}",
        view.source.1,
        view.target.1,
        view.phase.name(),
        sums.tables.0,
        sums.tables.1,
        seconds(view.elapsed_ms)
    );
    [cut(&first, width), cut(&bar(sums), width)]
}

/// The line that the plain log gets now and then.
pub(super) fn plain(view: &View, sums: &Sums) -> String {
    let mut parts = vec![
        format!("{}/{} tables", sums.tables.0, sums.tables.1),
        format!("{} rows ({} %)", of(sums.rows.0, sums.rows.1), sums.percent),
        pretty_bytes(sums.bytes),
        rate(sums.rate),
    ];
    let at_work = view.tables.iter().filter(|table| table.is_running());
    let more = at_work.clone().count().saturating_sub(NAMED_MAX);
    let mut running: Vec<String> = at_work.take(NAMED_MAX).map(Table::shown).collect();
    if more > 0 {
        running.push(format!("{more} more"));
    }
    let keys: Vec<String> = view
        .keys
        .iter()
        .filter(|key| key.is_at_work)
        .map(|key| format!("{}.{}", key.child, key.name))
        .collect();
    if view.phase != Phase::Copying {
        parts.push(view.phase.name().to_owned());
    }
    if !running.is_empty() {
        parts.push(format!("running: {}", running.join(", ")));
    }
    if !keys.is_empty() {
        parts.push(format!("validating: {}", keys.join(", ")));
    }
    format!("Progress: {}", parts.join(", "))
}
