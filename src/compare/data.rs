//! `compare data`: the rows of every table and the content of every large object, as numbers.
//!
//! Runs in the main program. Rows come as the text of COPY and are hashed here: that costs the servers
//! no more than reading them, several times less than a hash of their own.

use super::CompareSettings;
use super::chunk::{self, Chunk, SLICE_BYTES};
use super::couple::{self, Couple, Sides};
use super::filters;
use super::pool::{self, Reading};
use super::rows::RowSum;
use super::server::{Opening, Server};
use super::table::{self, Entry, Table};
use crate::conninfo::ConnInfo;
use crate::error::{Error, Kind, Result};
use crate::logging;
use crate::notice;
use crate::pg::{Canceller, quote};
use crate::schema::spread::{CITUS, list_spread};
use crate::sys::signal;
use crate::units::Side;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

/// Schema and name under which large objects are listed: those of the table that holds them.
const LARGE_OBJECTS: (&str, &str) = ("pg_catalog", "pg_largeobject");

/// What is true of a table.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// Same rows.
    Equal,
    /// Only this side has it.
    Only(Side),
    /// The sides have other columns, in words.
    Columns(String),
    /// Other rows.
    Rows,
    /// It could not be read on one side.
    Failed(Error),
}

impl Verdict {
    /// Whether it is a difference; a failure is none.
    pub fn is_difference(&self) -> bool {
        matches!(self, Self::Only(_) | Self::Columns(_) | Self::Rows)
    }
}

/// One table, or a database that only one side has, without schema and name.
#[derive(Clone, Debug)]
pub struct TableReport {
    /// Its database, where several are compared.
    pub database: Option<String>,
    /// Raw name of the schema.
    pub schema: String,
    /// Raw name.
    pub name: String,
    /// What the source has, where it was read.
    pub source: Option<RowSum>,
    /// What the target has, where it was read.
    pub target: Option<RowSum>,
    /// What that means.
    pub verdict: Verdict,
}

/// All tables, in the order of their names.
#[derive(Clone, Debug)]
pub struct DataReport {
    /// The tables; large objects count as one where there are any.
    pub tables: Vec<TableReport>,
}

impl DataReport {
    /// Tables that differ.
    pub fn differing(&self) -> usize {
        let differs = |table: &&TableReport| table.verdict.is_difference();
        self.tables.iter().filter(differs).count()
    }

    /// Ok where everything is equal. A failure comes before a difference: the comparison is not
    /// complete.
    pub fn result(&self) -> Result<()> {
        let failures: Vec<&Error> = self
            .tables
            .iter()
            .filter_map(|table| match &table.verdict {
                Verdict::Failed(error) => Some(error),
                _ => None,
            })
            .collect();
        let (differing, all) = (self.differing(), self.tables.len());
        if let Some(error) = failures.first() {
            return Err(Error::new(
                error.kind(),
                format!("{} of {all} tables could not be compared", failures.len()),
            )
            .detail(format!("Of the others, {differing} differ."))
            .hint("Mend what the messages above say, then compare again."));
        }
        if differing > 0 {
            return Err(Error::new(
                Kind::Differences,
                format!("{differing} of {all} tables differ"),
            ));
        }
        Ok(())
    }
}

/// A table while its pieces come in.
struct Open {
    sums: [RowSum; 2],
    left: usize,
    failure: Option<Error>,
}

/// Refuses tables that citus spreads: their own files, which pieces are cut of, are empty, and would be equal.
fn refuse_spread(server: &mut Server) -> Result<()> {
    let side = server.link.side;
    if !server.facts.database.has(CITUS) {
        return Ok(());
    }
    let tables = list_spread(&mut server.session.client, side)?.unwrap_or_default();
    if tables.is_empty() {
        return Ok(());
    }
    Err(Error::new(
        side.kind(),
        format!(
            "the {side} has {} tables of citus, whose rows are not compared",
            tables.len()
        ),
    )
    .hint("Count and sum their rows with queries of your own on both coordinators."))
}

