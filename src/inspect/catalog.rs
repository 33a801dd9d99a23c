//! The catalogs of the source in a ledger in memory: fetched, or taken from a work directory that has
//! fetched them before.
//!
//! Runs in the main program. Nothing outside of its memory is written.

use super::Source;
use crate::catalog::{LastRun, Ledger, Run, Setup, sqlite_error};
use crate::check;
use crate::error::Result;
use crate::filter::{self, Rules};
use crate::schema::split::{PlanOptions, plan_all};
use crate::schema::{
    FetchOptions, fetch_attributes, fetch_constraints, fetch_indexes, fetch_sequences, fetch_tables,
};
use crate::sys::clock;
use crate::workdir::{Holds, Layout, Look};
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
use std::path::PathBuf;

/// Tables of the ledger that describe the source and that the lists read.
const TAKEN: [&str; 6] = [
    "s_table",
    "s_attr",
    "s_part",
    "s_index",
    "s_constraint",
    "s_seq",
];

/// What a list is about; tables are fetched for all but sequences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Tables.
    Tables,
    /// Tables and their parts.
    Parts,
    /// Tables and indexes.
    Indexes,
    /// Sequences.
    Sequences,
    /// All of them, and columns.
    Everything,
}

/// How tables would be split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SplitChoice {
    /// Size from which on a table is split, 0: never; `None`: as the work directory does, else the
    /// default.
    pub bytes: Option<u64>,
    /// What it is by default.
    pub default_bytes: u64,
    /// Most parts of one table; `None`: as above, else no limit.
    pub max_parts: Option<u32>,
    /// No splits by ctid.
    pub skip_ctid: bool,
    /// Sizes from the statistics.
    pub estimate: bool,
}

/// Where catalogs may be found.
#[derive(Clone, Debug)]
pub struct Places {
    /// The work directory.
    pub dir: PathBuf,
    /// The source itself is to be read.
    pub anew: bool,
    /// What is listed of it.
    pub choice: Choice,
}

/// What is listed of a source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// Filters; none: everything is listed.
    pub rules: Option<Rules>,
    /// List what the filters leave out, not what they keep.
    pub left_out: bool,
}

/// Catalogs in memory.
pub struct Catalog {
    /// The ledger that holds them.
    pub ledger: Ledger,
    /// Size from which on tables are split in it, 0: never.
    pub split_bytes: u64,
    /// Setup and last run of the work directory that they were taken from.
    pub taken_from: Option<(Setup, Option<LastRun>)>,
}

impl Catalog {
    /// Reads what is wanted. Blocks.
    pub fn read(
        source: &mut Source,
        wanted: Wanted,
        split: &SplitChoice,
        places: &Places,
    ) -> Result<Self> {
        if !places.anew
            && !places.choice.left_out
            && let Some(found) = take(source, split, places)
        {
            return Ok(found);
        }
        let mut catalog = Self {
            ledger: Ledger::in_memory()?,
            split_bytes: split.bytes.unwrap_or(split.default_bytes),
            taken_from: None,
        };
        fetch(&mut catalog.ledger, source, (wanted, split), &places.choice)?;
        // Nothing is planned for what is not copied.
        let is_copied = !places.choice.left_out;
        if is_copied && matches!(wanted, Wanted::Parts | Wanted::Tables | Wanted::Everything) {
            plan(&mut catalog, source, split)?;
        }
        Ok(catalog)
    }
}

