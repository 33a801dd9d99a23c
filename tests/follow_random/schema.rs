//! Random tables: every kind of key, identity, partitioning and column that changes must find their way by.

use std::fmt::Write as _;

use super::dice::Dice;
use super::values::{self, TYPES, Type, long_text, name, quoted};

/// Names that must be quoted, each in another way.
const NAMES: &[&str] = &[
    "plain",
    "We\"ird",
    "new-tuple: z",
    "a.b",
    "back\\slash",
    "select",
    "x[y]:z",
    " lead",
    "Ünï",
    "it's",
    "new\nline",
    "tab\tbed",
    "percent%s",
    "a_name_of_sixty_three_bytes_which_is_the_most_that_there_can_be",
];

pub struct Column {
    /// In quotes.
    pub name: String,
    pub kind: ColumnKind,
}

pub enum ColumnKind {
    /// A number out of few.
    KeyNumber,
    /// A text out of few.
    KeyText,
    /// Of that type.
    Of(&'static Type),
    /// Often out of line.
    Long,
    /// The server computes it, or gives it out.
    Server,
}

pub struct Table {
    /// Schema and name, in quotes.
    pub name: String,
    pub columns: Vec<Column>,
    /// Columns of a unique index that is never deferred, for ON CONFLICT.
    pub key: Vec<String>,
    /// Leaves, in quotes.
    pub leaves: Vec<String>,
    pub is_view: bool,
}

pub struct Schema {
    pub ddl: String,
    pub tables: Vec<Table>,
}

impl Column {
    fn new(name: &str, kind: ColumnKind) -> Self {
        Self {
            name: values::name(name),
            kind,
        }
    }

    fn type_name(&self) -> &'static str {
        match &self.kind {
            ColumnKind::KeyNumber | ColumnKind::Server => "int",
            ColumnKind::KeyText | ColumnKind::Long => "text",
            ColumnKind::Of(kind) => kind.sql,
        }
    }

    pub fn is_writable(&self) -> bool {
        !matches!(self.kind, ColumnKind::Server)
    }

    pub fn value(&self, dice: &mut Dice, plugin: &str) -> String {
        match &self.kind {
            ColumnKind::KeyNumber => dice.below(150).to_string(),
            ColumnKind::KeyText => quoted(&format!("{}k", "x'\"\\ ".repeat(dice.below(12)))),
            ColumnKind::Of(kind) => kind.value(dice, plugin),
            ColumnKind::Long if dice.chance(2, 3) => long_text(dice),
            ColumnKind::Long => values::text(dice),
            ColumnKind::Server => "default".to_owned(),
        }
    }
}

impl Table {
    fn new(schema: &str, table: &str) -> Self {
        Self {
            name: format!("{}.{}", name(schema), name(table)),
            columns: Vec::new(),
            key: Vec::new(),
            leaves: Vec::new(),
            is_view: false,
        }
    }

    fn add(&mut self, name: &str, kind: ColumnKind) {
        self.columns.push(Column::new(name, kind));
    }

    /// Some columns of random types.
    fn add_some(&mut self, dice: &mut Dice, most: usize) {
        for at in 0..=dice.below(most) {
            let name = format!(
                "{} {at}",
                dice.pick(NAMES).chars().take(20).collect::<String>()
            );
            let kind = match dice.below(6) {
                0 => ColumnKind::Long,
                _ => ColumnKind::Of(&TYPES[dice.below(TYPES.len())]),
            };
            self.columns.push(Column::new(&name, kind));
        }
    }

    fn body(&self) -> String {
        let lines: Vec<String> = self
            .columns
            .iter()
            .map(|column| format!("{} {}", column.name, column.type_name()))
            .collect();
        lines.join(", ")
    }
}

/// Kinds of tables.
const KINDS: usize = 12;

fn names(of: &[&str]) -> Vec<String> {
    of.iter().map(|one| name(one)).collect()
}

fn full(table: &str, ddl: &mut String) {
    let _ = writeln!(ddl, "alter table {table} replica identity full;");
}

