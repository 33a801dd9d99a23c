//! The journal of what was taken away: in the ledger and, for a person with psql, as a file.
//!
//! Written durably before the first ALTER TABLE: ledger, then file, then the folder's entry. An entry is open
//! until it is proven to be back; while it is open, what was read first holds, as what is found later (NOT
//! VALID, disabled) may be our own doing. Whether a thing is there is asked of the target, never of here.

use super::discover::{Table, Tree, Trigger};
use crate::catalog::{Ledger, Run, sqlite_error};
use crate::error::Result;
use crate::pg::quote;
use crate::units::Oid;
use crate::workdir::Layout;
use rusqlite::{Connection, Row, params};
use std::collections::BTreeMap;

/// What an entry is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thing {
    /// A foreign key.
    Key,
    /// A trigger of a user.
    Trigger,
}

/// One thing that was taken away, as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its row.
    pub id: i64,
    /// What it is.
    pub thing: Thing,
    /// Raw name.
    pub name: String,
    /// The table that has it.
    pub child: Table,
    /// The table that a key refers to; without names for triggers.
    pub parent: Table,
    /// Entry of the key of the partitioned table above, 0 where there is none.
    pub above: i64,
    /// How to make it.
    pub definition: String,
    /// Comment of a key.
    pub comment: Option<String>,
    /// False: NOT VALID.
    pub is_valid: bool,
    /// False: NOT ENFORCED.
    pub is_enforced: bool,
    /// State of a trigger.
    pub trigger_state: String,
    /// `kept`, `removed`, `added`, `valid`, `failed`, `closed`: a hint.
    pub state: String,
    /// Why it is not back, for people.
    pub problem: Option<String>,
}

const COLUMNS: &str = "id, kind, name, child_oid, child_schema, child_name, child_parted, parent_schema, \
    parent_name, parent_parted, above, definition, comment, is_valid, is_enforced, trigger_state, state, problem";

fn from_row(row: &Row<'_>) -> rusqlite::Result<Entry> {
    let kind: String = row.get(1)?;
    Ok(Entry {
        id: row.get(0)?,
        thing: if kind == "key" {
            Thing::Key
        } else {
            Thing::Trigger
        },
        name: row.get(2)?,
        child: Table {
            oid: row.get(3)?,
            schema: row.get(4)?,
            name: row.get(5)?,
            is_partitioned: row.get(6)?,
        },
        parent: Table {
            oid: 0,
            schema: row.get(7)?,
            name: row.get(8)?,
            is_partitioned: row.get(9)?,
        },
        above: row.get(10)?,
        definition: row.get(11)?,
        comment: row.get(12)?,
        is_valid: row.get(13)?,
        is_enforced: row.get(14)?,
        trigger_state: row.get(15)?,
        state: row.get(16)?,
        problem: row.get(17)?,
    })
}

impl Entry {
    /// Name for people: `public.orders.orders_customer_fk`.
    pub fn shown(&self) -> String {
        format!("{}.{}", self.child.shown(), self.name)
    }

    /// Where the catalogs have it.
    pub(super) fn place(&self) -> (String, String, String) {
        (
            self.child.schema.clone(),
            self.child.name.clone(),
            self.name.clone(),
        )
    }
}

/// Entries that are not proven to be back, in the order of putting them back: keys by their oid, those of a
/// partition tree from the leaves up, then triggers.
pub fn open_entries(connection: &Connection) -> Result<Vec<Entry>> {
    let mut entries = read(connection, "state <> 'closed'")?;
    let order = order(&entries);
    entries.sort_by_key(|entry| order.get(&entry.id).copied().unwrap_or_default());
    Ok(entries)
}

/// All entries of the last run that took something away, for its summary.
pub fn all_entries(connection: &Connection) -> Result<Vec<Entry>> {
    read(connection, "true")
}

fn read(connection: &Connection, condition: &str) -> Result<Vec<Entry>> {
    let read = || -> rusqlite::Result<Vec<Entry>> {
        connection
            .prepare(&format!(
                "select {COLUMNS} from constraint_journal where {condition} order by kind, oid, id"
            ))?
            .query_map([], from_row)?
            .collect()
    };
    read().map_err(|error| sqlite_error("read", &error))
}

