//! Validating keys that were added NOT VALID, and saying which rows break one.
//!
//! Runs in validate workers, one session on the target each, and in the process that finishes. Keys of one
//! table, and those that meet in a partition tree, wait for each other's locks, so the ledger gives them out one
//! after the other. The server's own words
//! about a broken key hold a value of a row: they are left out.

use super::discover::Table;
use super::journal::{self, Entry, Thing};
use super::restore::{BROKEN, Way, add_whole, belongs_to_one, run_alone};
use super::{Limits, Presence, find};
use crate::catalog::unit::{Done, Kind as UnitKind, Unit};
use crate::catalog::{Ledger, Run, Step, sqlite_error};
use crate::error::{Context, Error, Kind, Result};
use crate::pg::{PgSession, Profile, Registration, Token, quote};
use crate::supervisor::Leaf;
use crate::units::{Oid, PgVersion, pretty_ms};
use crate::worker::{self, Means, Worker};
use rusqlite::params;
use std::collections::HashMap;
use std::time::Instant;

/// Rows that break a key are counted up to here.
const COUNTED_MAX: i64 = 1000;

/// `ALTER TABLE … VALIDATE CONSTRAINT`.
pub(super) fn statement(entry: &Entry) -> String {
    format!(
        "alter table {} validate constraint {}",
        entry.child.qname(),
        quote::ident(&entry.name)
    )
}

/// The same statement for a session that checks the key by sorting its column: PostgreSQL would make a hash table of the
/// parent, as it counts no cache misses. Only settings of this transaction change.
fn statement_merging(entry: &Entry) -> String {
    format!(
        "begin; set local enable_hashjoin to off; set local enable_seqscan to off; set local jit to off; {}; commit",
        statement(entry)
    )
}

/// First version where rows frozen on arrival are known to be visible to all.
const FROZEN_IS_VISIBLE: PgVersion = PgVersion(140_000);

fn is_merge_cheaper(session: &mut PgSession, key: Oid) -> Result<bool> {
    if session.server_version < FROZEN_IS_VISIBLE {
        return Ok(false);
    }
    let row = session.query_opt(include_str!("sql/is_merge_cheaper.sql"), &[&key])?;
    Ok(row.is_some_and(|row| row.get::<_, Option<bool>>("is_cheaper").unwrap_or(false)))
}

/// Plans a unit for each key that a worker has to look at; returns how many there are.
pub(super) fn plan_units(
    session: &mut PgSession,
    (ledger, run): (&mut Ledger, Run),
    entries: &[Entry],
    (presence, ways): (&Presence, &HashMap<i64, Way>),
) -> Result<u64> {
    let is_due = |entry: &&Entry| match ways.get(&entry.id) {
        Some(Way::NotValid) => {
            entry.is_valid
                && entry.is_enforced
                && find(presence, entry).is_none_or(|now| !now.is_valid)
        }
        Some(Way::Whole) => find(presence, entry).is_none_or(|now| !now.is_valid),
        Some(Way::Last) | None => false,
    };
    let keys = entries.iter().filter(|entry| entry.thing == Thing::Key);
    let due: Vec<&Entry> = keys.filter(is_due).collect();
    let sizes = sizes(session, &due)?;
    let lanes = lanes(&ends(session, &due, ways)?);
    let work: Vec<(Oid, i64)> = due
        .iter()
        .map(|entry| {
            let table = entry.child.oid;
            let lane = lanes.get(&table).copied().unwrap_or(table);
            (lane, sizes.get(&table).copied().unwrap_or(0).max(1))
        })
        .collect();
    let ranks = ranks(&work);
    let failed = |error: rusqlite::Error| sqlite_error("write", &error);
    ledger.write(|tx| {
        tx.execute("delete from unit where kind = 'validate'", [])
            .map_err(failed)?;
        for ((entry, (lane, _)), rank) in due.iter().zip(&work).zip(&ranks) {
            tx.execute(
                "insert into unit (kind, state, table_oid, object, run_id, rank)
                 values ('validate', 'todo', ?1, ?2, ?3, ?4)",
                params![lane, entry.id, run.id, rank],
            )
            .map_err(failed)?;
        }
        Ok(u64::try_from(due.len()).unwrap_or(u64::MAX))
    })
}