/// A table of one of the kinds, with what makes it.
fn table(dice: &mut Dice, kind: usize, ddl: &mut String) -> Table {
    let schema = dice.pick(&["public", "s", "Odd \"schema"]);
    let short: String = dice.pick(NAMES).chars().take(40).collect();
    let mut made = Table::new(schema, &format!("{short}{kind}"));
    match kind {
        0 | 1 => numbered(dice, &mut made, kind == 1, ddl),
        2 => by_two(dice, &mut made, ddl),
        3 => by_index(dice, &mut made, ddl),
        4 | 5 => keyless(dice, &mut made, kind == 4, ddl),
        6 | 7 => partitioned(dice, &mut made, kind, ddl),
        8 => computed(dice, &mut made, ddl),
        9 => given_out(dice, &mut made, ddl),
        10 => {
            made.add("a", ColumnKind::KeyNumber);
            made.add("b", ColumnKind::KeyText);
            made.key = names(&["a", "b"]);
            let table = &made.name;
            let _ = writeln!(
                ddl,
                "create table {table} (a int, b text, primary key (a, b));"
            );
        }
        _ => child(dice, &mut made, kind, ddl),
    }
    made
}

/// The key before or behind the other columns; sometimes the whole row is the identity.
fn numbered(dice: &mut Dice, made: &mut Table, last: bool, ddl: &mut String) {
    made.add("id", ColumnKind::KeyNumber);
    made.add_some(dice, 8);
    made.key = names(&["id"]);
    if last {
        made.columns.rotate_left(1);
    }
    let (table, body) = (&made.name, made.body());
    let _ = writeln!(ddl, "create table {table} ({body}, primary key (id));");
    if dice.chance(1, 3) {
        full(table, ddl);
    }
}

fn by_two(dice: &mut Dice, made: &mut Table, ddl: &mut String) {
    made.add("a", ColumnKind::KeyNumber);
    made.add("B\"b", ColumnKind::KeyText);
    made.add_some(dice, 5);
    made.key = names(&["B\"b", "a"]);
    let (table, body, key) = (&made.name, made.body(), made.key.join(", "));
    let _ = writeln!(ddl, "create table {table} ({body}, primary key ({key}));");
}

/// An index tells the rows; another one can refuse them.
fn by_index(dice: &mut Dice, made: &mut Table, ddl: &mut String) {
    made.add("u", ColumnKind::KeyNumber);
    made.add("w", ColumnKind::KeyNumber);
    made.add_some(dice, 4);
    made.key = names(&["u"]);
    let deferred = dice.pick(&["", " deferrable initially deferred", " deferrable"]);
    let (table, body) = (&made.name, made.body());
    let _ = writeln!(
        ddl,
        "create table {table} ({body}, unique (w){deferred}); alter table {table} alter u set not null;
         create unique index \"the index\" on {table} (u);
         alter table {table} replica identity using index \"the index\";",
    );
}

/// No key at all; of few values, equal rows are many.
fn keyless(dice: &mut Dice, made: &mut Table, few: bool, ddl: &mut String) {
    if few {
        for (name, kind) in [("few", &TYPES[8]), ("n", &TYPES[4])] {
            made.columns.push(Column::new(name, ColumnKind::Of(kind)));
        }
    }
    made.add_some(dice, 3);
    let (table, body) = (&made.name, made.body());
    let _ = writeln!(ddl, "create table {table} ({body});");
    full(table, ddl);
}

/// Columns that the server computes, first, in the middle and last.
fn computed(dice: &mut Dice, made: &mut Table, ddl: &mut String) {
    made.add("g", ColumnKind::Server);
    made.add("a", ColumnKind::KeyNumber);
    made.add("m", ColumnKind::Server);
    made.add("t", ColumnKind::Long);
    made.add("h", ColumnKind::Server);
    made.key = names(&["a"]);
    let table = &made.name;
    let _ = writeln!(
        ddl,
        "create table {table} (g int generated always as (a + 1) stored, a int primary key,
         m text generated always as (upper(t)) stored, t text,
         h int generated always as (length(t)) stored);",
    );
    if dice.chance(1, 3) {
        full(table, ddl);
    }
}

