//! What the catalogs of one side say: facts about objects, in one shape for all kinds of objects.
//!
//! Runs in the main program, in threads of each side. Reads catalogs in the transaction of the side's
//! snapshot. Must not judge: what a fact is worth is `schema`'s business.

use super::server::Server;
use crate::error::{Context, Error, Result};
use crate::pg::{Canceller, PgSession, Registration};
use crate::schema::read_sequence_values;
use crate::units::{Oid, PgVersion};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Queries of facts, with the first version that has what they read.
const QUERIES: [(PgVersion, &str); 11] = [
    (PgVersion(0), include_str!("sql/facts_of_schemas.sql")),
    (PgVersion(0), include_str!("sql/facts_of_relations.sql")),
    (
        PgVersion(100_000),
        include_str!("sql/facts_of_partitioning.sql"),
    ),
    (PgVersion(0), include_str!("sql/facts_of_columns.sql")),
    (PgVersion(0), include_str!("sql/facts_of_tables.sql")),
    (
        PgVersion(100_000),
        include_str!("sql/facts_of_sequences.sql"),
    ),
    (PgVersion(0), include_str!("sql/facts_of_types.sql")),
    (PgVersion(0), include_str!("sql/facts_of_functions.sql")),
    (PgVersion(0), include_str!("sql/facts_of_objects.sql")),
    (
        PgVersion(100_000),
        include_str!("sql/facts_of_publications.sql"),
    ),
    (
        PgVersion(150_000),
        include_str!("sql/facts_of_published.sql"),
    ),
];

/// Sequences read in one statement.
const BATCH: usize = 200;

/// Names an object: its kind, its raw names from the schema on, and what else tells it apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Object {
    pub(super) class: String,
    pub(super) name: Vec<String>,
    pub(super) detail: String,
}

/// One thing that is said about an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Value {
    pub(super) text: Option<String>,
    /// The text depends on the server's version.
    pub(super) same_major: bool,
}

/// Everything that is said about one database.
pub(super) type Facts = BTreeMap<Object, BTreeMap<String, Value>>;

/// Reads all facts of a side with up to `sessions` sessions. Blocks.
pub(super) fn read(
    server: &mut Server,
    title: &str,
    canceller: &Canceller,
    sessions: u32,
) -> Result<Facts> {
    let version = server.facts.version;
    let waiting: Vec<&'static str> = QUERIES
        .iter()
        .filter(|(since, _)| version >= *since)
        .map(|(_, sql)| *sql)
        .collect();
    let more = usize::try_from(sessions).unwrap_or(1).min(waiting.len()) - 1;
    let others: Vec<(PgSession, Registration)> = (0..more)
        .map(|_| server.another(title, canceller))
        .collect::<Result<_>>()?;
    let waiting = Mutex::new(waiting);
    let mut facts = Facts::new();
    let parts: Vec<Result<Facts>> = std::thread::scope(|scope| {
        let waiting = &waiting;
        let threads: Vec<_> = others
            .into_iter()
            .map(|(mut session, registration)| {
                scope.spawn(move || {
                    let part = read_some(&mut session, waiting);
                    drop(registration);
                    part
                })
            })
            .collect();
        let mut parts = vec![read_some(&mut server.session, waiting)];
        let died = |_| Err(Error::internal("a thread that read a catalog died"));
        parts.extend(
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(died)),
        );
        parts
    });
    for part in parts {
        for (object, known) in part? {
            facts.entry(object).or_default().extend(known);
        }
    }
    read_sequences(server, &mut facts)?;
    Ok(facts)
}

/// One session: query after query until there is none.
fn read_some(session: &mut PgSession, waiting: &Mutex<Vec<&'static str>>) -> Result<Facts> {
    let mut facts = Facts::new();
    loop {
        let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).pop();
        match next {
            Some(sql) => read_one(session, sql, &mut facts)?,
            None => return Ok(facts),
        }
    }
}

fn read_one(session: &mut PgSession, sql: &'static str, facts: &mut Facts) -> Result<()> {
    for row in session.query(sql, &[])? {
        let mut take = || -> Result<(), postgres::Error> {
            let object = Object {
                class: row.try_get("class")?,
                name: row.try_get("name")?,
                detail: row.try_get("detail")?,
            };
            let value = Value {
                text: row.try_get("value")?,
                same_major: row.try_get("same_major")?,
            };
            let fact: String = row.try_get("fact")?;
            facts.entry(object).or_default().insert(fact, value);
            Ok(())
        };
        take().map_err(|error| session.error(&error, sql))?;
    }
    Ok(())
}

/// Adds the values of the sequences.
fn read_sequences(server: &mut Server, facts: &mut Facts) -> Result<()> {
    let sql = include_str!("sql/list_sequences.sql");
    let side = server.link.side;
    let session = &mut server.session;
    let mut sequences: Vec<(Oid, String)> = Vec::new();
    let mut names = BTreeMap::new();
    for row in session.query(sql, &[])? {
        let failed = |error: postgres::Error| session.error(&error, sql);
        let oid: Oid = row.try_get("oid").map_err(failed)?;
        sequences.push((oid, row.try_get("qname").map_err(failed)?));
        let schema: String = row.try_get("nspname").map_err(failed)?;
        let name: String = row.try_get("relname").map_err(failed)?;
        names.insert(oid, vec![schema, name]);
    }
    for batch in sequences.chunks(BATCH) {
        let values = read_sequence_values(&mut session.client, side, batch)
            .context(|| format!("reading the sequences of the {side}"))?;
        for value in values {
            let Some(name) = names.get(&value.oid) else {
                continue;
            };
            let object = Object {
                class: "sequence".to_owned(),
                name: name.clone(),
                detail: String::new(),
            };
            let known = facts.entry(object).or_default();
            for (fact, text) in [
                ("last value", value.last_value.to_string()),
                ("is called", value.is_called.to_string()),
            ] {
                let value = Value {
                    text: Some(text),
                    same_major: false,
                };
                known.insert(fact.to_owned(), value);
            }
        }
    }
    Ok(())
}
