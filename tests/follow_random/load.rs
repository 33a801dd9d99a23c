//! Sessions that change random rows, their transactions woven into each other by the dice alone.

use std::io::{Read as _, Write as _};

use postgres::Client;

use super::connect;
use super::dice::Dice;
use super::schema::{ColumnKind, Schema, Table};
use super::values::quoted;

/// Sessions that write.
const SESSIONS: usize = 4;
/// A session does not wait for another one: they take turns.
const SETTINGS: &str = "set lock_timeout to '8ms'; set statement_timeout to '20s'";

pub struct Load {
    sessions: Vec<Session>,
    plugin: &'static str,
    /// What was run, for whoever looks at a failure.
    pub log: Vec<String>,
    /// Statements that succeeded.
    pub done: usize,
    /// TRUNCATE is used.
    pub truncates: bool,
}

struct Session {
    client: Client,
    open: bool,
    savepoints: usize,
}

/// Columns to write and a row of values for each of `count`.
fn rows(table: &Table, dice: &mut Dice, plugin: &str, count: usize) -> (String, Vec<String>) {
    let written: Vec<_> = table
        .columns
        .iter()
        .filter(|one| one.is_writable())
        .collect();
    let names: Vec<&str> = written.iter().map(|column| column.name.as_str()).collect();
    let mut all = Vec::new();
    for _ in 0..count {
        let values: Vec<String> = written
            .iter()
            .map(|column| column.value(dice, plugin))
            .collect();
        all.push(values.join(", "));
    }
    (names.join(", "), all)
}

/// INSERT of some rows.
pub fn insert(table: &Table, dice: &mut Dice, plugin: &str) -> String {
    let count = dice.pick(&[1, 1, 2, 5, 20]);
    let (names, rows) = rows(table, dice, plugin, count);
    if names.is_empty() {
        return format!("insert into {} default values", table.name);
    }
    let conflict = match (table.key.is_empty(), dice.below(3)) {
        (false, 0) => "on conflict do nothing".to_owned(),
        (false, 1) if table.key.len() == 1 && rows.len() == 1 => {
            let last = &table.columns[table.columns.len() - 1];
            if last.is_writable() {
                format!(
                    "on conflict ({}) do update set {1} = excluded.{1}",
                    table.key[0], last.name
                )
            } else {
                String::new()
            }
        }
        _ => String::new(),
    };
    format!(
        "insert into {} ({names}) values ({}) {conflict}",
        table.name,
        rows.join("), (")
    )
}

/// A condition that some rows meet, whatever the table.
fn some_rows(table: &Table, dice: &mut Dice) -> String {
    let most = dice.pick(&[1, 1, 2, 5, 30]);
    let order = dice.pick(&["", " desc"]);
    format!(
        "(tableoid, ctid) in (select tableoid, ctid from {0} x order by x::text collate \"C\"{order} offset {1} limit {most})",
        table.name,
        dice.below(25)
    )
}

fn update(table: &Table, dice: &mut Dice, plugin: &str) -> String {
    let mut sets = Vec::new();
    for _ in 0..=dice.below(3) {
        let column = &table.columns[dice.below(table.columns.len())];
        let value = match dice.below(6) {
            0 if column.is_writable() => column.name.clone(),
            1 if matches!(column.kind, ColumnKind::KeyNumber) => {
                format!("{} + {}", column.name, 1 + dice.below(40))
            }
            _ => column.value(dice, plugin),
        };
        let set = format!("{} = {value}", column.name);
        if !sets
            .iter()
            .any(|one: &String| one.starts_with(&format!("{} =", column.name)))
        {
            sets.push(set);
        }
    }
    let which = if dice.chance(1, 12) {
        "true".to_owned()
    } else {
        some_rows(table, dice)
    };
    format!(
        "update {} set {} where {which}",
        table.name,
        sets.join(", ")
    )
}

fn delete(table: &Table, dice: &mut Dice) -> String {
    if dice.chance(1, 15) {
        return format!("delete from {}", table.name);
    }
    format!(
        "delete from {} where {}",
        table.name,
        some_rows(table, dice)
    )
}