/// Compares the rows of both databases. Blocks. Errors: a server that cannot be reached or read at
/// all; what is true of single tables stands in the report.
pub fn data(
    settings: &CompareSettings,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<DataReport> {
    signal::install()?;
    let stop = Arc::new(AtomicBool::new(false));
    crate::wire::set_stop_flag(Arc::clone(&stop));
    let canceller = Canceller::start(Arc::clone(&stop))?;
    let opening = Opening {
        title: "compare data",
        canceller: &canceller,
    };
    super::unless_stopped(all(settings, env, &opening, &stop))
}

/// Compares one couple of databases after the other.
fn all(
    settings: &CompareSettings,
    env: &dyn Fn(&str) -> Option<String>,
    opening: &Opening<'_>,
    stop: &AtomicBool,
) -> Result<DataReport> {
    let mut report = DataReport { tables: Vec::new() };
    for Couple { database, sides } in couple::list(settings, env, opening)? {
        let found = match sides {
            Sides::Both(both) => {
                compare(settings, &both, opening, stop).map_err(|error| match &database {
                    Some(name) => error.context(format!("database \"{name}\"")),
                    None => error,
                })?
            }
            Sides::Only(side) => {
                let name = database.as_deref().unwrap_or_default();
                log::warn!("Database \"{name}\" is on the {side} only");
                vec![TableReport {
                    database: None,
                    schema: String::new(),
                    name: String::new(),
                    source: None,
                    target: None,
                    verdict: Verdict::Only(side),
                }]
            }
        };
        report
            .tables
            .extend(found.into_iter().map(|table| TableReport {
                database: database.clone(),
                ..table
            }));
    }
    Ok(report)
}

fn compare(
    settings: &CompareSettings,
    (source, target): &(ConnInfo, ConnInfo),
    opening: &Opening<'_>,
    stop: &AtomicBool,
) -> Result<Vec<TableReport>> {
    let canceller = opening.canceller;
    let snapshot = settings.snapshot.as_deref();
    let mut source = Server::open((source, Side::Source), opening, snapshot)?;
    let mut target = Server::open((target, Side::Target), opening, None)?;
    for server in [&mut source, &mut target] {
        refuse_spread(server)?;
    }
    let left = filters::find(&mut source, settings.filters.as_ref())?;
    let mut entries = table::pair(table::list(&mut source)?, table::list(&mut target)?);
    entries.retain(|entry| left.keeps_rows(entry));
    let mut plan = plan(&mut entries, &mut source, &mut target)?;
    let encoding = common_encoding(&source, &target);
    log::info!(
        "Comparing the rows of {} tables with {} sessions on each side",
        plan.open.iter().filter(|open| open.left > 0).count(),
        settings.table_jobs
    );
    let sides = vec![
        (
            Reading::new(&source, &encoding, canceller, stop),
            std::mem::take(&mut plan.chunks[0]),
        ),
        (
            Reading::new(&target, &encoding, canceller, stop),
            std::mem::take(&mut plan.chunks[1]),
        ),
    ];
    let open = Mutex::new(plan.open);
    pool::run(sides, settings.table_jobs, &|side, position, result| {
        let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(table) = open.get_mut(position) else {
            return;
        };
        match result {
            Ok(sum) => table.sums[usize::from(side == Side::Target)].add(sum),
            Err(error) => {
                table.failure.get_or_insert(error);
            }
        }
        table.left = table.left.saturating_sub(1);
    })?;
    let open = open.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(entries
        .into_iter()
        .zip(open)
        .map(|(((schema, name), entry), open)| judge(schema, name, &entry, open))
        .collect())
}

/// What the two sides send rows in: what both store, so that nothing is converted, else UTF-8.
fn common_encoding(source: &Server, target: &Server) -> String {
    let encoding = &source.facts.database.encoding;
    if *encoding == target.facts.database.encoding {
        encoding.clone()
    } else {
        "UTF8".to_owned()
    }
}

/// The pieces of both sides, and what waits for them.
struct Plan {
    open: Vec<Open>,
    chunks: [Vec<Chunk>; 2],
}

fn plan(
    entries: &mut Vec<((String, String), Entry)>,
    source: &mut Server,
    target: &mut Server,
) -> Result<Plan> {
    let versions = [source.facts.version, target.facts.version];
    let mut plan = Plan {
        open: Vec::new(),
        chunks: [Vec::new(), Vec::new()],
    };
    for (position, (_, entry)) in entries.iter().enumerate() {
        let mut open = Open {
            sums: [RowSum::default(); 2],
            left: 0,
            failure: None,
        };
        if let (Some(here), Some(there)) = (&entry.source, &entry.target)
            && table::column_difference(here, there).is_none()
        {
            let chunks = [
                chunk::of_table(position, here, versions[0], versions[1]),
                chunk::of_table(position, there, versions[1], versions[0]),
            ];
            let locked = lock(source, here, chunks[0].len())
                .and_then(|()| lock(target, there, chunks[1].len()));
            match locked {
                Ok(()) => {
                    for (side, chunks) in chunks.into_iter().enumerate() {
                        open.left += chunks.len();
                        plan.chunks[side].extend(chunks);
                    }
                }
                Err(error) if error.is_transient() => return Err(error),
                Err(error) => open.failure = Some(error),
            }
        }
        plan.open.push(open);
    }
    let position = entries.len();
    let objects = [
        large_objects(position, source)?,
        large_objects(position, target)?,
    ];
    let left = objects.iter().map(Vec::len).sum();
    if left > 0 {
        let (schema, name) = LARGE_OBJECTS;
        entries.push(((schema.to_owned(), name.to_owned()), Entry::default()));
        plan.open.push(Open {
            sums: [RowSum::default(); 2],
            left,
            failure: None,
        });
        for (side, chunks) in objects.into_iter().enumerate() {
            plan.chunks[side].extend(chunks);
        }
    }
    Ok(plan)
}

fn large_objects(position: usize, server: &mut Server) -> Result<Vec<Chunk>> {
    let objects = table::list_large_objects(server, SLICE_BYTES)?;
    Ok(chunk::of_large_objects(position, &objects))
}

/// Keeps the rows of a table that is read in pieces where they are until the comparison ends; a
/// rewrite between two pieces would move them.
fn lock(server: &mut Server, table: &Table, pieces: usize) -> Result<()> {
    if pieces < 2 {
        return Ok(());
    }
    let name = quote::qualified(&table.schema, &table.name);
    let session = &mut server.session;
    session.batch_execute("savepoint lock_table")?;
    let locked = session.batch_execute(&format!("lock table only {name} in access share mode"));
    if locked.as_ref().is_err_and(Error::is_transient) {
        return locked;
    }
    let end = if locked.is_ok() {
        "release savepoint lock_table"
    } else {
        "rollback to savepoint lock_table"
    };
    session.batch_execute(end)?;
    locked
}

fn judge(schema: String, name: String, entry: &Entry, open: Open) -> TableReport {
    let shown = quote::qualified(&schema, &name);
    let is_table = (schema.as_str(), name.as_str()) != LARGE_OBJECTS;
    let columns = match (&entry.source, &entry.target) {
        (Some(source), Some(target)) => table::column_difference(source, target),
        _ => None,
    };
    let verdict = if let Some(error) = open.failure {
        logging::report_error(&error.clone().context(format!("table {shown}")), false);
        Verdict::Failed(error)
    } else if is_table && entry.target.is_none() {
        log::warn!("Table {shown} is on the source only");
        Verdict::Only(Side::Source)
    } else if is_table && entry.source.is_none() {
        log::warn!("Table {shown} is on the target only");
        Verdict::Only(Side::Target)
    } else if let Some(words) = columns {
        log::warn!("Table {shown} has other columns: {words}");
        Verdict::Columns(words)
    } else if open.sums[0] == open.sums[1] {
        notice!("Table {shown} is the same, {} rows", open.sums[0].rows);
        Verdict::Equal
    } else {
        let [source, target] = open.sums;
        if source.rows == target.rows {
            log::warn!(
                "Table {shown} has {} rows on both sides, not the same",
                source.rows
            );
        } else {
            log::warn!(
                "Table {shown} has {} rows on the source, {} on the target",
                source.rows,
                target.rows
            );
        }
        Verdict::Rows
    };
    let read = matches!(verdict, Verdict::Equal | Verdict::Rows);
    TableReport {
        database: None,
        schema,
        name,
        source: read.then_some(open.sums[0]),
        target: read.then_some(open.sums[1]),
        verdict,
    }
}
