//! Random schemas: objects in the order in which they are made, each with what it needs.

use std::fmt::Write as _;

/// A small generator of numbers (splitmix64): the same seed, the same schema.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`.
    pub(super) fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(n.max(1)).unwrap()).unwrap()
    }

    /// True once in `n` times.
    pub(super) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub(super) fn pick<T: Clone>(&mut self, of: &[T]) -> Option<T> {
        (!of.is_empty()).then(|| of[self.below(of.len())].clone())
    }
}

/// What an object is, as far as filters tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Schema,
    Extension,
    /// With rows, or partitioned.
    Table,
    View,
    Matview,
    Index,
    /// Of a schema: types, functions, sequences.
    Support,
    /// Of no schema: keys, triggers, ownerships, attachments, ...
    Loose,
}

pub(super) struct Object {
    pub(super) kind: Kind,
    pub(super) schema: usize,
    pub(super) name: String,
    /// Statements that make it, without its rows.
    pub(super) make: String,
    /// Statements that fill it, and say the rest that needs rows.
    pub(super) fill: String,
    /// What it cannot be made without.
    pub(super) needs: Vec<usize>,
    /// Of a partition: the partitioned table. Of its index: that table's index.
    pub(super) parent: Option<usize>,
    pub(super) is_partitioned: bool,
    /// Of a foreign key: both tables.
    pub(super) key: Option<(usize, usize)>,
}

/// A database as a list of objects in the order in which they are made.
pub(super) struct Model {
    pub(super) objects: Vec<Object>,
    pub(super) dice: Dice,
}

pub(super) fn ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

impl Model {
    pub(super) fn new(seed: u64) -> Self {
        let mut model = Self {
            objects: Vec::new(),
            dice: Dice(seed),
        };
        model.schemas();
        for _ in 0..3 + model.dice.below(5) {
            model.support();
        }
        for _ in 0..3 + model.dice.below(5) {
            match model.dice.below(5) {
                0 => model.partitioned(),
                _ => model.table(),
            }
            if model.dice.one_in(3) {
                model.support();
            }
        }
        for _ in 0..6 + model.dice.below(14) {
            model.hanging();
        }
        model
    }

    pub(super) fn push(
        &mut self,
        (kind, schema): (Kind, usize),
        name: &str,
        make: String,
        needs: &[usize],
    ) -> usize {
        self.objects.push(Object {
            kind,
            schema,
            name: name.to_owned(),
            make,
            fill: String::new(),
            needs: needs.to_vec(),
            parent: None,
            is_partitioned: false,
            key: None,
        });
        self.objects.len() - 1
    }

    pub(super) fn of(&self, kinds: &[Kind]) -> Vec<usize> {
        let numbered = self.objects.iter().enumerate();
        numbered
            .filter(|(_, o)| kinds.contains(&o.kind))
            .map(|(n, _)| n)
            .collect()
    }

    /// Support objects whose names begin so.
    pub(super) fn supports(&self, prefix: &str) -> Vec<usize> {
        let all = self.of(&[Kind::Support]).into_iter();
        all.filter(|n| self.objects[*n].name.starts_with(prefix))
            .collect()
    }

    pub(super) fn qname(&self, object: usize) -> String {
        let o = &self.objects[object];
        format!("{}.{}", ident(&self.objects[o.schema].name), ident(&o.name))
    }

    /// A name that is not taken, sometimes an odd one.
    pub(super) fn name(&mut self, prefix: &str) -> String {
        let number = self.objects.len();
        match self.dice.below(6) {
            0 => format!("{prefix}_{number} Odd.\"x"),
            1 => format!("{prefix}_{number}_Caps"),
            _ => format!("{prefix}_{number}"),
        }
    }

    pub(super) fn any_schema(&mut self) -> usize {
        let schemas = self.of(&[Kind::Schema]);
        self.dice.pick(&schemas).unwrap()
    }

    pub(super) fn schemas(&mut self) {
        self.push((Kind::Schema, 0), "public", String::new(), &[]);
        for number in 1..2 + self.dice.below(3) {
            let name = if number == 2 {
                "S Two".to_owned()
            } else {
                format!("s{number}")
            };
            let make = format!(
                "create schema {0}; comment on schema {0} is 'c';",
                ident(&name)
            );
            self.push((Kind::Schema, number), &name, make, &[]);
        }
        if self.dice.one_in(3) {
            let schema = self.any_schema();
            let make = format!(
                "create extension hstore schema {};",
                ident(&self.objects[schema].name)
            );
            self.push((Kind::Extension, schema), "hstore", make, &[schema]);
        }
    }

