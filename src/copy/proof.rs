//! Did a part arrive whose COMMIT was not answered? Told by the number of its transaction, where no row of ours on
//! the target may say so.
//!
//! Runs in copy workers. The number is on disk in the ledger before COMMIT is sent; without it there was none. The
//! server's word alone is not enough, as one that crashed may give a number out again: the rows that carry it are
//! counted, too. Whatever is not certain means that the table is copied again as a whole.

use super::task::Task;
use crate::catalog::{Ledger, sqlite_error};
use crate::error::{Context, Error, Kind, Result};
use crate::wire;
use rusqlite::{OptionalExtension, params};

/// SQLSTATE of a number that the server has not given out yet.
const IN_THE_FUTURE: &str = "22023";

/// What is known of an earlier try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It took place, with that many rows.
    There(u64),
    /// It did not.
    NotThere,
    /// Nobody can tell.
    Unknown,
}

/// Writes down the transaction that is about to be committed, and makes its COMMIT wait for the disk.
pub(super) fn note(
    ledger: &mut Ledger,
    target: &mut wire::Session,
    task: &Task,
    rows: u64,
) -> Result<()> {
    target.simple("set local synchronous_commit = on")?;
    let id = number(target, "select pg_catalog.txid_current()")?
        .ok_or_else(|| Error::new(Kind::Target, "the target named no transaction"))?;
    ledger.write_durably(|tx| {
        tx.execute(
            "insert or replace into part_commit (unit_id, txid, rows) values (?1, ?2, ?3)",
            params![task.unit.id, id, i64::try_from(rows).unwrap_or(i64::MAX)],
        )
        .map(|_| ())
        .map_err(|error| sqlite_error("write", &error))
    })
}

/// Asks about the last try of a part. The backend that made it is gone. Blocks.
pub(super) fn ask(ledger: &Ledger, target: &mut wire::Session, task: &Task) -> Result<Verdict> {
    let noted = ledger
        .connection()
        .query_row(
            "select txid, rows, (select count(*) from part_commit o where o.txid = p.txid) from part_commit p
              where unit_id = ?1",
            [task.unit.id],
            |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?)),
        )
        .optional()
        .map_err(|error| sqlite_error("read", &error))?;
    let Some((id, rows, owners)) = noted else {
        return Ok(Verdict::NotThere);
    };
    let status = match text(target, &format!("select pg_catalog.txid_status({id})")) {
        Err(error) if error.sqlstate() == Some(IN_THE_FUTURE) => None,
        other => other?,
    };
    let found = match status.as_deref() {
        Some("committed") if owners == 1 => number(
            target,
            &format!(
                "select count(*) from only {} where xmin = '{}'::xid",
                task.target_qname,
                id & 0xffff_ffff
            ),
        )
        .context(|| format!("counting the rows of an earlier try of {}", task.qname))?,
        _ => None,
    };
    Ok(judge(status.as_deref(), found, rows))
}

/// What the server's answers come to.
fn judge(status: Option<&str>, found: Option<i64>, rows: i64) -> Verdict {
    match (status, found) {
        (Some("aborted"), _) => Verdict::NotThere,
        (Some("committed"), Some(found)) if found == rows => {
            Verdict::There(u64::try_from(rows).unwrap_or(0))
        }
        _ => Verdict::Unknown,
    }
}

fn text(target: &mut wire::Session, sql: &str) -> Result<Option<String>> {
    let results = target.simple(sql)?;
    let row = results.first().and_then(|result| result.rows.first());
    Ok(row.and_then(|row| row.first().cloned().flatten()))
}

fn number(target: &mut wire::Session, sql: &str) -> Result<Option<i64>> {
    Ok(text(target, sql)?.and_then(|value| value.parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_committed_number_with_all_of_its_rows_is_there() {
        assert_eq!(judge(Some("committed"), Some(7), 7), Verdict::There(7));
        assert_eq!(judge(Some("committed"), Some(0), 0), Verdict::There(0));
        // a number that a crashed server gave out again
        assert_eq!(judge(Some("committed"), Some(3), 7), Verdict::Unknown);
        assert_eq!(judge(Some("committed"), None, 7), Verdict::Unknown);
        assert_eq!(judge(Some("aborted"), None, 7), Verdict::NotThere);
        assert_eq!(judge(Some("in progress"), None, 7), Verdict::Unknown);
        assert_eq!(judge(None, None, 7), Verdict::Unknown);
    }
}
