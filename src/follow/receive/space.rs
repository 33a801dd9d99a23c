//! Room for change data: when receiving has to pause, and when waiting cannot help.
//!
//! Runs in the receive process. What is received must leave room for what is made of it: as long as
//! apply can work, files can be pruned, and receiving goes on.

use crate::error::{Error, Result};
use crate::follow::files::{CdcDir, trouble};
use crate::units::pretty_bytes;
use std::time::{Duration, Instant};

/// Room that is always left.
const ROOM_MIN: u64 = 16 << 20;
/// Room that is left for each byte that is not transformed yet.
const ROOM_FACTOR: u64 = 3;
/// So many bytes may be received, at least, before the room is looked at again; at most such a share of what is free.
const STEP_MIN: u64 = ROOM_MIN / 4;
const STEP_SHARE: u64 = 64;
/// Below this much room people are warned.
const WARN_BELOW: u64 = 1 << 30;

/// When neither the JSON nor what is made of it has grown for so long, all of it is transformed.
const SETTLED_AFTER: Duration = Duration::from_secs(3);

/// How much of the JSON that is still being transformed takes no room any more, as what was made of it is
/// smaller.
#[derive(Debug, Default)]
pub(super) struct Settled {
    /// Bytes of JSON and SQL at the last look.
    seen: (u64, u64),
    since: Option<Instant>,
    rest: u64,
}

impl Settled {
    /// Bytes that are still to be transformed, of so many of JSON and SQL. Until it is known better, what is
    /// made of a line takes as much as the line.
    fn left(&mut self, (json, sql): (u64, u64), now: Instant) -> u64 {
        let left = json.saturating_sub(sql);
        if self.seen == (json, sql) {
            let is_over = self.since.is_some_and(|since| now - since >= SETTLED_AFTER);
            if is_over && sql > 0 {
                self.rest = left;
            }
        } else {
            if json < self.seen.0 || sql < self.seen.1 {
                // Another file, or what is made of it is made anew.
                self.rest = 0;
            }
            self.seen = (json, sql);
            self.since = Some(now);
        }
        left.saturating_sub(self.rest)
    }
}

/// The room there is, and what is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Space {
    /// Bytes that we may still write.
    pub(super) free: u64,
    /// Bytes of the volume.
    pub(super) volume: u64,
    /// Bytes of JSON and SQL files.
    pub(super) used: u64,
    /// Bytes of JSON files, as far as there is no SQL of them yet.
    pub(super) untransformed: u64,
}

impl Space {
    /// Looks at the volume and the files.
    pub(super) fn look(cdc: &CdcDir, settled: &mut Settled) -> Result<Self> {
        let stat = nix::sys::statvfs::statvfs(cdc.top())
            .map_err(|error| trouble("look at the room of", cdc.top(), &error.into()))?;
        // Types differ between platforms.
        #[allow(
            clippy::useless_conversion,
            reason = "c_ulong is u64 here, not everywhere"
        )]
        let block = u64::from(stat.fragment_size());
        #[allow(
            clippy::useless_conversion,
            reason = "fsblkcnt_t is u64 here, not everywhere"
        )]
        let (free, volume) = (u64::from(stat.blocks_available()), u64::from(stat.blocks()));
        let (mut used, mut open_json, mut open_sql) = (0, 0, 0);
        for segment in cdc.segments()? {
            let json = segment.closed.unwrap_or(0) + segment.partial.unwrap_or(0);
            let size = |path: std::path::PathBuf| std::fs::metadata(path).map_or(0, |at| at.len());
            let (sql, begun) = (
                size(cdc.sql(segment.name)),
                size(cdc.sql_partial(segment.name)),
            );
            used += json + sql + begun;
            if sql == 0 {
                open_json += json;
                open_sql += begun;
            }
        }
        Ok(Self {
            free: free.saturating_mul(block),
            volume: volume.saturating_mul(block),
            used,
            untransformed: settled.left((open_json, open_sql), Instant::now()),
        })
    }

    /// Why receiving has to pause, if it has.
    pub(super) fn shortage(&self, most: Option<u64>) -> Option<String> {
        let needed = ROOM_MIN.max(self.untransformed.saturating_mul(ROOM_FACTOR));
        if self.free < needed {
            return Some(format!(
                "{} are free, and {} are kept for what is made of the received changes",
                pretty_bytes(self.free),
                pretty_bytes(needed)
            ));
        }
        most.filter(|most| self.used >= *most).map(|most| {
            format!(
                "change data takes {}, and --max-cdc-size is {}",
                pretty_bytes(self.used),
                pretty_bytes(most)
            )
        })
    }

    /// Bytes that may be received before the room is looked at again: a fast source fills a small volume within the time
    /// between two looks by the clock.
    pub(super) fn step(&self, most: Option<u64>) -> u64 {
        let room = most.map_or(self.free, |most| self.free.min(most));
        (room / STEP_SHARE).max(STEP_MIN)
    }

    /// Whether a shortage is over as soon as what is received is transformed: there is room for that.
    pub(super) fn is_lag(&self, most: Option<u64>) -> bool {
        let needed = ROOM_MIN.saturating_add(self.untransformed / 2 * 3);
        self.free >= needed && most.is_none_or(|most| self.used < most)
    }

    /// Whether people should know that room gets short.
    pub(super) fn is_scarce(&self) -> bool {
        self.free < WARN_BELOW || self.free < self.volume / 10
    }
}