/// Bytes of the tables that have these keys.
fn sizes(session: &mut PgSession, keys: &[&Entry]) -> Result<HashMap<Oid, i64>> {
    let tables: Vec<Oid> = keys.iter().map(|entry| entry.child.oid).collect();
    let sql = "select oid, pg_catalog.pg_relation_size(oid) from pg_catalog.pg_class where oid = any ($1::oid[])";
    let rows = session.query(sql, &[&tables])?;
    Ok(rows
        .iter()
        .filter_map(|row| Some((row.get(0), row.get::<_, Option<i64>>(1)?)))
        .collect())
}

/// The tables of a key that comes back.
#[derive(Clone, Copy, Debug)]
struct Ends {
    /// The child.
    table: Oid,
    /// The tables at the top of child and parent.
    roots: (Oid, Oid),
    /// It is added in one statement, and locks the parent with all partitions.
    is_whole: bool,
}

/// The ends of keys; nothing where none of them comes back in one statement.
fn ends(session: &mut PgSession, due: &[&Entry], ways: &HashMap<i64, Way>) -> Result<Vec<Ends>> {
    let is_whole = |entry: &Entry| ways.get(&entry.id) == Some(&Way::Whole);
    if !due.iter().any(|entry| is_whole(entry)) {
        return Ok(Vec::new());
    }
    let (schemas, names): (Vec<&str>, Vec<&str>) = due
        .iter()
        .flat_map(|entry| [&entry.child, &entry.parent])
        .map(|table| (table.schema.as_str(), table.name.as_str()))
        .unzip();
    let rows = session.query(include_str!("sql/list_roots.sql"), &[&schemas, &names])?;
    let roots: HashMap<(String, String), Oid> = rows
        .iter()
        .map(|row| ((row.get("nspname"), row.get("relname")), row.get("root")))
        .collect();
    let root = |table: &Table| {
        let place = (table.schema.clone(), table.name.clone());
        roots.get(&place).copied().unwrap_or(table.oid)
    };
    Ok(due
        .iter()
        .map(|entry| Ends {
            table: entry.child.oid,
            roots: (root(&entry.child), root(&entry.parent)),
            is_whole: is_whole(entry),
        })
        .collect())
}

/// Which children share one worker: adding a key to a partitioned table locks the child, the parent and all
/// partitions of the parent, in an order that differs from key to key, so that two whose trees meet would wait
/// for each other for ever. Validating a key of one of these tables or partitions locks that for as long as it
/// takes, which may be longer than anybody waits: it has its place in the same row. By the child: the one table
/// under whose name the ledger gives its keys out.
fn lanes(ends: &[Ends]) -> HashMap<Oid, Oid> {
    let mut lane_of: HashMap<Oid, Oid> = HashMap::new();
    for Ends {
        roots: (child, parent),
        ..
    } in ends.iter().filter(|ends| ends.is_whole)
    {
        let one = *lane_of.entry(*child).or_insert(*child);
        let other = *lane_of.entry(*parent).or_insert(*parent);
        if one != other {
            for lane in lane_of.values_mut().filter(|lane| **lane == other) {
                *lane = one;
            }
        }
    }
    ends.iter()
        .filter_map(|ends| Some((ends.table, *lane_of.get(&ends.roots.0)?)))
        .collect()
}

/// How early each key is looked at, by what is left to read for the keys of its lane from it on: one worker does
/// these one after the other, so that the longest such row has to begin first. Given lane and bytes of each.
fn ranks(work: &[(Oid, i64)]) -> Vec<i64> {
    let mut left: HashMap<Oid, i64> = HashMap::new();
    let mut ranks: Vec<i64> = work
        .iter()
        .rev()
        .map(|(lane, bytes)| {
            let sum = left.entry(*lane).or_default();
            *sum += bytes;
            *sum
        })
        .collect();
    ranks.reverse();
    ranks
}

