//! How far a follow is behind the source: in bytes, in seconds, and when it will have caught up.
//!
//! `receive` notes every few seconds where the source is; whoever looks computes the rest from that and
//! from the sentinel. Seconds are those since the source was where the target is now, as noted then: a
//! plugin need not tell the time of a commit for that.

use super::open::{Ledger, sqlite_error};
use super::sentinel::{CdcSetup, CdcStatus, DDL, Sentinel, lsn};
use crate::error::{Error, Result};
use crate::sys::clock;
use crate::units::{Lsn, pretty_bytes, pretty_rate};
use rusqlite::{Connection, OptionalExtension, params};
use std::fmt::Write;

/// Rates are those of so long, milliseconds.
const WINDOW_MS: i64 = 60_000;
/// Every sample is kept for so long, then one a minute.
const FINE_MS: i64 = 15 * 60_000;
/// Samples are kept for so long.
const KEPT_MS: i64 = 24 * 3_600_000;

/// What a look at the source told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceLook {
    /// Written and flushed there.
    pub lsn: Lsn,
    /// WAL from here on is kept for the slot.
    pub restart_lsn: Lsn,
    /// What the server says of the slot's WAL.
    pub wal_status: Option<String>,
    /// Bytes that may be written before the slot is lost.
    pub safe_wal_size: Option<i64>,
}

/// Source, files and target at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sample {
    at: i64,
    source: Lsn,
    received: Lsn,
    applied: Lsn,
}

/// How far behind a follow is.
#[derive(Clone, Debug)]
pub struct Lag {
    /// The sentinel.
    pub sentinel: Sentinel,
    /// What the processes told.
    pub status: CdcStatus,
    /// The last look at the source and its time, epoch milliseconds; none yet: receive has not run.
    pub source: Option<(i64, SourceLook)>,
    /// What became of the source's tables since, one line each.
    pub drift: Vec<String>,
    /// Oldest first; the last one is of now.
    samples: Vec<Sample>,
}

fn failed(what: &'static str) -> impl Fn(rusqlite::Error) -> Error {
    move |error| sqlite_error(what, &error)
}

impl SourceLook {
    /// Notes the look, and a sample with what the sentinel says now.
    pub fn note(&self, ledger: &mut Ledger) -> Result<()> {
        let now = clock::epoch_ms();
        ledger.write(|transaction| {
            let row = Sentinel::must_read(transaction)?;
            transaction
                .execute_batch(DDL)
                .and_then(|()| {
                    transaction.execute(
                        "insert or replace into cdc_source (id, seen_at, lsn, restart_lsn, wal_status, safe_wal_size)
                         values (1, ?1, ?2, ?3, ?4, ?5)",
                        params![
                            now,
                            self.lsn.to_string(),
                            self.restart_lsn.to_string(),
                            self.wal_status,
                            self.safe_wal_size
                        ],
                    )
                })
                .and_then(|_| {
                    transaction.execute(
                        "insert or replace into cdc_sample (at, source_lsn, received_lsn, applied_lsn)
                         values (?1, ?2, ?3, ?4)",
                        params![
                            now,
                            self.lsn.to_string(),
                            row.flush_lsn.to_string(),
                            row.replay_lsn.to_string()
                        ],
                    )
                })
                .and_then(|_| {
                    transaction.execute(
                        "delete from cdc_sample
                          where at < ?1
                             or at < ?2 and at not in (select min(at) from cdc_sample group by at / 60000)",
                        params![now - KEPT_MS, now - FINE_MS],
                    )
                })
                .map_err(failed("write"))?;
            Ok(())
        })
    }
}

