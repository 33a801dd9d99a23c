//! Lists the columns of the tables in the ledger.
//!
//! Runs in the leaf that fetches. Reads the catalogs of the source and the oids of `s_table`,
//! writes `s_attr`. Must not ask for one table at a time.

use postgres::GenericClient;
use rusqlite::{Transaction, params};

use super::query::{Query, get, ledger};
use super::{Tables, clear, table_oids};
use crate::error::Result;
use crate::units::{Oid, PgVersion};

const LIST: Query = Query::source("list the columns", include_str!("sql/list_attributes.sql"));

const LIST_PG96: Query = Query::source(
    "list the columns",
    include_str!("sql/list_attributes_pg96.sql"),
);

/// First version with generated columns.
const GENERATED_VERSION: u32 = 120_000;

/// Fills `s_attr`.
pub fn fetch_attributes(
    client: &mut impl GenericClient,
    tx: &Transaction<'_>,
    version: PgVersion,
) -> Result<u64> {
    clear(tx, "delete from s_attr")?;
    let mut insert = tx
        .prepare("insert into s_attr values (?1, ?2, ?3, ?4, ?5, ?6)")
        .map_err(ledger)?;
    let query = if version.0 < GENERATED_VERSION {
        LIST_PG96
    } else {
        LIST
    };
    query.each(client, &[&table_oids(tx, Tables::All)?], |row| {
        insert
            .execute(params![
                get::<Oid>(row, "table_oid")?,
                get::<i16>(row, "attnum")?,
                get::<&str>(row, "attname")?,
                get::<Oid>(row, "type_oid")?,
                get::<i32>(row, "typmod")?,
                get::<bool>(row, "generated")?,
            ])
            .map_err(ledger)?;
        Ok(())
    })
}
