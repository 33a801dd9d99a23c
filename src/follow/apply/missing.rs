//! What is received and not applied yet, as the transaction index tells.
//!
//! Runs in any process. Reads the index alone.

use crate::error::{Error, Result};
use crate::follow::files::CdcDir;
use crate::follow::txn_index::TxnIndex;
use crate::units::Lsn;

/// Transactions up to an endpos that are not applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Missing {
    /// How many of them are received.
    pub transactions: u64,
    /// Whether all of them are.
    pub is_received: bool,
}

/// Counts what ends behind `applied` and not behind `endpos`.
pub fn missing(cdc: &CdcDir, (applied, endpos): (Lsn, Lsn), received: Lsn) -> Result<Missing> {
    let mut missing = Missing {
        transactions: 0,
        is_received: received >= endpos,
    };
    let Some(index) = TxnIndex::open(cdc)? else {
        return Ok(missing);
    };
    let behind = index.first_after(endpos)?;
    for at in index.first_after(applied)?..behind {
        let is_boundary = index.get(at)?.is_none_or(|record| record.is_boundary);
        missing.transactions += u64::from(!is_boundary);
    }
    Ok(missing)
}

/// Refuses to call an endpos drained while a transaction up to it is received and not applied.
pub(super) fn refuse_missing(cdc: &CdcDir, progress: Lsn, endpos: Lsn) -> Result<()> {
    let left = missing(cdc, (progress, endpos), endpos)?.transactions;
    if left == 0 {
        return Ok(());
    }
    Err(Error::internal(format!(
        "{left} transactions up to endpos {endpos} are received and not applied"
    ))
    .detail(format!("The replication origin is at {progress}."))
    .hint("Nothing is lost: --resume applies them from the files."))
}