impl Lag {
    /// Reads it, none where nothing was set up.
    pub fn read(connection: &Connection, now: i64) -> Result<Option<Self>> {
        let Some(sentinel) = Sentinel::read(connection)? else {
            return Ok(None);
        };
        let mut lag = Self {
            sentinel,
            status: CdcStatus::read(connection)?,
            source: None,
            drift: CdcSetup::get(connection, "drift")?
                .unwrap_or_default()
                .lines()
                .map(str::to_owned)
                .collect(),
            samples: Vec::new(),
        };
        let there: bool = connection
            .query_row(
                "select count(*) = 2 from sqlite_master where name in ('cdc_source', 'cdc_sample')",
                [],
                |row| row.get(0),
            )
            .map_err(failed("read"))?;
        if there {
            lag.read_source(connection).map_err(failed("read"))?;
        }
        if let Some((_, look)) = &lag.source {
            // What was received and applied since is known; the source may be further by now.
            let source = look.lsn.max(sentinel.flush_lsn);
            lag.samples.push(Sample {
                at: now,
                source,
                received: sentinel.flush_lsn,
                applied: sentinel.replay_lsn,
            });
        }
        Ok(Some(lag))
    }

    fn read_source(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        self.source = connection
            .query_row(
                "select seen_at, lsn, restart_lsn, wal_status, safe_wal_size from cdc_source",
                [],
                |row| {
                    Ok((
                        row.get(0)?,
                        SourceLook {
                            lsn: lsn(row, 1)?,
                            restart_lsn: lsn(row, 2)?,
                            wal_status: row.get(3)?,
                            safe_wal_size: row.get(4)?,
                        },
                    ))
                },
            )
            .optional()?;
        self.samples = connection
            .prepare(
                "select at, source_lsn, received_lsn, applied_lsn from cdc_sample order by at",
            )?
            .query_map([], |row| {
                Ok(Sample {
                    at: row.get(0)?,
                    source: lsn(row, 1)?,
                    received: lsn(row, 2)?,
                    applied: lsn(row, 3)?,
                })
            })?
            .collect::<rusqlite::Result<_>>()?;
        Ok(())
    }

    fn last(&self) -> Option<&Sample> {
        self.samples.last()
    }

    /// Bytes of WAL that are not received, and not applied; none where the source was not seen.
    pub fn bytes_behind(&self) -> Option<(u64, u64)> {
        let last = self.last()?;
        let behind = |position: Lsn| last.source.0.saturating_sub(position.0);
        Some((behind(last.received), behind(last.applied)))
    }

    /// Milliseconds since the source was where the target is now; 0 where it still is.
    pub fn ms_behind(&self) -> Option<i64> {
        let last = self.last()?;
        if last.applied >= last.source {
            return Some(0);
        }
        let passed = self
            .samples
            .iter()
            .find(|sample| sample.source > last.applied)?;
        Some(last.at - passed.at)
    }

    /// Bytes a second lately: written on the source, received, applied.
    pub fn rates(&self) -> Option<[u64; 3]> {
        let last = self.last()?;
        let first = self
            .samples
            .iter()
            .find(|sample| sample.at >= last.at - WINDOW_MS)?;
        let ms = u64::try_from(last.at - first.at)
            .ok()
            .filter(|ms| *ms > 0)?;
        let rate = |from: Lsn, to: Lsn| {
            // Nothing was applied before the first position was told.
            let bytes = if from.is_set() {
                to.0.saturating_sub(from.0)
            } else {
                0
            };
            bytes.saturating_mul(1000) / ms
        };
        Some([
            rate(first.source, last.source),
            rate(first.received, last.received),
            rate(first.applied, last.applied),
        ])
    }

    /// Milliseconds until the target has caught up with the source, or has reached the endpos; none
    /// where it does not come nearer.
    pub fn left_ms(&self) -> Option<u64> {
        let (last, [written, _, applied]) = (self.last()?, self.rates()?);
        let endpos = self.sentinel.endpos;
        let (bytes, speed) = if endpos.is_set() {
            (endpos.0.saturating_sub(last.applied.0), applied)
        } else {
            let behind = last.source.0.saturating_sub(last.applied.0);
            (behind, applied.saturating_sub(written))
        };
        match (bytes, speed) {
            (0, _) => Some(0),
            (_, 0) => None,
            _ => Some(bytes.saturating_mul(1000) / speed),
        }
    }

