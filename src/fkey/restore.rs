//! Putting keys and triggers back: first everything that is quick and guards new rows at once, at the end what
//! can only follow, and the proof.
//!
//! Runs in the process that adds and in the one that finishes; between them, workers validate. Each step looks
//! first what the target has, so all of it may be repeated. One key that cannot come back stops no other.

use super::journal::{self, Entry, Thing, add_statement, comment_statement, trigger_statement};
use super::lock::{Limits, patiently};
use super::validate::{plan_units, report_broken};
use super::{Presence, bare, find, look};
use crate::catalog::{Ledger, Run};
use crate::error::{Context, Error, Kind, Result};
use crate::pg::{PgSession, quote};
use crate::supervisor::Leaf;
use crate::units::PgVersion;
use crate::workdir::Layout;
use std::collections::{HashMap, HashSet};

/// First version where keys of partitioned tables can be NOT VALID and validated later.
pub(super) const PARTITIONED_NOT_VALID: PgVersion = PgVersion(180_000);
/// SQLSTATE of rows without the row that they refer to.
pub(super) const BROKEN: &str = "23503";
/// SQLSTATE of a name that a constraint of the table has already.
const DUPLICATE: &str = "42710";

/// When a key can come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// At once, NOT VALID; validated later where it was valid.
    NotValid,
    /// By a worker, in one statement that looks at all rows.
    Whole,
    /// After the keys of all its partitions.
    Last,
}

/// The way of each entry, by id.
pub(super) fn ways(entries: &[Entry], version: PgVersion) -> HashMap<i64, Way> {
    let has_below: HashSet<i64> = entries.iter().map(|entry| entry.above).collect();
    entries
        .iter()
        .filter(|entry| entry.thing == Thing::Key)
        .map(|entry| {
            let is_old = version < PARTITIONED_NOT_VALID;
            let way = if has_below.contains(&entry.id) || entry.child.is_partitioned {
                Way::Last
            } else if entry.parent.is_partitioned && is_old && entry.is_valid {
                // What NOT VALID and VALIDATE leave in the catalog would differ.
                Way::Whole
            } else {
                Way::NotValid
            };
            (entry.id, way)
        })
        .collect()
}

/// Adds what can be added NOT VALID, sets triggers back, and plans the units that validate. Returns how many
/// units there are. Blocks. Errors: a failure that is no single key's.
pub fn add(
    leaf: &mut Leaf<'_>,
    session: &mut PgSession,
    (ledger, run): (&mut Ledger, Run),
    limits: Limits,
) -> Result<u64> {
    let entries = journal::open_entries(ledger.connection())?;
    let keys = entries.iter().filter(|entry| entry.thing == Thing::Key);
    let all: Vec<&Entry> = entries.iter().collect();
    if keys.clone().count() > 0 {
        log::info!(
            "Restoring {} foreign keys",
            keys.filter(|e| e.above == 0).count()
        );
    }
    session.batch_execute(&limits.statement())?;
    let presence = look(session, &all)?;
    let ways = ways(&entries, session.server_version);
    for entry in &entries {
        leaf.check()?;
        match (entry.thing, ways.get(&entry.id)) {
            (Thing::Key, Some(Way::NotValid)) if find(&presence, entry).is_none() => {
                let added = run_alone(leaf, session, entry, &add_statement(entry, true));
                settle(ledger, entry, added, "added")?;
            }
            (Thing::Trigger, _) => switch_on(leaf, session, ledger, (entry, &presence))?,
            _ => {}
        }
    }
    plan_units(session, (ledger, run), &entries, (&presence, &ways))
}

/// Runs one statement about an entry; that the thing is there already is what was wanted. Where a row that the
/// server keeps for a partition of another key's parent has its name, that row gets another one first.
pub(super) fn run_alone(
    leaf: &Leaf<'_>,
    session: &mut PgSession,
    entry: &Entry,
    statement: &str,
) -> Result<()> {
    let mut tables = vec![entry.child.qname()];
    if entry.thing == Thing::Key {
        tables.push(entry.parent.qname());
    }
    let run = |session: &mut PgSession| {
        patiently(leaf, session, &tables, |session| {
            session.batch_execute(statement)
        })
    };
    match run(session) {
        Err(error) if error.sqlstate() == Some(DUPLICATE) => {
            let presence = look(session, &[entry])?;
            if find(&presence, entry).is_some() {
                return Ok(());
            }
            // Any other holder of the name is somebody else's constraint.
            let Some(rename) = rename_clone(session, entry)? else {
                return Err(error);
            };
            patiently(leaf, session, &tables, |session| {
                session.batch_execute(&rename)
            })
            .context(|| format!("making the name of foreign key {} free", entry.shown()))?;
            run(session)
        }
        other => other,
    }
}

