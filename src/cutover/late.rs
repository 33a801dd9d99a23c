//! Late writers: what the source committed after the end that was set, which the target does not have.
//!
//! Runs in the main program, over its own session on the source. Looks at what the replication slot
//! would send next, and takes nothing from it.

use crate::catalog::Ledger;
use crate::error::{Error, Result};
use crate::follow::decode::{Decoder, Encoding};
use crate::follow::files::{CdcDir, SlotFile};
use crate::follow::json_line::Action;
use crate::follow::source::{plugin_options, read_slot};
use crate::follow::source_table::SourceTables;
use crate::follow::txn_index::TxnIndex;
use crate::pg::PgSession;
use crate::sys::clock;
use crate::units::Lsn;
use fallible_iterator::FallibleIterator;
use postgres::types::ToSql;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Changes that are looked at; the transaction in which there are more is read to its end.
const CHANGES_MAX: i32 = 1000;
/// How long the stream may take to let the slot go.
const FREE_WITHIN: Duration = Duration::from_secs(30);
/// Tables that are named.
const TABLES_MAX: usize = 10;

/// What came too late.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Late {
    /// Transactions that changed rows.
    pub transactions: u64,
    /// Their changes.
    pub changes: u64,
    /// Tables, as the plugin writes their names; some of them.
    pub tables: Vec<String>,
    /// There are more.
    pub more: bool,
}

impl Late {
    /// The error for what is not on the target.
    pub fn error(&self, endpos: Lsn) -> Error {
        let least = if self.more { "at least " } else { "" };
        Error::new(
            crate::error::Kind::Differences,
            format!(
                "{least}{} transactions with {} changes were committed on the source behind endpos {endpos}: they are \
                 not on the target",
                self.transactions, self.changes
            ),
        )
        .detail(match self.tables.as_slice() {
            [] => "They are in the files of change data.".to_owned(),
            tables => format!("They changed {}.", tables.join(", ")),
        })
        .hint(
            "Do not switch over yet. Stop those who write (or use --set-read-only), start pgcopydb follow --resume \
             again, and repeat the cutover, which sets a later endpos.",
        )
    }
}

/// Looks behind `reached`, up to where everything is on the target: first at what was received before the
/// stream heard of its end, then at what the source would send.
pub(super) fn look(
    session: &mut PgSession,
    slot: &SlotFile,
    (cdc, ledger): (&CdcDir, &Ledger),
    reached: Lsn,
) -> Result<Late> {
    wait_until_free(session, slot)?;
    let mut counted = Counted::default();
    let received = counted.add_received(cdc, reached)?;
    let tables = SourceTables::load_filtered(cdc.top(), ledger)?;
    let options: Vec<String> = plugin_options(slot, &tables.left_out())
        .into_iter()
        .flat_map(|(name, value)| [name.to_owned(), value])
        .collect();
    let sql = include_str!("sql/peek_changes.sql");
    let params: [&(dyn ToSql + Sync); 3] = [&slot.slot, &CHANGES_MAX, &options];
    let mut decoder = Decoder::new(slot.plugin, Encoding::Latin1);
    let mut rows = session.query_raw(sql, params)?;
    let mut broken = None;
    loop {
        match rows.next() {
            Ok(Some(row)) => {
                let (lsn, data): (String, Vec<u8>) = (row.get(0), row.get(1));
                let lsn = lsn
                    .parse()
                    .map_err(|why| Error::internal(format!("the source is at \"{lsn}\": {why}")))?;
                counted.add(&mut decoder, lsn, &data, received)?;
            }
            Ok(None) => break,
            Err(error) => {
                broken = Some(error);
                break;
            }
        }
    }
    drop(rows);
    match broken {
        Some(error) => Err(session
            .error(&error, sql)
            .context(format!("looking at what slot \"{}\" would send", slot.slot))),
        None => Ok(counted.late()),
    }
}

