//! The file `remains`: keys of message queues, written before each queue is made, so that no kill
//! can leak one.
//!
//! Runs in the supervisor. Leaves whose supervisor is gone remove its queues by id; what is left when
//! all of them were killed goes with the next run. One decimal key a line; anything else in the file
//! is ignored.

use super::layout::{Layout, unusable};
use crate::error::Result;
use crate::queue;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;

/// Access to the file.
#[derive(Clone, Debug)]
pub struct Remains {
    layout: Layout,
}

impl Remains {
    /// The remains of a work directory.
    pub fn of(layout: &Layout) -> Self {
        Self {
            layout: layout.clone(),
        }
    }

    /// Writes a key down before its queue is made.
    pub fn remember(&self, key: i32) -> Result<()> {
        let path = self.layout.remains();
        let append = || -> std::io::Result<()> {
            let mut file = std::fs::OpenOptions::new()
                .create(true)
                .append(true)
                .mode(0o600)
                .open(&path)?;
            file.write_all(format!("{key}\n").as_bytes())?;
            file.sync_data()
        };
        append().map_err(|error| unusable("write", &path, &error))
    }

    /// Removes every queue that the file names and that is ours, then the file; returns how many
    /// queues there were.
    pub fn sweep(&self) -> usize {
        let path = self.layout.remains();
        let Ok(text) = std::fs::read_to_string(&path) else {
            return 0;
        };
        let keys = parse(&text);
        let removed = keys
            .iter()
            .filter(|key| queue::remove_by_key(**key))
            .count();
        let _gone = std::fs::remove_file(&path);
        removed
    }
}

fn parse(text: &str) -> Vec<i32> {
    text.lines()
        .filter_map(|line| line.trim().parse().ok())
        .filter(|key| *key > 0)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_positive_keys_count() {
        assert_eq!(parse("12\n\nabc\n-3\n0\n 77 \n99999999999\n5"), [12, 77, 5]);
    }
}