/// The error for a transaction that cannot be held, whatever is pruned.
pub(super) fn too_large(cdc: &CdcDir, xid: u32, bytes: u64) -> Error {
    Error::bad_state(format!(
        "transaction {xid} is larger than the room in \"{}\"",
        cdc.top().display()
    ))
    .detail(format!(
        "{} of it were received, and everything before it is applied.",
        pretty_bytes(bytes)
    ))
    .hint("Make room on that volume, then start again with --resume.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_that_is_larger_than_its_sql_is_no_work_left_once_neither_grows() {
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        let mut settled = Settled::default();
        assert_eq!(settled.left((100, 0), at(0)), 100);
        // Nobody transforms.
        assert_eq!(settled.left((100, 0), at(9)), 100);
        assert_eq!(settled.left((100, 60), at(10)), 40);
        assert_eq!(settled.left((100, 60), at(12)), 40);
        assert_eq!(settled.left((100, 60), at(13)), 0);
        assert_eq!(settled.left((130, 60), at(14)), 30);
        assert_eq!(settled.left((130, 78), at(15)), 12);
        // Made anew.
        assert_eq!(settled.left((130, 10), at(16)), 120);
    }

    #[test]
    fn receiving_pauses_while_there_is_still_room_for_apply() {
        let space = |free, used, untransformed| Space {
            free,
            volume: 100 << 30,
            used,
            untransformed,
        };
        assert_eq!(space(1 << 30, 0, 300 << 20).shortage(None), None);
        assert!(space(1 << 30, 0, 400 << 20).shortage(None).is_some());
        assert!(space(15 << 20, 0, 0).shortage(None).is_some());
        assert_eq!(space(50 << 30, 99, 0).shortage(Some(100)), None);
        assert!(space(50 << 30, 100, 0).shortage(Some(100)).is_some());
        assert!(space(16 << 20, 0, 0).is_lag(None) && !space(15 << 20, 0, 0).is_lag(None));
        assert!(space(46 << 20, 0, 20 << 20).is_lag(None));
        assert!(!space(45 << 20, 0, 20 << 20).is_lag(None));
        assert!(!space(1 << 30, 99, 0).is_lag(Some(99)));
        assert!(space(9 << 30, 0, 0).is_scarce() && !space(11 << 30, 0, 0).is_scarce());
    }

    #[test]
    fn a_small_volume_is_looked_at_before_its_last_room_can_be_received() {
        let space = |free| Space {
            free,
            volume: 100 << 30,
            used: 0,
            untransformed: 0,
        };
        for free in [ROOM_MIN, 200 << 20, 1 << 30, 100 << 30] {
            for most in [None, Some(1 << 20), Some(1 << 40)] {
                // What is made of it takes as much again.
                assert!(2 * space(free).step(most) < free.max(ROOM_MIN));
            }
        }
        assert_eq!(space(200 << 20).step(None), 4 << 20);
        assert_eq!(space(64 << 30).step(None), 1 << 30);
        assert_eq!(space(64 << 30).step(Some(1 << 30)), 16 << 20);
    }
}