/// Runs a validate worker until all units are done. Blocks.
pub fn run(leaf: &mut Leaf<'_>, means: &Means, limits: Limits) -> Result<()> {
    let mut worker = Worker::start(leaf, means, &[UnitKind::Validate], &[])?;
    let mut target: Option<(PgSession, Registration)> = None;
    while let Some(unit) = worker.next_unit()? {
        let result = one(&mut worker, &mut target, limits, &unit);
        if let Err(error) = result {
            target = None;
            worker.failed(&[unit], error)?;
        }
    }
    Ok(())
}

fn connect<'t>(
    worker: &mut Worker<'_, '_>,
    target: &'t mut Option<(PgSession, Registration)>,
    limits: Limits,
) -> Result<&'t mut PgSession> {
    if target.is_none() {
        let profile = Profile::TargetBuild {
            maintenance_work_mem: Some("256MB".to_owned()),
        };
        let mut session = worker
            .means
            .target()?
            .session(worker.leaf.role.label(), &profile)?;
        session.batch_execute(&limits.statement())?;
        session.batch_execute("set search_path = ''; set row_security = off")?;
        let backend = session.backend_id().clone();
        worker::register_backends(&worker.ledger, &worker.activity, None, Some(backend))?;
        let registered = worker.canceller.register(Token::from_session(&session));
        *target = Some((session, registered));
    }
    target
        .as_mut()
        .map(|(session, _)| session)
        .ok_or_else(|| Error::internal("a session vanished"))
}

fn one(
    worker: &mut Worker<'_, '_>,
    target: &mut Option<(PgSession, Registration)>,
    limits: Limits,
    unit: &Unit,
) -> Result<()> {
    let since = Instant::now();
    let entries = journal::open_entries(worker.ledger.connection())?;
    let done = || Done {
        elapsed_ms: u64::try_from(since.elapsed().as_millis()).unwrap_or(0),
        ..Done::default()
    };
    let Some(entry) = entries.iter().find(|e| e.id == i64::from(unit.object)) else {
        return worker.finish(Step::Constraint, &[(unit, done())]);
    };
    worker.begin(&format!("validate {}", entry.shown()), Some(unit.id))?;
    let session = connect(worker, target, limits)?;
    let presence = super::look(session, &[entry])?;
    let result = match find(&presence, entry) {
        Some(now) if now.is_valid => Ok(()),
        Some(now) if is_merge_cheaper(session, now.oid)? => {
            run_alone(worker.leaf, session, entry, &statement_merging(entry))
        }
        Some(_) => run_alone(worker.leaf, session, entry, &statement(entry)),
        None => add_whole(worker.leaf, session, entry),
    };
    match result {
        Ok(()) => {
            journal::set_state(worker.ledger.connection(), entry.id, "valid")?;
            log::info!(
                "Validated foreign key {}: {}",
                entry.shown(),
                pretty_ms(done().elapsed_ms).trim()
            );
        }
        Err(error) if error.sqlstate() == Some(BROKEN) => {
            let why = "rows have no row that they refer to";
            journal::set_failed(worker.ledger.connection(), entry.id, Some(BROKEN), why)?;
        }
        Err(error) if belongs_to_one(&error) => {
            let why = error.lines().first().cloned().unwrap_or_default();
            log::error!("Could not validate {}: {why}", entry.shown());
            journal::set_failed(worker.ledger.connection(), entry.id, error.sqlstate(), &why)?;
        }
        Err(error) => return Err(error),
    }
    worker.finish(Step::Constraint, &[(unit, done())])
}

/// How to find the rows that break a key.
struct Columns {
    name: String,
    child: String,
    parent: String,
    match_full: bool,
    own: Vec<String>,
    referenced: Vec<String>,
    operators: Vec<String>,
}