/// For each entry: triggers last, position of its root, then the deepest first.
fn order(entries: &[Entry]) -> BTreeMap<i64, (bool, usize, i64, usize)> {
    let above: BTreeMap<i64, i64> = entries.iter().map(|e| (e.id, e.above)).collect();
    let position: BTreeMap<i64, usize> =
        entries.iter().enumerate().map(|(n, e)| (e.id, n)).collect();
    entries
        .iter()
        .map(|entry| {
            let (mut root, mut depth) = (entry.id, 0);
            while let Some(up) = above.get(&root).filter(|up| above.contains_key(up)) {
                root = *up;
                depth += 1;
            }
            let at = |id| position.get(&id).copied().unwrap_or_default();
            (
                entry.id,
                (
                    entry.thing == Thing::Trigger,
                    at(root),
                    -depth,
                    at(entry.id),
                ),
            )
        })
        .collect()
}

/// What is about to be taken away.
#[derive(Clone, Debug, Default)]
pub struct Taking<'k> {
    /// Keys, with all of their trees.
    pub trees: Vec<Tree<'k>>,
    /// Triggers.
    pub triggers: Vec<&'k Trigger>,
}

/// Writes down what is about to be taken away, so that a power cut right after it loses nothing: first the
/// ledger, then the file. Entries that are open already stay as they are. Errors (`BadState`): the work
/// directory cannot be written; nothing was removed then.
pub fn record(
    ledger: &mut Ledger,
    layout: &Layout,
    (run, target): (Run, &str),
    taking: &Taking<'_>,
) -> Result<()> {
    ledger.write_durably(|tx| {
        tx.execute("delete from constraint_journal where state = 'closed'", [])
            .map_err(|error| sqlite_error("write", &error))?;
        for tree in &taking.trees {
            record_tree(tx, (run, target), tree)?;
        }
        for trigger in &taking.triggers {
            record_trigger(tx, (run, target), trigger)?;
        }
        Ok(())
    })?;
    write_script(ledger, layout, target)
}

fn record_tree(tx: &Connection, (run, target): (Run, &str), tree: &Tree<'_>) -> Result<()> {
    let mut ids: BTreeMap<Oid, i64> = BTreeMap::new();
    for key in &tree.keys {
        let write = || -> rusqlite::Result<i64> {
            tx.prepare_cached(
                "insert into constraint_journal (run_id, kind, target, oid, name, child_oid, child_schema,
                    child_name, child_parted, parent_schema, parent_name, parent_parted, above, definition,
                    comment, is_valid, is_enforced, trigger_state)
                 values (?1, 'key', ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, '')
                 on conflict do nothing",
            )?
            .execute(params![
                run.id,
                target,
                key.oid,
                key.name,
                key.child.oid,
                key.child.schema,
                key.child.name,
                key.child.is_partitioned,
                key.parent.schema,
                key.parent.name,
                key.parent.is_partitioned,
                ids.get(&key.tree_parent).copied().unwrap_or(0),
                key.definition,
                key.comment,
                key.is_valid,
                key.is_enforced
            ])?;
            tx.query_row(
                "select id from constraint_journal
                  where kind = 'key' and child_schema = ?1 and child_name = ?2 and name = ?3",
                params![key.child.schema, key.child.name, key.name],
                |row| row.get(0),
            )
        };
        let id = write().map_err(|error| sqlite_error("write", &error))?;
        ids.insert(key.oid, id);
    }
    Ok(())
}

fn record_trigger(tx: &Connection, (run, target): (Run, &str), trigger: &Trigger) -> Result<()> {
    tx.prepare_cached(
        "insert into constraint_journal (run_id, kind, target, oid, name, child_oid, child_schema, child_name,
            child_parted, parent_schema, parent_name, parent_parted, above, definition, is_valid, is_enforced,
            trigger_state)
         values (?1, 'trigger', ?2, 0, ?3, ?4, ?5, ?6, 0, '', '', 0, 0, ?7, 1, 1, ?8)
         on conflict do nothing",
    )
    .and_then(|mut statement| {
        statement.execute(params![
            run.id,
            target,
            trigger.name,
            trigger.table.oid,
            trigger.table.schema,
            trigger.table.name,
            trigger.definition,
            trigger.state
        ])
    })
    .map(|_| ())
    .map_err(|error| sqlite_error("write", &error))
}

/// Notes how far an entry is.
pub fn set_state(connection: &Connection, id: i64, state: &str) -> Result<()> {
    connection
        .execute(
            "update constraint_journal set state = ?2, sqlstate = null, problem = null, offending_rows = null, query = null where id = ?1",
            params![id, state],
        )
        .map(|_| ())
        .map_err(|error| sqlite_error("write", &error))
}