/// What renames the row that the server keeps for a partition under the name of this key; `None`: there is none.
fn rename_clone(session: &mut PgSession, entry: &Entry) -> Result<Option<String>> {
    let row = session.query_opt(
        include_str!("sql/read_clone.sql"),
        &[&entry.child.schema, &entry.child.name, &entry.name],
    )?;
    Ok(row.map(|row| {
        format!(
            "alter table {} rename constraint {} to {}",
            entry.child.qname(),
            quote::ident(&entry.name),
            quote::ident(row.get("free"))
        )
    }))
}

/// Notes how a statement about an entry ended. A failure that belongs to the entry is kept with it; one of the
/// whole process (a stop, a lost connection) is passed on.
fn settle(ledger: &mut Ledger, entry: &Entry, result: Result<()>, state: &str) -> Result<()> {
    match result {
        Ok(()) => journal::set_state(ledger.connection(), entry.id, state),
        Err(error) if belongs_to_one(&error) => {
            let why = error.lines().first().cloned().unwrap_or_default();
            log::error!("Could not put back {}: {why}", entry.shown());
            journal::set_failed(ledger.connection(), entry.id, error.sqlstate(), &why)
        }
        Err(error) => Err(error.context(format!("putting back {}", entry.shown()))),
    }
}

/// Whether other entries may fare better than this one.
pub(super) fn belongs_to_one(error: &Error) -> bool {
    !matches!(
        error.kind(),
        Kind::Stopped(_) | Kind::BadState | Kind::Internal
    ) && error.sqlstate().is_some_and(|code| {
        !code.starts_with("08") && !code.starts_with("57") && !code.starts_with("53")
    })
}

fn switch_on(
    leaf: &Leaf<'_>,
    session: &mut PgSession,
    ledger: &mut Ledger,
    (entry, presence): (&Entry, &Presence),
) -> Result<()> {
    let is_so = find(presence, entry).is_some_and(|now| now.state == entry.trigger_state);
    if is_so {
        return journal::set_state(ledger.connection(), entry.id, "valid");
    }
    let result = run_alone(leaf, session, entry, &trigger_statement(entry));
    settle(ledger, entry, result, "valid")
}

/// What came back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Back {
    /// Keys that were removed, those of partitions not counted.
    pub keys: u64,
    /// Of them, as before.
    pub proven: u64,
    /// Of those, NOT VALID or NOT ENFORCED before and now.
    pub not_valid: u64,
    /// Of them, NOT VALID or missing because rows break them.
    pub broken: u64,
    /// Keys and triggers that are not back for another reason.
    pub failed: u64,
}

/// Adds keys of partitioned tables, sets comments, and closes every entry that the target has exactly as it
/// was. Returns the first error that a person must act on, when there is one. Blocks.
pub fn finish(
    leaf: &mut Leaf<'_>,
    session: &mut PgSession,
    (ledger, run): (&mut Ledger, Run),
    (layout, limits): (&Layout, Limits),
) -> Result<(Back, Option<Error>)> {
    let entries = journal::open_entries(ledger.connection())?;
    if entries.is_empty() {
        return Ok((Back::default(), None));
    }
    session.batch_execute(&limits.statement())?;
    session.batch_execute("set maintenance_work_mem = '256MB'")?;
    add_last(leaf, session, ledger, &entries)?;
    let all: Vec<&Entry> = entries.iter().collect();
    let presence = look(session, &all)?;
    for entry in &entries {
        let present = find(&presence, entry);
        if let Some(statement) = comment_statement(entry)
            && present.is_some_and(|now| now.comment != entry.comment)
        {
            let result = run_alone(leaf, session, entry, &statement);
            settle(ledger, entry, result, "added")?;
        }
    }
    prove(session, (ledger, run), layout, &entries)
}

/// Adds the keys of partitioned tables, leaves up: the server takes in the keys that the partitions have.
fn add_last(
    leaf: &Leaf<'_>,
    session: &mut PgSession,
    ledger: &mut Ledger,
    entries: &[Entry],
) -> Result<()> {
    let ways = ways(entries, session.server_version);
    for entry in entries
        .iter()
        .filter(|e| ways.get(&e.id) == Some(&Way::Last))
    {
        leaf.check()?;
        let around: Vec<&Entry> = entries
            .iter()
            .filter(|other| other.id == entry.id || other.above == entry.id)
            .collect();
        let presence = look(session, &around)?;
        if let Some(now) = find(&presence, entry) {
            if entry.is_valid && !now.is_valid {
                let result = run_alone(leaf, session, entry, &super::validate::statement(entry));
                settle(ledger, entry, result, "valid")?;
            }
            continue;
        }
        let is_whole = around
            .iter()
            .filter(|other| other.above == entry.id)
            .all(|below| find(&presence, below).is_some_and(|now| now.is_valid || !below.is_valid));
        if !is_whole {
            let why = "the key of one of its partitions does not hold";
            journal::set_failed(ledger.connection(), entry.id, Some(BROKEN), why)?;
            continue;
        }
        let result = run_alone(leaf, session, entry, &add_statement(entry, false));
        settle(ledger, entry, result, "valid")?;
    }
    Ok(())
}