    /// A type, function, sequence, domain or collation.
    pub(super) fn support(&mut self) {
        let schema = self.any_schema();
        let what = self.dice.below(7);
        let prefix = ["enum", "row", "dom", "fun", "seq", "coll", "trf"][what];
        let name = self.name(prefix);
        let q = format!("{}.{}", ident(&self.objects[schema].name), ident(&name));
        let mut needs = vec![schema];
        let make = match what {
            0 => format!("create type {q} as enum ('a', 'b'); comment on type {q} is 'c';"),
            1 => {
                let (of, more) = self.borrowed("enum", "integer");
                needs.extend(more);
                format!("create type {q} as (x {of}, y integer);")
            }
            2 => match self.borrow("fun") {
                Some(function) => {
                    needs.push(function);
                    format!(
                        "create domain {q} as integer check ({}(value) > 0);",
                        self.qname(function)
                    )
                }
                None => format!("create domain {q} as integer default 7;"),
            },
            3 => format!(
                "create function {q}(integer) returns integer language sql immutable as 'select $1 + 1';\
                 grant execute on function {q}(integer) to public;"
            ),
            4 => format!("create sequence {q} start 3;"),
            5 => format!("create collation {q} from \"C\";"),
            _ => format!(
                "create function {q}() returns trigger language plpgsql as 'begin return new; end';"
            ),
        };
        let support = self.push((Kind::Support, schema), &name, make, &needs);
        if what == 4 {
            self.objects[support].fill = format!("select setval('{}', 42);", q.replace('\'', "''"));
        }
    }

    pub(super) fn borrow(&mut self, prefix: &str) -> Option<usize> {
        let all = self.supports(prefix);
        self.dice.pick(&all)
    }

    /// The name of some type, and what it needs.
    pub(super) fn borrowed(&mut self, prefix: &str, otherwise: &str) -> (String, Option<usize>) {
        match self.borrow(prefix) {
            Some(object) => (self.qname(object), Some(object)),
            None => (otherwise.to_owned(), None),
        }
    }

    /// A table of some columns, with a key, and rows.
    pub(super) fn table(&mut self) {
        let schema = self.any_schema();
        let name = self.name("tab");
        let q = format!("{}.{}", ident(&self.objects[schema].name), ident(&name));
        let mut needs = vec![schema];
        let mut columns = vec!["id integer not null".to_owned(), "a integer".to_owned()];
        let mut given = vec!["i".to_owned(), "i % 3 + 1".to_owned()];
        for number in 0..self.dice.below(5) {
            if let Some((column, value, need)) = self.column(number) {
                columns.push(column);
                given.push(value);
                needs.extend(need);
            }
        }
        let plain: Vec<usize> = self
            .of(&[Kind::Table])
            .into_iter()
            .filter(|t| !self.objects[*t].is_partitioned && self.objects[*t].parent.is_none())
            .collect();
        let parent = self.dice.pick(&plain).filter(|_| self.dice.one_in(6));
        let mut make = if let Some(parent) = parent {
            needs = vec![schema, parent];
            given.truncate(2);
            format!(
                "create table {q} (own integer) inherits ({});",
                self.qname(parent)
            )
        } else {
            format!("create table {q} ({});", columns.join(", "))
        };
        let _ = write!(
            make,
            " comment on table {q} is 'c'; comment on column {q}.a is 'd'; grant select on {q} to public;"
        );
        let table = self.push((Kind::Table, schema), &name, make, &needs);
        // Columns of a parent come first, and only these two are known.
        let names: Vec<String> = if parent.is_some() {
            vec!["id".to_owned(), "a".to_owned()]
        } else {
            let names = columns
                .iter()
                .map(|c| c.split(' ').next().unwrap().to_owned());
            names.collect()
        };
        let filled: Vec<(String, String)> = names
            .into_iter()
            .zip(given)
            .filter(|(_, value)| value != "generated")
            .collect();
        let (names, values): (Vec<String>, Vec<String>) = filled.into_iter().unzip();
        let rows = 3 + self.dice.below(17);
        self.objects[table].fill = format!(
            "insert into {q} ({}) select {} from generate_series(1, {rows}) i;",
            names.join(", "),
            values.join(", ")
        );
        self.key(table, None);
        if parent.is_none() && self.dice.one_in(3) {
            self.serial(table);
        }
    }