/// Notes why an entry is not back.
pub fn set_failed(
    connection: &Connection,
    id: i64,
    sqlstate: Option<&str>,
    why: &str,
) -> Result<()> {
    connection
        .execute(
            "update constraint_journal set state = 'failed', sqlstate = ?2, problem = ?3 where id = ?1",
            params![id, sqlstate, why],
        )
        .map(|_| ())
        .map_err(|error| sqlite_error("write", &error))
}

/// Notes how many rows break a key, and a query that finds them.
pub fn set_offenders(connection: &Connection, id: i64, count: i64, query: &str) -> Result<()> {
    connection
        .execute(
            "update constraint_journal set offending_rows = ?2, query = ?3 where id = ?1",
            params![id, count, query],
        )
        .map(|_| ())
        .map_err(|error| sqlite_error("write", &error))
}

/// Opens every entry of the last run again, as what it speaks of is about to be taken away once more. Returns the
/// target; `None`: there is no entry.
pub fn reopen(ledger: &mut Ledger) -> Result<Option<String>> {
    ledger.write_durably(|tx| {
        tx.execute(
            "update constraint_journal set state = 'kept', sqlstate = null, problem = null, offending_rows = null, query = null",
            [],
        )
        .map_err(|error| sqlite_error("write", &error))?;
        target_of_open(tx)
    })
}

/// The target that the open entries belong to; `None`: there are none.
pub fn target_of_open(connection: &Connection) -> Result<Option<String>> {
    use rusqlite::OptionalExtension;
    connection
        .query_row(
            "select target from constraint_journal where state <> 'closed' limit 1",
            [],
            |row| row.get(0),
        )
        .optional()
        .map_err(|error| sqlite_error("read", &error))
}

/// Writes the file for psql, or removes it when nothing is open any more.
pub fn write_script(ledger: &Ledger, layout: &Layout, target: &str) -> Result<()> {
    let path = layout.restore_script();
    let entries = open_entries(ledger.connection())?;
    if entries.is_empty() {
        let _gone = std::fs::remove_file(&path);
        return Ok(());
    }
    layout.write_file_durably(&path, script(&entries, target).as_bytes())
}

/// The statements that put everything back; each adds only what is absent, so they may be run repeatedly.
pub fn script(entries: &[Entry], target: &str) -> String {
    let mut out = format!(
        "-- Puts back the foreign keys and triggers that pgcopy took away from the target.\n\
         -- Target (system identifier/database oid/name): {target}\n\
         -- Run it with: psql -f restore-constraints.sql; it may be run repeatedly, and adds only what is absent.\n\
         -- \"pgcopy restore-constraints\" does the same, in parallel, and proves the result.\n\
         set search_path = '';\nset statement_timeout = 0;\n\n"
    );
    for entry in entries {
        match entry.thing {
            Thing::Key => {
                out.push_str(&guarded(entry));
                if let Some(comment) = comment_statement(entry) {
                    out.push_str(&comment);
                    out.push_str(";\n");
                }
            }
            Thing::Trigger => {
                out.push_str(&trigger_statement(entry));
                out.push_str(";\n");
            }
        }
    }
    out
}

/// A block that adds a key unless it is there. A row that the server keeps for a partition of another key's
/// parent is not it, and gives way when it has the name.
fn guarded(entry: &Entry) -> String {
    let add = add_statement(entry, false);
    let mut tag = "pgcopy".to_owned();
    while add.contains(&format!("${tag}$")) || entry.name.contains(&tag) {
        tag.push('_');
    }
    let (name, child) = (
        quote::literal(&entry.name),
        quote::literal(&entry.child.qname()),
    );
    let named = format!(
        "k.contype = 'f' and k.conname = {name} and k.conrelid = {child}::pg_catalog.regclass"
    );
    format!(
        "do ${tag}$\ndeclare\n    other name;\nbegin\n    \
         if not exists (select from pg_catalog.pg_constraint k left join pg_catalog.pg_constraint u on u.oid = k.conparentid\n                    \
         where {named} and (u.oid is null or u.confrelid = k.confrelid)) then\n        \
         select left(u.conname::text, 13) || '_' || k.oid into other\n          \
         from pg_catalog.pg_constraint k join pg_catalog.pg_constraint u on u.oid = k.conparentid and u.confrelid <> k.confrelid\n         \
         where {named};\n        \
         if found then\n            \
         execute format('alter table %s rename constraint %I to %I', {child}, {name}, other);\n        \
         end if;\n        {add};\n    end if;\nend\n${tag}$;\n"
    )
}