/// The stream has come to its end, and lets the slot go a moment later.
fn wait_until_free(session: &mut PgSession, slot: &SlotFile) -> Result<()> {
    let since = Instant::now();
    loop {
        let found = read_slot(session, &slot.slot)?.ok_or_else(|| {
            Error::bad_state(format!("replication slot \"{}\" is gone", slot.slot))
        })?;
        let Some(pid) = found.active_pid else {
            return Ok(());
        };
        super::unless_stopped()?;
        if since.elapsed() > FREE_WITHIN {
            return Err(Error::bad_state(format!(
                "replication slot \"{}\" is in use by process {pid}, so whether somebody writes behind the endpos \
                 cannot be seen",
                slot.slot
            ))
            .hint("Stop the process that receives from it, and repeat the cutover."));
        }
        clock::nap(Duration::from_millis(100));
    }
}

#[derive(Default)]
struct Counted {
    open: u64,
    tables_open: BTreeSet<String>,
    seen: u64,
    late: Late,
    tables: BTreeSet<String>,
}

impl Counted {
    /// Counts what is in the files and behind `reached`; gives up to where the files go.
    fn add_received(&mut self, cdc: &CdcDir, reached: Lsn) -> Result<Lsn> {
        let Some(index) = TxnIndex::open(cdc)? else {
            return Ok(reached);
        };
        let (mut at, mut last) = (index.first_after(reached)?, reached);
        while let Some(record) = index.get(at)? {
            if !record.is_boundary && record.changes > 0 {
                self.late.transactions += 1;
                self.late.changes += u64::from(record.changes);
            }
            last = record.end_lsn;
            at += 1;
        }
        Ok(last)
    }

    fn add(&mut self, decoder: &mut Decoder, lsn: Lsn, data: &[u8], endpos: Lsn) -> Result<()> {
        self.seen += 1;
        let mut body = String::new();
        let Some(what) = decoder.decode(data, &mut body)? else {
            return Ok(());
        };
        match what.action {
            Action::Begin => {
                self.open = 0;
                self.tables_open.clear();
            }
            Action::Commit if self.open > 0 && lsn > endpos => {
                self.late.transactions += 1;
                self.late.changes += self.open;
                self.tables.append(&mut self.tables_open);
            }
            action if action.is_change() => {
                self.open += 1;
                self.tables_open.extend(table_of(&body));
            }
            _ => {}
        }
        Ok(())
    }

    fn late(self) -> Late {
        Late {
            more: self.seen >= u64::from(CHANGES_MAX.unsigned_abs()),
            tables: self.tables.into_iter().take(TABLES_MAX).collect(),
            ..self.late
        }
    }
}

/// The name of the table, for people.
fn table_of(body: &str) -> Option<String> {
    match serde_json::from_str(body).ok()? {
        serde_json::Value::String(text) => {
            let named = text.strip_prefix("table ")?;
            Some(named.split(": ").next()?.to_owned())
        }
        serde_json::Value::Object(fields) => {
            let field = |name: &str| fields.get(name)?.as_str();
            Some(format!("{}.{}", field("schema")?, field("table")?))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::follow::files::Plugin;

    #[test]
    fn only_transactions_that_change_rows_and_end_behind_the_endpos_are_late() {
        let mut decoder = Decoder::new(Plugin::TestDecoding, Encoding::Latin1);
        let mut counted = Counted::default();
        for (lsn, text) in [
            (90, "BEGIN 1"),
            (91, "table public.t: INSERT: id[integer]:1"),
            (100, "COMMIT 1"),
            (101, "BEGIN 2"),
            (110, "COMMIT 2"),
            (95, "BEGIN 3"),
            (96, "table public.u: DELETE: id[integer]:1"),
            (97, "table public.u: DELETE: id[integer]:2"),
            (120, "COMMIT 3"),
        ] {
            counted
                .add(&mut decoder, Lsn(lsn), text.as_bytes(), Lsn(100))
                .unwrap();
        }
        let late = counted.late();
        assert_eq!((late.transactions, late.changes), (1, 2));
        assert_eq!(late.tables, ["public.u"]);
    }
}
