//! The statements prepared on the target, by number and by what they do; the least used ones are closed.
//!
//! Pure: requests are written, not sent. What a failed stretch had prepared is not there: forget all then.

use super::recognize::Verb;
use super::render::{self, Fitted};
use super::target::TargetTable;
use crate::error::Result;
use crate::units::Oid;
use crate::wire::Requests;
use std::collections::HashMap;
use std::rc::Rc;

/// Most statements that are prepared at a time.
const PREPARED_MAX: usize = 1000;

/// A statement for many rows.
pub(super) struct Batch<'a> {
    pub(super) table: &'a TargetTable,
    pub(super) verb: Verb,
    /// Positions of the columns that are set.
    pub(super) set: &'a [usize],
    /// Positions of the columns that tell the row.
    pub(super) keys: &'a [usize],
}

/// What a prepared statement does.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Row(usize),
    Batch(Oid, Verb, Vec<usize>, Vec<usize>),
    Text(String),
}

struct Prepared {
    name: String,
    parameters: Rc<Vec<usize>>,
    last_used: u64,
}

/// The prepared statements.
#[derive(Default)]
pub(super) struct Registry {
    prepared: HashMap<Key, Prepared>,
    /// Names are never used again.
    names: u64,
    clock: u64,
}

impl Registry {
    /// Forgets all of them: the session is new, or a stretch failed and they were deallocated.
    pub(super) fn forget(&mut self) {
        self.prepared.clear();
    }

    fn find(&mut self, key: &Key) -> Option<(String, Rc<Vec<usize>>)> {
        self.clock += 1;
        let prepared = self.prepared.get_mut(key)?;
        prepared.last_used = self.clock;
        Some((prepared.name.clone(), Rc::clone(&prepared.parameters)))
    }

    fn add(
        &mut self,
        requests: &mut Requests,
        key: Key,
        (sql, types): (&str, &[Oid]),
        parameters: Vec<usize>,
    ) -> (String, Rc<Vec<usize>>) {
        if self.prepared.len() >= PREPARED_MAX {
            let oldest = self.prepared.iter().min_by_key(|(_, one)| one.last_used);
            if let Some(key) = oldest.map(|(key, _)| key.clone())
                && let Some(one) = self.prepared.remove(&key)
            {
                requests.close(&one.name);
            }
        }
        self.names += 1;
        let name = format!("s{}", self.names);
        requests.parse(&name, sql, types);
        let parameters = Rc::new(parameters);
        let prepared = Prepared {
            name: name.clone(),
            parameters: Rc::clone(&parameters),
            last_used: self.clock,
        };
        self.prepared.insert(key, prepared);
        (name, parameters)
    }

    /// The name of a statement for one row, and which parameters of the file's row it takes.
    pub(super) fn row(
        &mut self,
        requests: &mut Requests,
        statement: usize,
        fitted: &Fitted,
    ) -> Result<(String, Rc<Vec<usize>>)> {
        let key = Key::Row(statement);
        if let Some(found) = self.find(&key) {
            return Ok(found);
        }
        let made = fitted.row()?;
        Ok(self.add(requests, key, (&made.sql, &made.types), made.parameters))
    }

    /// The name of a statement for many rows.
    pub(super) fn batch(&mut self, requests: &mut Requests, batch: &Batch<'_>) -> Result<String> {
        let (set, keys) = (batch.set.to_vec(), batch.keys.to_vec());
        let key = Key::Batch(batch.table.oid, batch.verb, set, keys);
        if let Some((name, _)) = self.find(&key) {
            return Ok(name);
        }
        let (sql, types) = render::batch(batch.table, batch.verb, batch.set, batch.keys)?;
        Ok(self.add(requests, key, (&sql, &types), Vec::new()).0)
    }

    /// The name of any other statement.
    pub(super) fn text(&mut self, requests: &mut Requests, sql: &str, types: &[Oid]) -> String {
        let key = Key::Text(sql.to_owned());
        if let Some((name, _)) = self.find(&key) {
            return name;
        }
        self.add(requests, key, (sql, types), Vec::new()).0
    }
}
