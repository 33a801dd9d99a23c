//! citus: makes the tables of the target what they are on the source, before any row arrives.
//!
//! Runs in the pre-data process. Reads `s_spread`; calls functions of citus on the target, each in a
//! transaction of its own. What is there already in the same way is left alone, so it can be run again.

use crate::catalog::{Ledger, sqlite_error};
use crate::error::{Context, Error, Kind, Result};
use crate::pg::PgSession;
use crate::schema::hooks::find_extension;
use crate::schema::spread::{
    CITUS, Call, DISTRIBUTE, REPLICATE, Spread, calls, list_spread, stored_spread,
};
use crate::units::Side;
use std::collections::BTreeMap;

/// Spreads the tables of the target as those of the source are. Blocks.
pub fn distribute(ledger: &Ledger, target: &mut PgSession) -> Result<()> {
    let tables =
        stored_spread(ledger.connection()).map_err(|error| sqlite_error("read", &error))?;
    if tables.is_empty() {
        return Ok(());
    }
    let names = [DISTRIBUTE, REPLICATE];
    let installed = find_extension(&mut target.client, Side::Target, CITUS, &names)?;
    let function = |name: &str| -> Result<String> {
        let found = installed.as_ref().and_then(|one| one.function(name));
        found
            .map(|one| one.qname.clone())
            .ok_or_else(|| no_function(name))
    };
    let (make, replicate) = (function(DISTRIBUTE)?, function(REPLICATE)?);
    let there: BTreeMap<String, Spread> = list_spread(&mut target.client, Side::Target)?
        .unwrap_or_default()
        .into_iter()
        .map(|table| (table.qname.clone(), table))
        .collect();
    for call in calls(&tables) {
        let qname = &call.table.qname;
        if let Some(twin) = there.get(qname) {
            refuse_other(&call, twin, &there)?;
            log::info!("Table {qname} is {} on the target already", twin.kind);
            continue;
        }
        let statement = call.statement(&make, &replicate);
        log::info!("{statement}");
        target
            .batch_execute(&statement)
            .context(|| format!("making table {qname} a {} table", call.table.kind))?;
    }
    Ok(())
}

/// Refuses a table that citus has on the target in another way.
fn refuse_other(call: &Call<'_>, twin: &Spread, there: &BTreeMap<String, Spread>) -> Result<()> {
    let table = call.table;
    let shares = match call.with.map(|first| there.get(first)) {
        Some(Some(first)) => first.colocation == twin.colocation,
        Some(None) => false,
        None => true,
    };
    let is_same = table.kind == twin.kind
        && table.column == twin.column
        && (table.is_reference() || table.shards == twin.shards)
        && shares;
    if is_same {
        return Ok(());
    }
    let words = |one: &Spread| {
        let column = one.column.as_deref().unwrap_or("no column");
        format!("{} by {column} in {} shards", one.kind, one.shards)
    };
    Err(Error::new(
        Kind::Target,
        format!(
            "table {} is spread in another way on the target",
            table.qname
        ),
    )
    .detail(format!(
        "It is {} on the source and {} on the target{}.",
        words(table),
        words(twin),
        if shares {
            ""
        } else {
            ", apart from the tables that it goes with"
        }
    ))
    .hint(format!(
        "Run on the target: select undistribute_table('{}'); and repeat the command.",
        table.qname
    )))
}

fn no_function(name: &str) -> Error {
    Error::new(
        Kind::Target,
        format!("extension citus, or its function {name}(), is not on the target"),
    )
    .hint("Run on the target: create extension citus; and add its worker nodes.")
}
