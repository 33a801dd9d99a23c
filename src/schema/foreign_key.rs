//! Lists the foreign keys of the tables in the ledger.
//!
//! Runs in the leaf that fetches. Reads the catalogs of the source, `s_table`, writes `s_fkey`.
//! Must not list the rows that PostgreSQL keeps for partitions (`conparentid`): recreated, they
//! would make a table refuse all rows.

use postgres::GenericClient;
use rusqlite::{Transaction, params};

use super::query::{Query, get, ledger};
use super::{Tables, clear, table_oids};
use crate::error::Result;
use crate::units::Oid;

const LIST: Query = Query::source(
    "list the foreign keys",
    include_str!("sql/list_foreign_keys.sql"),
);

const INSERT: &str = "insert into s_fkey (oid, table_oid, ref_oid, conname, is_validated, \
    is_enforced, is_plain, bytes, definition) values (?1, ?2, ?3, ?4, ?5, ?6, ?7, \
    coalesce((select bytes from s_table where oid = ?2), 0), ?8)";

/// Fills `s_fkey`; the referenced table need not be in the ledger.
pub fn fetch_foreign_keys(client: &mut impl GenericClient, tx: &Transaction<'_>) -> Result<u64> {
    clear(tx, "delete from s_fkey")?;
    let mut insert = tx.prepare(INSERT).map_err(ledger)?;
    let mut count = 0;
    LIST.each(client, &[&table_oids(tx, Tables::Ours)?], |row| {
        let Some(definition) = get::<Option<&str>>(row, "definition")? else {
            return Ok(());
        };
        insert
            .execute(params![
                get::<Oid>(row, "oid")?,
                get::<Oid>(row, "table_oid")?,
                get::<Oid>(row, "ref_oid")?,
                get::<&str>(row, "conname")?,
                get::<bool>(row, "is_validated")?,
                get::<bool>(row, "is_enforced")?,
                get::<bool>(row, "is_plain")?,
                definition,
            ])
            .map_err(ledger)?;
        count += 1;
        Ok(())
    })?;
    Ok(count)
}
