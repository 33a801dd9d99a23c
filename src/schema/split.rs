//! Plans the parts of all large tables: reads what the planner needs, writes what it says.
//!
//! Runs in the leaf that fetches, after filters. Reads `s_table` and, for tables that are cut by a
//! key, its lowest and highest value and its histogram on the source; writes `s_part`. Must not
//! decide where to cut, which is `plan`'s, and must not keep locks on tables.

use postgres::GenericClient;
use rusqlite::{Transaction, params};

use super::clear;
use super::plan::{
    KeyFacts, PartPlan, SplitOptions, TID_RANGE_SCAN_VERSION, TableFacts, needs_key, plan_parts,
};
use super::query::{Query, get, ledger, server_error, unsigned};
use crate::error::Result;
use crate::units::{Oid, PgVersion, Side};

const HISTOGRAM: Query = Query::source(
    "read the histogram of a key",
    include_str!("sql/read_histogram.sql"),
);

/// What the user asked for, and what the source can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlanOptions {
    /// Version of the source.
    pub version: PgVersion,
    /// Size from which on a table is cut; 0: never.
    pub part_bytes: u64,
    /// Most parts of a table; 0: no limit.
    pub max_parts: u64,
    /// The user wants no cuts by ctid.
    pub skip_by_ctid: bool,
}

impl PlanOptions {
    /// The same in the planner's terms.
    pub fn split(&self) -> SplitOptions {
        SplitOptions {
            part_bytes: self.part_bytes,
            max_parts: self.max_parts,
            by_ctid: !self.skip_by_ctid && self.version.0 >= TID_RANGE_SCAN_VERSION,
        }
    }
}

/// A table that may be cut.
struct Candidate {
    oid: Oid,
    qname: String,
    key: Option<(String, bool)>,
    facts: TableFacts,
}

/// Writes plan 1 of every table of the ledger that is large enough, replacing all plans there are;
/// counts the tables that are cut. The client must be inside a transaction.
pub fn plan_all(
    tx: &Transaction<'_>,
    client: &mut impl GenericClient,
    options: &PlanOptions,
) -> Result<u64> {
    clear(tx, "delete from s_part")?;
    if options.part_bytes == 0 {
        return Ok(0);
    }
    let mut count = 0;
    for table in candidates(tx, options)? {
        if !plan_table(tx, client, table, (1, &options.split()))?.is_empty() {
            count += 1;
        }
    }
    Ok(count)
}

fn plan_table(
    tx: &Transaction<'_>,
    client: &mut impl GenericClient,
    mut table: Candidate,
    plan: (i64, &SplitOptions),
) -> Result<Vec<PartPlan>> {
    let (number, options) = plan;
    if needs_key(&table.facts, options)
        && let Some((key, not_null)) = &table.key
    {
        table.facts.key = Some(KeyFacts {
            nullable: !not_null,
            min_max: read_min_max(client, &table.qname, key)?,
            histogram: read_histogram(client, table.oid, key)?,
        });
    }
    let parts = plan_parts(&table.facts, options);
    let mut insert = tx
        .prepare_cached("insert into s_part values (?1, ?2, ?3, ?4, ?5, ?6, ?7)")
        .map_err(ledger)?;
    for part in &parts {
        let PartPlan {
            part,
            kind,
            low,
            high,
            with_null,
        } = part;
        insert
            .execute(params![
                table.oid,
                number,
                part,
                kind.as_str(),
                low,
                high,
                with_null
            ])
            .map_err(ledger)?;
    }
    Ok(parts)
}

fn candidates(tx: &Transaction<'_>, options: &PlanOptions) -> Result<Vec<Candidate>> {
    let mut select = tx
        .prepare_cached(
            "select oid, qname, amname, bytes, relpages, part_key, part_key_notnull from s_table \
             where bytes >= ?1 and is_extension = 0 and exclude_data = 0 order by bytes desc, oid",
        )
        .map_err(ledger)?;
    let least = i64::try_from(options.part_bytes).unwrap_or(i64::MAX);
    let found = select
        .query_map([least], |row| {
            let key: Option<String> = row.get(5)?;
            let not_null: bool = row.get(6)?;
            Ok(Candidate {
                oid: row.get(0)?,
                qname: row.get(1)?,
                key: key.map(|key| (key, not_null)),
                facts: TableFacts {
                    is_heap: row.get::<_, String>(2)? == "heap",
                    bytes: unsigned(row.get(3)?),
                    pages: unsigned(row.get(4)?),
                    key: None,
                },
            })
        })
        .map_err(ledger)?;
    found
        .collect::<rusqlite::Result<Vec<Candidate>>>()
        .map_err(ledger)
}

/// Lowest and highest key of the table's own rows; both names quoted. `None`: no row has one, or
/// the table is gone by now.
pub fn read_min_max(
    client: &mut impl GenericClient,
    qname: &str,
    key: &str,
) -> Result<Option<(i64, i64)>> {
    let failed = |error: &postgres::Error| {
        server_error(Side::Source, "read the lowest and highest key", error)
            .context(format!("table {qname}"))
    };
    client
        .batch_execute("savepoint read_min_max")
        .map_err(|error| failed(&error))?;
    let sql = format!("select min({key})::int8, max({key})::int8 from only {qname}");
    let answer = client.query_one(sql.as_str(), &[]);
    let is_gone =
        |error: &postgres::Error| error.code() == Some(&postgres::error::SqlState::UNDEFINED_TABLE);
    let bounds = match answer {
        Ok(row) => {
            let low: Option<i64> = row.try_get(0).map_err(|error| failed(&error))?;
            let high: Option<i64> = row.try_get(1).map_err(|error| failed(&error))?;
            low.zip(high)
        }
        Err(error) if is_gone(&error) => None,
        Err(error) => return Err(failed(&error)),
    };
    // The lock on the table goes with the savepoint.
    client
        .batch_execute("rollback to savepoint read_min_max; release savepoint read_min_max")
        .map_err(|error| failed(&error))?;
    Ok(bounds)
}

/// Bucket bounds of a key; empty when the server has, or shows, none.
pub fn read_histogram(client: &mut impl GenericClient, oid: Oid, key: &str) -> Result<Vec<i64>> {
    let mut found = HISTOGRAM.collect(client, &[&oid, &key], |row| get(row, "bounds"))?;
    Ok(found.pop().unwrap_or_default())
}