/// A query for the rows of the child without a row that they refer to; `select` stands before FROM.
fn offenders(columns: &Columns, select: &str) -> String {
    let c = columns;
    let child: Vec<String> = c.own.iter().map(|name| format!("c.{name}")).collect();
    let pairs: Vec<String> = c
        .referenced
        .iter()
        .zip(&c.operators)
        .zip(&child)
        .map(|((parent, operator), child)| format!("p.{parent} {operator} {child}"))
        .collect();
    let nulls = |word: &str, join: &str| -> String {
        let tests: Vec<String> = child
            .iter()
            .map(|name| format!("{name} is {word}"))
            .collect();
        tests.join(join)
    };
    // MATCH FULL also forbids rows of which some columns are null, which the comparison never finds.
    let of_interest = if c.match_full {
        format!("({})", nulls("not null", " or "))
    } else {
        nulls("not null", " and ")
    };
    format!(
        "select {select} from {} c where {of_interest} and not exists (select from {} p where {})",
        c.child,
        c.parent,
        pairs.join(" and ")
    )
}

fn read_columns(session: &mut PgSession, keys: &[Oid]) -> Result<HashMap<Oid, Columns>> {
    let rows = session.query(include_str!("sql/read_key_columns.sql"), &[&keys])?;
    Ok(rows
        .iter()
        .map(|row| {
            let columns = Columns {
                name: row.get("name"),
                child: row.get("child"),
                parent: row.get("parent"),
                match_full: row.get::<_, &str>("match") == "f",
                own: row.get("child_columns"),
                referenced: row.get("parent_columns"),
                operators: row.get("operators"),
            };
            (row.get("oid"), columns)
        })
        .collect())
}

/// Notes for each key that rows break how many there are and how to find them. The error is for the first one;
/// `None`: there is none.
pub(super) fn report_broken(
    session: &mut PgSession,
    (ledger, run): (&mut Ledger, Run),
    broken: &[(&Entry, Option<Oid>)],
) -> Result<Option<Error>> {
    let oids: Vec<Oid> = broken.iter().filter_map(|(_, oid)| *oid).collect();
    if broken.is_empty() {
        return Ok(None);
    }
    let columns = read_columns(session, &oids)?;
    let mut lines = Vec::new();
    let mut offences = Vec::new();
    for (entry, oid) in broken {
        let line = match oid.and_then(|oid| columns.get(&oid)) {
            Some(columns) => {
                let count = count(session, columns)?;
                offences.push((entry.id, count, offenders(columns, "c.*")));
                describe(entry, columns, count)
            }
            None => format!(
                "Foreign key {} -> {} is not back, as the key of one of its partitions does not hold",
                entry.shown(),
                entry.parent.shown()
            ),
        };
        log::warn!("{line}");
        journal::set_failed(ledger.connection(), entry.id, Some(BROKEN), &line)?;
        run.notice(ledger.connection(), "foreign key", &line)?;
        lines.push(line);
    }
    for (id, count, query) in &offences {
        journal::set_offenders(ledger.connection(), *id, *count, query)?;
    }
    let first = lines.first().cloned().unwrap_or_default();
    Ok(Some(
        Error::new(
            Kind::Differences,
            format!("{} foreign keys do not hold over the rows that are there", broken.len()),
        )
        .with_sqlstate(BROKEN)
        .detail(first)
        .hint(
            "Mend the rows, then run \"pgcopy restore-constraints\"; after a copy that was not finished, \
             \"pgcopy copy --resume\" or \"pgcopy copy --restart\" bring all rows.",
        ),
    ))
}

