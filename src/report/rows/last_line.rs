//! The end of the log file, for a screen that shows no log lines.
//!
//! Lines are those of `logging`: time, process, level, text.

use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// Most of a log that is looked at, bytes.
const TAIL_MAX: u64 = 64 * 1024;
/// Most errors that are shown again.
const ERRORS_MAX: usize = 20;

/// The size of a log, so that later looks begin there.
pub fn size_of(log: &Path) -> u64 {
    std::fs::metadata(log).map_or(0, |status| status.len())
}

/// The last bytes of a log, nothing before `from`.
fn tail(log: &Path, from: u64) -> String {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = std::fs::File::open(log)?;
        let size = file.metadata()?.len();
        file.seek(SeekFrom::Start(from.max(size.saturating_sub(TAIL_MAX))))?;
        let mut bytes = Vec::new();
        file.take(TAIL_MAX).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    // A log that cannot be read is no reason to end what is shown.
    String::from_utf8_lossy(&read().unwrap_or_default()).into_owned()
}

/// Level and text of a line.
fn level_and_text(line: &str) -> Option<(&str, &str)> {
    ["WARN", "ERROR", "FATAL"].into_iter().find_map(|level| {
        let at = line.find(&format!(" {level} "))?;
        // The level stands behind time and process; later it is a word of the text.
        let is_level = line.get(..at)?.split(' ').count() <= 3;
        let text = line.get(at + level.len() + 2..)?.trim_start();
        is_level.then_some((level, text))
    })
}

/// The last warning or error.
pub(super) fn last_warning(log: &Path, from: u64) -> Option<String> {
    tail(log, from)
        .lines()
        .rev()
        .find_map(level_and_text)
        .map(|(level, text)| format!("{level} {text}"))
}

/// Errors that were logged, the last ones.
pub fn errors_since(log: &Path, from: u64) -> Vec<String> {
    let text = tail(log, from);
    let mut found: Vec<String> = text
        .lines()
        .rev()
        .filter_map(level_and_text)
        .filter(|(level, _)| *level == "ERROR")
        .take(ERRORS_MAX)
        .map(|(level, text)| format!("{level} {text}"))
        .collect();
    found.reverse();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_is_where_it_stands_and_not_a_word_of_the_text() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let text = "2026-11-21 20:33:55.890 29442 WARN   first\n2026-11-21 20:33:56 1 ERROR  an WARN within\n\
                    2026-11-21 20:33:57 1 INFO   no ERROR here\n";
        std::fs::write(&log, text).unwrap();
        assert_eq!(
            last_warning(&log, 0).as_deref(),
            Some("ERROR an WARN within")
        );
        assert_eq!(errors_since(&log, 0), ["ERROR an WARN within"]);
        assert_eq!(last_warning(&log, size_of(&log)), None);
    }
}