/// Deletes a row and puts it back, as it was or changed.
fn delete_and_insert(table: &Table, dice: &mut Dice) -> String {
    let names: Vec<&str> = table
        .columns
        .iter()
        .filter(|one| one.is_writable())
        .map(|one| one.name.as_str())
        .collect();
    if names.is_empty() {
        return delete(table, dice);
    }
    let names = names.join(", ");
    let some = some_rows(table, dice);
    let table = &table.name;
    format!(
        "create temp table held on commit drop as select * from {table} where {some};
         delete from {table} where (tableoid, ctid) in (select tableoid, ctid from {table} x where {some});
         insert into {table} ({names}) select {names} from held; drop table held"
    )
}

/// Many rows at once.
fn many(table: &Table, dice: &mut Dice, plugin: &str) -> String {
    let (names, rows) = rows(table, dice, plugin, 1);
    let (first, key) = (&table.columns[0], table.key.first());
    if names.is_empty() || key.is_some_and(|key| *key != first.name) {
        return insert(table, dice, plugin);
    }
    let numbered = matches!(first.kind, ColumnKind::KeyNumber);
    if key.is_some() && !numbered {
        return insert(table, dice, plugin);
    }
    // The first value of the row is the number.
    let values = match (numbered, rows[0].split_once(", ")) {
        (true, Some((_, rest))) => format!("i, {rest}"),
        (true, None) => "i".to_owned(),
        (false, _) => rows[0].clone(),
    };
    let from = 200 + dice.below(2000);
    let long = table
        .columns
        .iter()
        .any(|one| matches!(one.kind, ColumnKind::Long));
    let count = if long {
        30
    } else {
        dice.pick(&[40, 300, 1000])
    };
    format!(
        "insert into {} ({names}) select {values} from generate_series({from}, {}) i",
        table.name,
        from + count
    )
}

fn truncate(schema: &Schema, dice: &mut Dice) -> String {
    let mut names = Vec::new();
    for _ in 0..=dice.below(2) {
        let table = &schema.tables[dice.below(schema.tables.len())];
        if table.is_view {
            continue;
        }
        let name = if !table.leaves.is_empty() && dice.chance(1, 2) {
            table.leaves[dice.below(table.leaves.len())].clone()
        } else {
            table.name.clone()
        };
        if !names.contains(&name) {
            names.push(name);
        }
    }
    if names.is_empty() {
        return "select 1".to_owned();
    }
    let restart = dice.pick(&["", " restart identity"]);
    format!("truncate {}{restart} cascade", names.join(", "))
}

impl Load {
    pub fn connect(uri: &str, plugin: &'static str) -> Self {
        let sessions = (0..SESSIONS).map(|_| {
            let mut client = connect(uri);
            client
                .batch_execute(SETTINGS)
                .expect("settings that are there");
            Session {
                client,
                open: false,
                savepoints: 0,
            }
        });
        Self {
            sessions: sessions.collect(),
            plugin,
            log: Vec::new(),
            done: 0,
            truncates: true,
        }
    }

    fn run(&mut self, at: usize, sql: &str) -> bool {
        let session = &mut self.sessions[at];
        let result = session.client.batch_execute(sql);
        let end = match &result {
            Ok(()) => String::new(),
            Err(error) => {
                let why = error.as_db_error().map(|one| one.message().to_owned());
                format!("  -- {}", why.unwrap_or_else(|| error.to_string()))
            }
        };
        self.log.push(format!("{at}: {sql};{end}"));
        self.done += usize::from(result.is_ok());
        result.is_ok()
    }