    /// A column that needs something: its definition, its value, what it needs.
    pub(super) fn column(&mut self, number: usize) -> Option<(String, String, Option<usize>)> {
        let c = format!("c{number}");
        let (prefix, value) = [
            ("enum", "'a'"),
            ("row", "null"),
            ("dom", "5"),
            ("fun", "9"),
            ("fun", "generated"),
            ("seq", "i"),
            ("coll", "'x'"),
            ("fun", "8"),
            ("tab", "null"),
            ("hstore", "'a=>1'"),
        ][self.dice.below(10)];
        let need = match prefix {
            "tab" => {
                let tables = self.of(&[Kind::Table]);
                self.dice.pick(&tables).filter(|_| self.dice.one_in(4))?
            }
            "hstore" => self.of(&[Kind::Extension]).first().copied()?,
            _ => self.borrow(prefix)?,
        };
        let q = self.qname(need);
        let column = match (prefix, value) {
            ("fun", "9") => format!("{c} integer default {q}(3)"),
            ("fun", "8") => format!("{c} integer check ({q}({c}) > 1)"),
            ("fun", _) => format!("{c} integer generated always as ({q}(a)) stored"),
            ("seq", _) => format!("{c} bigint default nextval('{}')", q.replace('\'', "''")),
            ("coll", _) => format!("{c} text collate {q}"),
            _ => format!("{c} {q}"),
        };
        Some((column, value.to_owned(), Some(need)))
    }

    /// A primary key under a name of its own.
    pub(super) fn key(&mut self, table: usize, parent: Option<usize>) -> usize {
        let (schema, name) = (self.objects[table].schema, self.name("pk"));
        let make = format!(
            "alter table only {} add constraint {} primary key (id);",
            self.qname(table),
            ident(&name)
        );
        let make = if self.objects[table].is_partitioned {
            make.replace("only ", "")
        } else {
            make
        };
        let key = self.push((Kind::Index, schema), &name, make, &[table]);
        self.objects[key].parent = parent;
        key
    }

    /// A column whose values come from a sequence that it owns; another table may use it, too.
    pub(super) fn serial(&mut self, table: usize) {
        let (schema, name) = (self.objects[table].schema, self.name("seq"));
        let q = format!("{}.{}", ident(&self.objects[schema].name), ident(&name));
        let make = format!("create sequence {q};");
        let sequence = self.push((Kind::Support, schema), &name, make, &[schema]);
        self.objects[sequence].fill =
            format!("select setval('{}', 17, false);", q.replace('\'', "''"));
        let make = format!("alter sequence {q} owned by {}.a;", self.qname(table));
        let owner = self.push((Kind::Loose, 0), "owned by", make, &[sequence, table]);
        self.objects[owner].key = Some((sequence, table));
    }

    pub(super) fn partitioned(&mut self) {
        let schema = self.any_schema();
        let name = self.name("tab");
        let q = format!("{}.{}", ident(&self.objects[schema].name), ident(&name));
        let make =
            format!("create table {q} (id integer not null, a integer) partition by range (id);");
        let table = self.push((Kind::Table, schema), &name, make, &[schema]);
        self.objects[table].is_partitioned = true;
        let key = self.key(table, None);
        for number in 0..2 {
            let home = if self.dice.one_in(3) {
                self.any_schema()
            } else {
                schema
            };
            let leaf_name = self.name("tab");
            let leaf_q = format!("{}.{}", ident(&self.objects[home].name), ident(&leaf_name));
            let make = format!("create table {leaf_q} (id integer not null, a integer);");
            let leaf = self.push((Kind::Table, home), &leaf_name, make, &[home]);
            self.objects[leaf].parent = Some(table);
            self.objects[leaf].fill = format!(
                "insert into {leaf_q} select {0} * 10 + i, i % 3 + 1 from generate_series(0, {1}) i;",
                number,
                3 + self.dice.below(7)
            );
            self.key(leaf, Some(key));
            let make = format!(
                "alter table {q} attach partition {leaf_q} for values from ({}) to ({});",
                number * 10,
                number * 10 + 10
            );
            self.push((Kind::Loose, 0), "attach", make, &[leaf, table]);
        }
    }