/// Counts rows that break keys which stayed and were not checked while rows arrived. The server still calls such
/// a key valid. The error is for the first one that does not hold.
pub fn check_unchecked(
    leaf: &Leaf<'_>,
    session: &mut PgSession,
    (ledger, run): (&mut Ledger, Run),
    keys: &[Oid],
) -> Result<Option<Error>> {
    let mut first = None;
    for columns in read_columns(session, keys)?.values() {
        leaf.check()?;
        let count = count(session, columns)?;
        if count == 0 {
            continue;
        }
        let line = format!(
            "Foreign key {} of {} does not hold, though the server calls it valid: {count} rows (counted up to \
             {COUNTED_MAX}) have no row that they refer to; they are found by: {}",
            columns.name,
            columns.child.trim_start_matches("only "),
            offenders(columns, "c.*")
        );
        log::warn!("{line}");
        run.notice(ledger.connection(), "foreign key", &line)?;
        first.get_or_insert(line);
    }
    Ok(first.map(|line| {
        Error::new(
            Kind::Differences,
            "foreign keys do not hold over the rows that are there",
        )
        .with_sqlstate(BROKEN)
        .detail(line)
        .hint("Mend the rows, or copy the tables that they refer to as well.")
    }))
}

fn count(session: &mut PgSession, columns: &Columns) -> Result<i64> {
    let limited = format!("{} limit {COUNTED_MAX}", offenders(columns, "1"));
    let row = session
        .query_one(&format!("select count(*) from ({limited}) s"), &[])
        .context(|| format!("counting the rows that break foreign key {}", columns.name))?;
    Ok(row.get(0))
}

fn describe(entry: &Entry, columns: &Columns, count: i64) -> String {
    let more = if count == COUNTED_MAX { " or more" } else { "" };
    format!(
        "Foreign key {} -> {} is NOT VALID: {count}{more} rows have no row that they refer to; \
         they are found by: {}",
        entry.shown(),
        entry.parent.shown(),
        offenders(columns, "c.*")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_with_most_to_check_begins_first() {
        // three keys of table 2, and one each of a small and of a large one
        let work = [(1, 10), (2, 40), (2, 40), (2, 40), (3, 100)];
        assert_eq!(ranks(&work), [10, 120, 80, 40, 100]);
        assert!(ranks(&[]).is_empty());
    }

    #[test]
    fn keys_whose_partition_trees_meet_share_a_lane() {
        // leaves 11, 12 of 10 refer to 10, as tables 20 and 21 do; 31 refers to 30, 20 to 40 as well
        let mut ends = [
            (11, 10, 10),
            (31, 31, 30),
            (20, 20, 10),
            (12, 10, 10),
            (20, 20, 40),
            (41, 40, 50),
            (21, 21, 10),
        ]
        .map(|(table, child, parent)| Ends {
            table,
            roots: (child, parent),
            is_whole: true,
        })
        .to_vec();
        // Validated alone: leaf 13 of 10 and 20 refer to the plain 60, 61 to the plain 21, and 70 to 60.
        ends.extend(
            [(13, 10, 60), (20, 20, 60), (61, 61, 21), (70, 70, 60)].map(
                |(table, child, parent)| Ends {
                    table,
                    roots: (child, parent),
                    is_whole: false,
                },
            ),
        );
        let lanes = lanes(&ends);
        let of_tree = lanes[&11];
        for table in [12, 20, 21, 41, 13] {
            assert_eq!(lanes[&table], of_tree, "{table}");
        }
        assert_ne!(lanes[&31], of_tree);
        assert!(!lanes.contains_key(&61) && !lanes.contains_key(&70));
        assert_eq!(lanes.len(), 7);
    }

    #[test]
    fn the_query_for_offending_rows_knows_operators_nulls_and_match_full() {
        let mut columns = Columns {
            name: "k".to_owned(),
            child: "only s.c".to_owned(),
            parent: "only s.p".to_owned(),
            match_full: false,
            own: vec!["a".to_owned(), "\"B\"".to_owned()],
            referenced: vec!["x".to_owned(), "y".to_owned()],
            operators: vec!["operator(pg_catalog.=)".to_owned(); 2],
        };
        assert_eq!(
            offenders(&columns, "c.*"),
            "select c.* from only s.c c where c.a is not null and c.\"B\" is not null and not exists \
             (select from only s.p p where p.x operator(pg_catalog.=) c.a and p.y operator(pg_catalog.=) c.\"B\")"
        );
        columns.match_full = true;
        assert!(
            offenders(&columns, "1").contains("where (c.a is not null or c.\"B\" is not null) and")
        );
    }
}