fn given_out(dice: &mut Dice, made: &mut Table, ddl: &mut String) {
    made.add("id", ColumnKind::Server);
    made.add("other", ColumnKind::Server);
    made.add_some(dice, 3);
    let by_default = "\"other\" int generated by default as identity";
    let body = made
        .body()
        .replacen(" int", " int generated always as identity", 1)
        .replacen("\"other\" int", by_default, 1);
    let table = &made.name;
    let _ = writeln!(ddl, "create table {table} ({body}, primary key (id));");
}

/// Rows that go and change with those of another table.
fn child(dice: &mut Dice, made: &mut Table, kind: usize, ddl: &mut String) {
    made.add("id", ColumnKind::KeyNumber);
    made.add_some(dice, 2);
    made.key = names(&["id"]);
    let (table, body) = (&made.name, made.body());
    let _ = writeln!(
        ddl,
        "create table parent{kind} (id int primary key, v text);
         create table {table} ({body}, primary key (id),
            foreign key (id) references parent{kind} on delete cascade on update cascade deferrable);",
    );
}

fn partitioned(dice: &mut Dice, made: &mut Table, number: usize, ddl: &mut String) {
    let keyless = number == 7;
    made.add("id", ColumnKind::KeyNumber);
    made.add_some(dice, 3);
    let table = made.name.clone();
    let key = if keyless { "" } else { ", primary key (id)" };
    let _ = writeln!(
        ddl,
        "create table {table} ({}{key}) partition by range (id);",
        made.body()
    );
    let mut leaf = |ddl: &mut String, tail: &str, made: &mut Table| {
        let leaf = format!(
            "{}.{}",
            name(dice.pick(&["public", "s"])),
            name(&format!("leaf{number} {}", made.leaves.len()))
        );
        let _ = writeln!(
            ddl,
            "create table {leaf} partition of {} {tail};",
            made.name
        );
        if keyless {
            let _ = writeln!(ddl, "alter table {leaf} replica identity full;");
        }
        made.leaves.push(leaf);
    };
    leaf(ddl, "for values from (minvalue) to (30)", made);
    leaf(ddl, "for values from (30) to (60)", made);
    leaf(ddl, "default", made);
    let below = format!("s.{}", name(&format!("below{number}")));
    let _ = writeln!(
        ddl,
        "create table {below} partition of {table} for values from (60) to (100) partition by list (id);
         create table s.{list} partition of {below} for values in (60, 61, 62, 63, 64, 65);
         create table s.{rest} partition of {below} default;",
        list = name(&format!("list{number}")),
        rest = name(&format!("rest{number}")),
    );
    if keyless {
        let _ = writeln!(
            ddl,
            "alter table {table} replica identity full; alter table {below} replica identity full;
             alter table s.{} replica identity full; alter table s.{} replica identity full;",
            name(&format!("list{number}")),
            name(&format!("rest{number}"))
        );
    } else {
        made.key = names(&["id"]);
    }
}

impl Schema {
    pub fn random(dice: &mut Dice) -> Self {
        let mut ddl = format!("{}create schema \"Odd \"\"schema\";\n", values::PRELUDE);
        let mut tables = Vec::new();
        let mut numbers: Vec<usize> = (0..KINDS).collect();
        // Few tables meet more often.
        for _ in 0..3 + dice.below(6) {
            let at = dice.below(numbers.len());
            let number = numbers.swap_remove(at);
            let made = table(dice, number, &mut ddl);
            if number == 11 {
                let mut parent = Table::new("public", "parent11");
                parent.add("id", ColumnKind::KeyNumber);
                parent
                    .columns
                    .push(Column::new("v", ColumnKind::Of(&TYPES[0])));
                parent.key = names(&["id"]);
                tables.push(parent);
            }
            tables.push(made);
        }
        if dice.chance(1, 3)
            && let Some(of) = tables.iter().find(|table| table.key.len() == 1)
        {
            let mut view = Table::new("public", "a view");
            view.is_view = true;
            let _ = writeln!(
                ddl,
                "create materialized view {view} as select {key} as id from {table};
                 create unique index on {view} (id);",
                view = view.name,
                key = of.key[0],
                table = of.name
            );
            tables.push(view);
        }
        if dice.chance(1, 5) {
            ddl.push_str("create unlogged table unlogged (id int primary key);\n");
        }
        Self { ddl, tables }
    }
}
