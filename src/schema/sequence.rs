//! Lists the sequences and reads their values, hundreds with one statement.
//!
//! Runs in the leaf that fetches, and again where sequences are set at the end. Reads the source
//! and writes `s_seq`. Must not use the view `pg_sequences`, which shows null for a sequence that
//! was set but not called, and must not keep the lock of each sequence: there may be more of them
//! than the lock table has room for. (`pg_get_sequence_data` of 18 keeps them.)

use postgres::GenericClient;
use rusqlite::{Transaction, params};

use super::clear;
use super::preflight::{Finding, list_unreadable_sequences};
use super::query::{Query, get, ledger, server_error};
use crate::error::{Error, Kind, Result};
use crate::units::{Oid, Side};

const LIST: Query = Query::source("list the sequences", include_str!("sql/list_sequences.sql"));

/// Sequences read with one statement.
const BATCH: usize = 300;

/// Names of sequences that an error shows.
const NAMES_SHOWN_MAX: usize = 10;

/// The value of a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SequenceValue {
    /// The sequence.
    pub oid: Oid,
    /// Last value given out, or the first one to give out.
    pub last_value: i64,
    /// False: `last_value` is still to be given out.
    pub is_called: bool,
}

/// Fills `s_seq`, without values.
pub fn fetch_sequences(client: &mut impl GenericClient, tx: &Transaction<'_>) -> Result<u64> {
    clear(tx, "delete from s_seq")?;
    let mut insert = tx
        .prepare(
            "insert into s_seq (oid, nspname, relname, qname, is_unlogged) \
             values (?1, ?2, ?3, ?4, ?5)",
        )
        .map_err(ledger)?;
    LIST.each(client, &[], |row| {
        insert
            .execute(params![
                get::<Oid>(row, "oid")?,
                get::<&str>(row, "nspname")?,
                get::<&str>(row, "relname")?,
                get::<&str>(row, "qname")?,
                get::<bool>(row, "is_unlogged")?,
            ])
            .map_err(ledger)?;
        Ok(())
    })
}

/// The sequences that there are now: oid and quoted name.
pub fn list_sequences(client: &mut impl GenericClient) -> Result<Vec<(Oid, String)>> {
    LIST.collect(client, &[], |row| {
        Ok((get(row, "oid")?, get(row, "qname")?))
    })
}

/// Reads the values of all sequences that `s_seq` has now, and writes them there. Fails with
/// `Source`, naming sequences, when the role may not read one of them. The client must be inside a
/// transaction.
pub fn fetch_sequence_values(client: &mut impl GenericClient, tx: &Transaction<'_>) -> Result<u64> {
    let mut select = tx
        .prepare("select oid, qname from s_seq order by oid")
        .map_err(ledger)?;
    let wanted = select
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .and_then(Iterator::collect::<rusqlite::Result<Vec<(Oid, String)>>>)
        .map_err(ledger)?;
    refuse_unreadable(&wanted, list_unreadable_sequences(client)?)?;
    let mut update = tx
        .prepare("update s_seq set last_value = ?2, is_called = ?3 where oid = ?1")
        .map_err(ledger)?;
    let mut count = 0;
    for batch in wanted.chunks(BATCH) {
        for value in read_sequence_values(client, Side::Source, batch)? {
            update
                .execute(params![value.oid, value.last_value, value.is_called])
                .map_err(ledger)?;
            count += 1;
        }
    }
    Ok(count)
}

/// Reads the values of a few hundred sequences, given by oid and quoted name. Takes no lock that
/// outlives the call; the client must be inside a transaction.
pub fn read_sequence_values(
    client: &mut impl GenericClient,
    side: Side,
    sequences: &[(Oid, String)],
) -> Result<Vec<SequenceValue>> {
    if sequences.is_empty() {
        return Ok(Vec::new());
    }
    let selects: Vec<String> = sequences
        .iter()
        .map(|(oid, qname)| format!("select '{oid}'::oid, last_value, is_called from {qname}"))
        .collect();
    let failed = |error: &postgres::Error| server_error(side, "read the sequences", error);
    // Locks taken after a savepoint go with its rollback.
    client
        .batch_execute("savepoint read_sequences")
        .map_err(|error| failed(&error))?;
    let rows = client
        .simple_query(&selects.join(" union all "))
        .map_err(|error| failed(&error))?;
    client
        .batch_execute("rollback to savepoint read_sequences; release savepoint read_sequences")
        .map_err(|error| failed(&error))?;
    rows.iter()
        .filter_map(|message| match message {
            postgres::SimpleQueryMessage::Row(row) => Some(parse_value(row)),
            _ => None,
        })
        .collect()
}

fn parse_value(row: &postgres::SimpleQueryRow) -> Result<SequenceValue> {
    let text = |column| row.get(column).unwrap_or_default();
    match (text(0).parse(), text(1).parse()) {
        (Ok(oid), Ok(last_value)) => Ok(SequenceValue {
            oid,
            last_value,
            is_called: text(2) == "t",
        }),
        _ => Err(Error::internal("a sequence has no number as its value")),
    }
}

fn refuse_unreadable(wanted: &[(Oid, String)], unreadable: Vec<Finding>) -> Result<()> {
    let wanted: std::collections::HashSet<&str> =
        wanted.iter().map(|(_, qname)| qname.as_str()).collect();
    let names: Vec<String> = unreadable
        .into_iter()
        .map(|finding| finding.qname)
        .filter(|qname| wanted.contains(qname.as_str()))
        .collect();
    if names.is_empty() {
        return Ok(());
    }
    let shown = names
        .iter()
        .take(NAMES_SHOWN_MAX)
        .cloned()
        .collect::<Vec<_>>()
        .join(", ");
    Err(Error::new(
        Kind::Source,
        format!("could not read {} sequences of the source", names.len()),
    )
    .detail(format!("Not allowed: {shown}"))
    .hint("Grant SELECT on the sequences and USAGE on their schemas to the role."))
}