/// The catalogs of a work directory, when it is of this source, has fetched them through these filters, and
/// whoever asks does not want them split or measured in another way.
fn take(source: &Source, split: &SplitChoice, places: &Places) -> Option<Catalog> {
    let look = Look::at(Layout::new(places.dir.clone()));
    let Ok(Look {
        layout,
        holds: Holds::Ours(_),
        ..
    }) = look
    else {
        return None;
    };
    let identity = check::identity(&source.facts);
    let rules = places.choice.rules.as_ref();
    let filters = rules.map(Rules::canonical).unwrap_or_default();
    let seen = Ledger::view(&layout.ledger(), |disk| {
        let Some(setup) =
            Setup::read(disk)?.filter(|setup| fits(setup, &identity, split, &filters))
        else {
            return Ok(None);
        };
        if Run::marked(disk.connection(), "fetched")?.is_none() {
            return Ok(None);
        }
        let memory = Ledger::in_memory()?;
        for table in TAKEN {
            copy_rows(disk.connection(), memory.connection(), table)
                .map_err(|error| sqlite_error("read", &error))?;
        }
        let at: i64 = disk
            .connection()
            .query_row("select at from mark where name = 'fetched'", [], |row| {
                row.get(0)
            })
            .map_err(|error| sqlite_error("read", &error))?;
        let catalog = Catalog {
            ledger: memory,
            split_bytes: setup.split_bytes.unwrap_or(0),
            taken_from: Some((setup, LastRun::read(disk)?)),
        };
        Ok(Some((at, catalog)))
    });
    match seen {
        Ok(found) => {
            let (at, catalog) = found.flatten()?;
            log::info!(
                "Using the catalogs that work directory \"{}\" read at {}; --force reads the source \
                 anew",
                places.dir.display(),
                clock::local_time_at(at, "%Y-%m-%d %H:%M:%S")
            );
            Some(catalog)
        }
        // A work directory that cannot be read is no reason not to read the source.
        Err(error) => {
            log::debug!("Not using the work directory: {}", error.message());
            None
        }
    }
}

fn fits(setup: &Setup, identity: &str, split: &SplitChoice, filters: &str) -> bool {
    // A role that may not know the cluster's number could mean any server.
    let is_known = !identity.starts_with("unknown/");
    is_known
        && setup.source_identity == identity
        && setup.filters == filters
        && setup.split_bytes.is_some()
        && !split.estimate
        && !split.skip_ctid
        && split
            .bytes
            .is_none_or(|bytes| Some(bytes) == setup.split_bytes)
        && split
            .max_parts
            .is_none_or(|parts| parts == setup.split_max_parts)
}

/// Copies all rows of a table that both ledgers have.
fn copy_rows(from: &Connection, to: &Connection, table: &str) -> rusqlite::Result<()> {
    let mut select = from.prepare(&format!("select * from {table}"))?;
    let columns = select.column_count();
    let places = vec!["?"; columns].join(", ");
    let mut insert = to.prepare(&format!("insert into {table} values ({places})"))?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let values = (0..columns)
            .map(|column| row.get(column))
            .collect::<rusqlite::Result<Vec<Value>>>()?;
        insert.execute(params_from_iter(values))?;
    }
    Ok(())
}

fn fetch(
    ledger: &mut Ledger,
    source: &mut Source,
    (wanted, split): (Wanted, &SplitChoice),
    choice: &Choice,
) -> Result<()> {
    let version = source.facts.version;
    // Nobody looks at sizes of tables where only their indexes are listed.
    let options = FetchOptions {
        version,
        estimate_sizes: split.estimate || wanted == Wanted::Indexes,
        encodings_differ: false,
    };
    let selection = source.select(choice)?;
    let client = &mut source.session.client;
    ledger.write(|tx| {
        filter::store(tx, &selection.explained)?;
        if wanted != Wanted::Sequences {
            fetch_tables(client, tx, &options)?;
        }
        if !choice.left_out {
            filter::prune(tx)?;
        }
        if matches!(
            wanted,
            Wanted::Tables | Wanted::Indexes | Wanted::Everything
        ) {
            fetch_indexes(client, tx)?;
        }
        if matches!(wanted, Wanted::Indexes | Wanted::Everything) {
            fetch_constraints(client, tx)?;
        }
        if wanted == Wanted::Everything {
            fetch_attributes(client, tx, version)?;
        }
        if matches!(wanted, Wanted::Sequences | Wanted::Everything) {
            fetch_sequences(client, tx)?;
        }
        if choice.left_out {
            filter::keep_left_out(tx)
        } else {
            filter::prune(tx)
        }
    })
}

/// Plans the parts of large tables as a clone does; unlogged ones are copied whole.
fn plan(catalog: &mut Catalog, source: &mut Source, split: &SplitChoice) -> Result<()> {
    let options = PlanOptions {
        version: source.facts.version,
        part_bytes: catalog.split_bytes,
        max_parts: u64::from(split.max_parts.unwrap_or(0)),
        skip_by_ctid: split.skip_ctid,
    };
    let client = &mut source.session.client;
    catalog.ledger.write(|tx| {
        plan_all(tx, client, &options)?;
        tx.execute(
            "delete from s_part
              where table_oid in (select oid from s_table where persistence = 'u')",
            [],
        )
        .map(|_| ())
        .map_err(|error| sqlite_error("write", &error))
    })
}