    /// Something that hangs on a table: a view, index, foreign key, trigger, policy, ...
    pub(super) fn hanging(&mut self) {
        let tables = self.of(&[Kind::Table]);
        let readable = self.of(&[Kind::Table, Kind::View, Kind::Matview]);
        let table = self.dice.pick(&tables).unwrap();
        let q = self.qname(table);
        match self.dice.below(13) {
            0..=2 => self.view(&readable),
            3 | 4 => self.foreign_key(table, &tables),
            5 | 6 => self.index(table),
            7 => {
                if let Some(function) = self.borrow("trf") {
                    let name = self.name("tr");
                    let make = format!(
                        "create trigger {} after insert on {q} for each row execute function {}();",
                        ident(&name),
                        self.qname(function)
                    );
                    self.push((Kind::Loose, 0), &name, make, &[table, function]);
                }
            }
            8 => {
                let other = self.dice.pick(&readable).unwrap();
                let name = self.name("pol");
                let make = format!(
                    "create policy {} on {q} using (exists (select 1 from {}));",
                    ident(&name),
                    self.qname(other)
                );
                self.push((Kind::Loose, 0), &name, make, &[table, other]);
            }
            9 => {
                let (schema, name) = (self.any_schema(), self.name("stat"));
                let s = format!("{}.{}", ident(&self.objects[schema].name), ident(&name));
                let make = format!("create statistics {s} on id, a from {q};");
                self.push((Kind::Support, schema), &name, make, &[table, schema]);
            }
            10 => {
                let name = self.name("pub");
                let publication = self.push(
                    (Kind::Loose, 0),
                    &name,
                    format!("create publication {};", ident(&name)),
                    &[],
                );
                let make = format!("alter publication {} add table only {q};", ident(&name));
                self.push((Kind::Loose, 0), "member", make, &[publication, table]);
            }
            11 => {
                let (schema, name) = (self.any_schema(), self.name("fut"));
                let f = format!("{}.{}", ident(&self.objects[schema].name), ident(&name));
                let make =
                    format!("create function {f}({q}) returns integer language sql as 'select 1';");
                self.push((Kind::Support, schema), &name, make, &[table, schema]);
            }
            _ => {
                let other = self.dice.pick(&tables).unwrap();
                if !self.objects[table].is_partitioned {
                    let name = self.name("rule");
                    let make = format!(
                        "create rule {} as on delete to {q} do also delete from {};",
                        ident(&name),
                        self.qname(other)
                    );
                    self.push((Kind::Loose, 0), &name, make, &[table, other]);
                }
            }
        }
    }

    pub(super) fn view(&mut self, readable: &[usize]) {
        let (schema, name) = (self.any_schema(), self.name("view"));
        let q = format!("{}.{}", ident(&self.objects[schema].name), ident(&name));
        let one = self.dice.pick(readable).unwrap();
        let other = self.dice.pick(readable).unwrap();
        let mut needs = vec![one, other, schema];
        let value = match self.borrow("fun").filter(|_| self.dice.one_in(2)) {
            Some(function) => {
                needs.push(function);
                format!("{}(max(o.id)::integer)", self.qname(function))
            }
            None => "count(*)::integer".to_owned(),
        };
        let select = format!(
            "select o.id, {value} as a from {} o join {} r on r.id = o.id group by o.id",
            self.qname(one),
            self.qname(other)
        );
        if self.dice.one_in(3) {
            let make = format!("create materialized view {q} as {select} with no data;");
            let view = self.push((Kind::Matview, schema), &name, make, &needs);
            self.objects[view].fill = format!("refresh materialized view {q};");
            if self.dice.one_in(2) {
                let index = self.name("idx");
                let make = format!("create index {} on {q} (id);", ident(&index));
                self.push((Kind::Index, schema), &index, make, &[view]);
            }
        } else {
            let make = format!("create view {q} as {select}; comment on view {q} is 'c';");
            self.push((Kind::View, schema), &name, make, &needs);
        }
    }

    pub(super) fn foreign_key(&mut self, table: usize, tables: &[usize]) {
        let referenced = self.dice.pick(tables).unwrap();
        // Rows refer to 1, 2 and 3, which not every partition has; and the server makes one of two equal
        // keys, of a partition and of its parent.
        let partitions = [table, referenced];
        if partitions.iter().any(|t| self.objects[*t].parent.is_some()) {
            return;
        }
        let keys = self.of(&[Kind::Index]);
        let key = keys.into_iter().find(|k| {
            self.objects[*k].needs == [referenced] && self.objects[*k].name.starts_with("pk")
        });
        let Some(key) = key else {
            return;
        };
        let name = self.name("fk");
        let only = if self.objects[table].is_partitioned {
            ""
        } else {
            "only"
        };
        let make = format!(
            "alter table {only} {} add constraint {} foreign key (a) references {}",
            self.qname(table),
            ident(&name),
            self.qname(referenced)
        );
        // Without one of the partitions, rows may refer to nothing.
        let needs = [vec![table, key], self.tree(referenced)].concat();
        let fk = self.push((Kind::Loose, 0), &name, make, &needs);
        self.objects[fk].key = Some((table, referenced));
    }

    pub(super) fn index(&mut self, table: usize) {
        if self.objects[table].is_partitioned || self.objects[table].parent.is_some() {
            return;
        }
        let (schema, name) = (self.objects[table].schema, self.name("idx"));
        let mut needs = vec![table];
        let on = match self.borrow("fun").filter(|_| self.dice.one_in(2)) {
            Some(function) => {
                needs.push(function);
                format!("({}(a))", self.qname(function))
            }
            None => "a, id".to_owned(),
        };
        let make = format!(
            "create index {} on {} ({on});",
            ident(&name),
            self.qname(table)
        );
        self.push((Kind::Index, schema), &name, make, &needs);
    }
}