    /// One statement, or the begin or end of something, in one of the sessions.
    pub fn step(&mut self, schema: &Schema, dice: &mut Dice) {
        let at = dice.below(SESSIONS);
        let (open, savepoints) = (self.sessions[at].open, self.sessions[at].savepoints);
        if !open && dice.chance(3, 5) {
            let level = dice.pick(&["", "", " isolation level repeatable read"]);
            self.run(at, &format!("begin{level}"));
            self.sessions[at].open = true;
            self.sessions[at].savepoints = 0;
            return;
        }
        if open {
            match dice.below(20) {
                0..3 => return self.end(at, "commit"),
                3 => return self.end(at, "rollback"),
                4 | 5 => {
                    self.run(at, &format!("savepoint p{savepoints}"));
                    self.sessions[at].savepoints += 1;
                    return;
                }
                6 if savepoints > 0 => {
                    let to = dice.below(savepoints);
                    self.run(at, &format!("rollback to p{to}"));
                    self.sessions[at].savepoints = to + 1;
                    return;
                }
                7 if savepoints > 0 => {
                    let to = dice.below(savepoints);
                    self.run(at, &format!("release p{to}"));
                    self.sessions[at].savepoints = to;
                    return;
                }
                _ => {}
            }
        }
        let worked = self.change(at, schema, dice);
        if !worked && open {
            // Often the work goes on from a savepoint.
            if savepoints > 0 && dice.chance(3, 4) {
                let to = dice.below(savepoints);
                self.run(at, &format!("rollback to p{to}"));
                self.sessions[at].savepoints = to + 1;
            } else {
                self.end(at, "rollback");
            }
        }
    }

    fn end(&mut self, at: usize, how: &str) {
        self.run(at, how);
        self.sessions[at].open = false;
        self.sessions[at].savepoints = 0;
    }

    fn change(&mut self, at: usize, schema: &Schema, dice: &mut Dice) -> bool {
        let table = &schema.tables[dice.below(schema.tables.len())];
        let plugin = self.plugin;
        if table.is_view {
            return self.run(
                at,
                &format!("refresh materialized view concurrently {}", table.name),
            );
        }
        let sql = match dice.below(40) {
            12..24 => update(table, dice, plugin),
            24..30 => delete(table, dice),
            30..32 => delete_and_insert(table, dice),
            32 | 33 => many(table, dice, plugin),
            34 | 35 => return self.copy(at, table, dice),
            36 if self.truncates => truncate(schema, dice),
            37 => format!(
                "select pg_logical_emit_message({}, 'x', {})",
                dice.chance(1, 2),
                quoted("m\n\\")
            ),
            38 => "create temp table gone (a int); insert into gone values (1); drop table gone"
                .to_owned(),
            39 => "select txid_current()".to_owned(),
            _ => insert(table, dice, plugin),
        };
        self.run(at, &sql)
    }

    /// Rows by COPY, which the log has in another form than those of INSERT.
    fn copy(&mut self, at: usize, table: &Table, dice: &mut Dice) -> bool {
        let count = dice.pick(&[1, 10, 60]);
        let (names, rows) = rows(table, dice, self.plugin, count);
        if names.is_empty() {
            return true;
        }
        let select: Vec<String> = rows.iter().map(|row| format!("select {row}")).collect();
        let out = format!("copy ({}) to stdout", select.join(" union all "));
        let into = format!("copy {} ({names}) from stdin", table.name);
        let client = &mut self.sessions[at].client;
        let mut copied = || -> Result<(), postgres::Error> {
            let mut bytes = Vec::new();
            let _ = client.copy_out(&out)?.read_to_end(&mut bytes);
            let mut writer = client.copy_in(&into)?;
            let _ = writer.write_all(&bytes);
            writer.finish().map(drop)
        };
        let result = copied();
        let end = result.as_ref().err().map_or(String::new(), |error| {
            format!(
                "  -- {}",
                error.as_db_error().map_or("", |one| one.message())
            )
        });
        self.log.push(format!("{at}: {into}; {out}{end}"));
        self.done += usize::from(result.is_ok());
        result.is_ok()
    }

    /// Ends what is open, one way or the other.
    pub fn finish(&mut self, dice: &mut Dice) {
        for at in 0..SESSIONS {
            if self.sessions[at].open {
                let how = if dice.chance(4, 5) {
                    "commit"
                } else {
                    "rollback"
                };
                self.end(at, how);
            }
        }
    }
}

/// Rows that are there before anything is followed.
pub fn first_rows(schema: &Schema, dice: &mut Dice, plugin: &str) -> Vec<String> {
    let mut all = Vec::new();
    for table in schema.tables.iter().filter(|table| !table.is_view) {
        for _ in 0..3 {
            all.push(insert(table, dice, plugin));
        }
    }
    all
}