/// `ALTER TABLE … ADD CONSTRAINT`, with NOT VALID where that is wanted or was so.
pub(super) fn add_statement(entry: &Entry, not_valid: bool) -> String {
    let has_it = entry.definition.ends_with(" NOT VALID");
    let plain = entry.is_enforced && not_valid && !has_it;
    format!(
        "alter table {} add constraint {} {}{}",
        entry.child.qname(),
        quote::ident(&entry.name),
        entry.definition,
        if plain { " not valid" } else { "" }
    )
}

/// What sets the comment of a key.
pub(super) fn comment_statement(entry: &Entry) -> Option<String> {
    let comment = entry.comment.as_deref()?;
    Some(format!(
        "comment on constraint {} on {} is {}",
        quote::ident(&entry.name),
        entry.child.qname(),
        quote::literal(comment)
    ))
}

/// What gives a trigger the state that it had.
pub(super) fn trigger_statement(entry: &Entry) -> String {
    let how = match entry.trigger_state.as_str() {
        "A" => "enable always trigger",
        "R" => "enable replica trigger",
        "D" => "disable trigger",
        _ => "enable trigger",
    };
    format!(
        "alter table only {} {how} {}",
        entry.child.qname(),
        quote::ident(&entry.name)
    )
}

#[cfg(test)]
mod tests {
    use super::super::discover::Key;
    use super::*;

    fn table(name: &str, is_partitioned: bool) -> Table {
        Table {
            oid: 1,
            schema: "s".to_owned(),
            name: name.to_owned(),
            is_partitioned,
        }
    }

    fn key(oid: Oid, child: &str, tree_parent: Oid) -> Key {
        Key {
            oid,
            name: format!("k{oid}"),
            child: table(child, tree_parent == 0),
            owner: String::new(),
            parent: table("p", false),
            definition: "FOREIGN KEY (a) REFERENCES s.p(id)".to_owned(),
            comment: (oid == 1).then(|| "it's $pgcopy$".to_owned()),
            is_valid: true,
            is_enforced: true,
            tree_parent,
            obstacle: None,
            checks: true,
        }
    }

    #[test]
    fn what_was_read_first_holds_while_an_entry_is_open() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path().to_path_buf());
        let mut ledger = Ledger::in_memory().unwrap();
        let run = Run { id: 1 };
        let keys = [key(1, "root", 0), key(2, "leaf", 1)];
        let taking = |keys| Taking {
            trees: super::super::discover::trees(keys),
            triggers: Vec::new(),
        };
        record(&mut ledger, &layout, (run, "t"), &taking(&keys)).unwrap();
        let mut changed = keys.clone();
        changed[1].definition.push_str(" NOT VALID");
        record(&mut ledger, &layout, (run, "t"), &taking(&changed)).unwrap();
        let open = open_entries(ledger.connection()).unwrap();
        let names: Vec<&str> = open.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names, ["k2", "k1"], "leaves first");
        assert!(!open[0].definition.contains("NOT VALID"));
        assert_eq!(open[0].above, open[1].id);
        let text = std::fs::read_to_string(layout.restore_script()).unwrap();
        assert!(
            text.contains("add constraint \"k1\" FOREIGN KEY (a)"),
            "{text}"
        );
        assert!(text.contains("is 'it''s $pgcopy$'"), "{text}");
        for entry in &open {
            set_state(ledger.connection(), entry.id, "closed").unwrap();
        }
        write_script(&ledger, &layout, "t").unwrap();
        assert!(!layout.restore_script().exists());
    }

    #[test]
    fn not_valid_is_added_where_the_definition_lacks_it() {
        let mut entry = Entry {
            id: 1,
            thing: Thing::Key,
            name: "k".to_owned(),
            child: table("c", false),
            parent: table("p", false),
            above: 0,
            definition: "FOREIGN KEY (a) REFERENCES s.p(id)".to_owned(),
            comment: None,
            is_valid: true,
            is_enforced: true,
            trigger_state: String::new(),
            state: "kept".to_owned(),
            problem: None,
        };
        assert!(add_statement(&entry, true).ends_with("s.p(id) not valid"));
        assert!(add_statement(&entry, false).ends_with("s.p(id)"));
        entry.definition.push_str(" NOT VALID");
        assert!(add_statement(&entry, true).ends_with("s.p(id) NOT VALID"));
        entry.definition = "FOREIGN KEY (a) REFERENCES s.p(id) NOT ENFORCED".to_owned();
        entry.is_enforced = false;
        assert!(add_statement(&entry, true).ends_with("NOT ENFORCED"));
    }
}