/// Closes what is back, reports what is not.
fn prove(
    session: &mut PgSession,
    (ledger, run): (&mut Ledger, Run),
    layout: &Layout,
    entries: &[Entry],
) -> Result<(Back, Option<Error>)> {
    let all: Vec<&Entry> = entries.iter().collect();
    let presence = look(session, &all)?;
    let target = journal::target_of_open(ledger.connection())?.unwrap_or_default();
    let now = journal::open_entries(ledger.connection())?;
    let problems: HashMap<i64, Entry> = now.into_iter().map(|entry| (entry.id, entry)).collect();
    let mut back = Back::default();
    let (mut broken, mut failed) = (Vec::new(), Vec::new());
    for entry in entries {
        let is_root = entry.thing == Thing::Key && entry.above == 0;
        back.keys += u64::from(is_root);
        if is_as_before(&presence, entry) {
            back.proven += u64::from(is_root);
            back.not_valid += u64::from(is_root && !entry.is_valid);
            journal::set_state(ledger.connection(), entry.id, "closed")?;
            continue;
        }
        let problem = problems.get(&entry.id).and_then(|now| now.problem.clone());
        let is_broken = entry.thing == Thing::Key
            && find(&presence, entry).map_or_else(
                || has_broken_part(entries, &presence, entry),
                |there| {
                    entry.is_valid
                        && !there.is_valid
                        && bare(&there.definition) == bare(&entry.definition)
                },
            );
        if is_broken {
            back.broken += u64::from(is_root);
            broken.push((entry, find(&presence, entry).map(|there| there.oid)));
        } else {
            back.failed += 1;
            failed.push((entry, problem));
        }
    }
    journal::write_script(ledger, layout, &target)?;
    if back.keys > 0 {
        let as_before = match back.not_valid {
            0 => String::new(),
            count => format!(", {count} NOT VALID as before"),
        };
        log::info!(
            "Restored {}/{} foreign keys, {} valid{as_before}",
            back.proven + back.broken,
            back.keys,
            back.proven - back.not_valid
        );
    }
    let flaw = report_broken(session, (ledger, run), &broken)?;
    let error = failed
        .first()
        .map(|(entry, why)| not_back(entry, why.as_deref(), (failed.len(), layout)));
    Ok((back, error.or(flaw)))
}

fn is_as_before(presence: &Presence, entry: &Entry) -> bool {
    find(presence, entry).is_some_and(|now| match entry.thing {
        Thing::Key => now.definition == entry.definition && now.comment == entry.comment,
        Thing::Trigger => now.state == entry.trigger_state,
    })
}

/// Whether the key of a partition below does not hold, so that this one cannot be there.
fn has_broken_part(entries: &[Entry], presence: &Presence, entry: &Entry) -> bool {
    entries
        .iter()
        .filter(|below| below.above == entry.id)
        .any(|below| {
            find(presence, below).map_or_else(
                || has_broken_part(entries, presence, below),
                |now| below.is_valid && !now.is_valid,
            )
        })
}

/// The error for a thing that could not be put back.
fn not_back(entry: &Entry, why: Option<&str>, (count, layout): (usize, &Layout)) -> Error {
    let statement = match entry.thing {
        Thing::Key => add_statement(entry, false),
        Thing::Trigger => trigger_statement(entry),
    };
    Error::new(
        Kind::Target,
        format!(
            "could not put back {}, and {} more",
            entry.shown(),
            count - 1
        ),
    )
    .detail(format!(
        "{}: {statement}",
        why.unwrap_or("it is not as it was")
    ))
    .hint(format!(
        "Mend the cause, then run \"pgcopy restore-constraints\", or with psql the file \"{}\".",
        layout.restore_script().display()
    ))
}

/// Runs a statement about an entry whose rows may break it, and keeps the failure with the entry.
pub(super) fn add_whole(leaf: &Leaf<'_>, session: &mut PgSession, entry: &Entry) -> Result<()> {
    let result = run_alone(leaf, session, entry, &add_statement(entry, false));
    match result {
        Err(error) if error.sqlstate() == Some(BROKEN) => {
            run_alone(leaf, session, entry, &add_statement(entry, true)).context(|| {
                format!(
                    "adding foreign key {} without a look at the rows",
                    entry.shown()
                )
            })?;
            Err(error)
        }
        other => other,
    }
}
