//! Which timeline a position lies on, from the history that the server sends.
//!
//! Pure.

use crate::error::{Error, Result};
use crate::units::{Lsn, Tli};

/// The timelines of a server, oldest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Timelines {
    /// Timeline, and where it ended.
    past: Vec<(Tli, Lsn)>,
    /// The one that goes on.
    pub(super) current: Tli,
}

impl Timelines {
    /// A server that never changed its timeline, or whose history does not matter.
    pub(super) fn only(current: Tli) -> Self {
        Self {
            past: Vec::new(),
            current,
        }
    }

    /// Reads `TIMELINE_HISTORY`: lines of timeline, switch position, reason.
    pub(super) fn parse(current: Tli, text: &str) -> Result<Self> {
        let mut past = Vec::new();
        for line in text.lines().map(str::trim) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let mut words = line.split_whitespace();
            let tli = words.next().and_then(|word| word.parse::<Tli>().ok());
            let end = words.next().and_then(|word| word.parse::<Lsn>().ok());
            let (Some(tli), Some(end)) = (tli, end) else {
                return Err(Error::new(
                    crate::error::Kind::Source,
                    format!("could not read the history of timeline {current} of the source"),
                )
                .detail(format!("A line is: {line}")));
            };
            past.push((tli, end));
        }
        Ok(Self { past, current })
    }

    /// The timeline that holds a position.
    pub(super) fn of(&self, lsn: Lsn) -> Tli {
        self.past
            .iter()
            .find(|(_, end)| lsn < *end)
            .map_or(self.current, |(tli, _)| *tli)
    }

    /// Where a timeline ended; none for the current one and for one that is not in this history.
    pub(super) fn end_of(&self, tli: Tli) -> Option<Lsn> {
        self.past
            .iter()
            .find(|(past, _)| *past == tli)
            .map(|(_, end)| *end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_lies_on_the_timeline_that_had_not_ended_yet() {
        let text = "1\t0/5000000\tno recovery target specified\n\n# x\n2\t1/0\tbefore 2000-01-01\n";
        let timelines = Timelines::parse(3, text).unwrap();
        let of = |lsn: &str| timelines.of(lsn.parse().unwrap());
        assert_eq!(
            [
                of("0/1"),
                of("0/4FFFFFF"),
                of("0/5000000"),
                of("0/FFFFFFFF"),
                of("1/0"),
                of("9/0")
            ],
            [1, 1, 2, 2, 3, 3]
        );
        assert_eq!(timelines.end_of(2), Some(Lsn(1 << 32)));
        assert_eq!(timelines.end_of(3), None);
        assert!(Timelines::parse(2, "1 x reason").is_err());
        assert_eq!(Timelines::only(7).of(Lsn(5)), 7);
    }
}