    /// Bytes of WAL that the source keeps for the slot.
    pub fn retained(&self) -> Option<u64> {
        let (_, look) = self.source.as_ref()?;
        let restart = Some(look.restart_lsn).filter(|lsn| lsn.is_set())?;
        Some(look.lsn.0.saturating_sub(restart.0))
    }

    /// All of it in one line, for the log.
    pub fn line(&self) -> String {
        let row = &self.sentinel;
        let mut line = format!(
            "Received up to {}, applied up to {}",
            row.flush_lsn, row.replay_lsn
        );
        // Writing into memory cannot fail.
        if let Some((received, applied)) = self.bytes_behind() {
            let seconds = self.ms_behind().unwrap_or(0) / 1000;
            let _infallible = write!(
                line,
                "; {} are not received, {} and {seconds} s not applied",
                pretty_bytes(received),
                pretty_bytes(applied)
            );
        }
        if let Some([written, _, applied]) = self.rates() {
            let _infallible = write!(
                line,
                "; source {}, applied {}",
                pretty_rate(written, 1000),
                pretty_rate(applied, 1000)
            );
        }
        if row.endpos.is_set() {
            let _infallible = write!(line, "; endpos {}", row.endpos);
        }
        line
    }

    /// Whether all up to the endpos is applied.
    pub fn is_drained(&self) -> bool {
        let endpos = self.sentinel.endpos;
        endpos.is_set() && self.status.drained_endpos == endpos
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lag(samples: &[(i64, u64, u64, u64)]) -> Lag {
        let mut ledger = Ledger::in_memory().unwrap();
        Sentinel::create(&mut ledger, Lsn(1), Lsn::UNSET).unwrap();
        let mut lag = Lag::read(ledger.connection(), 0).unwrap().unwrap();
        lag.samples = samples
            .iter()
            .map(|(at, source, received, applied)| Sample {
                at: *at,
                source: Lsn(*source),
                received: Lsn(*received),
                applied: Lsn(*applied),
            })
            .collect();
        lag
    }

    #[test]
    fn seconds_behind_are_those_since_the_source_was_where_the_target_is() {
        let behind = lag(&[
            (0, 1000, 1000, 900),
            (10_000, 2000, 1900, 1000),
            (20_000, 3000, 2900, 1500),
            (30_000, 4000, 4000, 2500),
        ]);
        assert_eq!(behind.ms_behind(), Some(10_000));
        assert_eq!(behind.bytes_behind(), Some((0, 1500)));
        assert_eq!(behind.rates(), Some([100, 100, 53]));
        assert_eq!(behind.left_ms(), None, "the source writes faster");
        let nearer = lag(&[(0, 1000, 1000, 500), (10_000, 1100, 1100, 900)]);
        assert_eq!(nearer.left_ms(), Some(200 * 1000 / 30));
        assert_eq!(lag(&[(5, 7, 7, 7)]).ms_behind(), Some(0));
        assert_eq!(lag(&[]).ms_behind(), None);
    }

    #[test]
    fn a_look_at_the_source_is_noted_and_read_back() {
        let mut ledger = Ledger::in_memory().unwrap();
        assert!(Lag::read(ledger.connection(), 0).unwrap().is_none());
        Sentinel::create(&mut ledger, Lsn(1), Lsn::UNSET).unwrap();
        let look = SourceLook {
            lsn: Lsn(5000),
            restart_lsn: Lsn(1000),
            wal_status: Some("reserved".to_owned()),
            safe_wal_size: None,
        };
        look.note(&mut ledger).unwrap();
        look.note(&mut ledger).unwrap();
        let lag = Lag::read(ledger.connection(), clock::epoch_ms())
            .unwrap()
            .unwrap();
        assert_eq!(lag.source.as_ref().unwrap().1, look);
        assert_eq!(lag.retained(), Some(4000));
        assert_eq!(lag.bytes_behind(), Some((5000, 5000)));
        assert!(!lag.is_drained());
    }
}
