//! Publications for pgoutput: made before the slot, never in the way of the source's application.
//!
//! Runs in leaf processes. A table in a publication that publishes updates and that has no replica
//! identity makes the application's own UPDATE and DELETE fail. So there are up to three
//! publications of ours: `<slot>` for tables with an identity, `<slot>_noid` with INSERT and TRUNCATE
//! for those without, and, on PostgreSQL 18, `<slot>_gen` for tables whose identity holds a stored
//! generated column.

use crate::error::{Error, Kind, Result};
use crate::pg::PgSession;
use crate::pg::quote::ident;
use crate::units::PgVersion;

/// A table that could be published.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "facts of a table that do not depend on each other"
)]
pub struct Candidate {
    /// Its oid.
    pub oid: i64,
    /// Quoted, schema-qualified.
    pub qname: String,
    /// It is a partitioned table.
    pub is_partitioned: bool,
    /// Topmost partitioned ancestor, 0: none.
    pub root: i64,
    /// UPDATE and DELETE tell which row is meant.
    pub has_identity: bool,
    /// `n`, `s` or `v`: the kind of a generated column in the identity.
    pub generated: String,
    /// It is not logged, so its changes cannot be followed.
    pub is_unlogged: bool,
    /// The role may publish it.
    pub is_owned: bool,
    /// Filters leave it out.
    pub is_excluded: bool,
}

/// A publication to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its name.
    pub name: String,
    /// Tables as they stand in `FOR TABLE`.
    pub tables: Vec<String>,
    /// `WITH (…)`.
    pub options: &'static str,
}

/// What is to be published how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Publications, the main one always among them.
    pub wanted: Vec<Wanted>,
    /// Tables whose UPDATE and DELETE will not be seen.
    pub without_identity: Vec<String>,
    /// Tables that cannot be followed at all.
    pub unlogged: Vec<String>,
    /// Tables that the role may not publish.
    pub not_owned: Vec<String>,
}

/// The tables that could be published.
pub fn candidates(session: &mut PgSession) -> Result<Vec<Candidate>> {
    let rows = session.query(include_str!("sql/list_publishable.sql"), &[])?;
    Ok(rows
        .iter()
        .map(|row| Candidate {
            oid: row.get("oid"),
            qname: row.get("qname"),
            is_partitioned: row.get::<_, String>("relkind") == "p",
            root: row.get("root_oid"),
            has_identity: row.get("has_identity"),
            generated: row.get("generated_identity"),
            is_unlogged: row.get("is_unlogged"),
            is_owned: row.get("is_owned"),
            is_excluded: false,
        })
        .collect())
}

/// Which of our publications a table belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kin {
    Keyed,
    Keyless,
    Generated,
}

fn kin(table: &Candidate, version: PgVersion) -> Kin {
    let is_new = version >= PgVersion(180_000);
    match table.generated.as_str() {
        _ if !table.has_identity => Kin::Keyless,
        "s" if is_new => Kin::Generated,
        "v" if is_new => Kin::Keyless,
        _ => Kin::Keyed,
    }
}

/// Plans the publications of a slot. Pure.
pub fn plan(slot: &str, tables: &[Candidate], version: PgVersion) -> Plan {
    let mut plan = Plan::default();
    let mut lists: [Vec<String>; 3] = Default::default();
    // A root stands for its leaves, also those that come later, when all are of one kind: before 13
    // it cannot, and a leaf without identity would break the source's UPDATE of that leaf. One that is
    // left out would be there with it.
    let roots_allowed = version >= PgVersion(130_000);
    let leaves_of = |root: i64| {
        tables
            .iter()
            .filter(move |table| table.root == root && !table.is_partitioned)
    };
    let stands_for_leaves = |root: &Candidate| {
        let of_root = kin(root, version);
        let is_alike = |leaf: &Candidate| {
            kin(leaf, version) == of_root && !leaf.is_unlogged && !leaf.is_excluded
        };
        roots_allowed && !root.is_excluded && leaves_of(root.oid).all(is_alike)
    };
    for table in tables.iter().filter(|table| !table.is_excluded) {
        let root = tables.iter().find(|other| other.oid == table.root);
        let is_covered = root.is_some_and(stands_for_leaves);
        if table.is_unlogged && !table.is_partitioned {
            plan.unlogged.push(table.qname.clone());
            continue;
        }
        let kin = kin(table, version);
        if kin == Kin::Keyless && !table.is_partitioned {
            plan.without_identity.push(table.qname.clone());
        }
        let is_listed = if table.is_partitioned {
            table.root == 0 && stands_for_leaves(table)
        } else {
            !is_covered
        };
        if !is_listed {
            continue;
        }
        if !table.is_owned {
            plan.not_owned.push(table.qname.clone());
        }
        let text = if table.is_partitioned {
            table.qname.clone()
        } else {
            format!("ONLY {}", table.qname)
        };
        match kin {
            Kin::Keyed => lists[0].push(text),
            Kin::Keyless => lists[1].push(text),
            Kin::Generated => lists[2].push(text),
        }
    }
    let truncates = version >= PgVersion(110_000);
    let [keyed, keyless, generated] = lists;
    let all_actions = if truncates {
        "publish = 'insert, update, delete, truncate'"
    } else {
        "publish = 'insert, update, delete'"
    };
    let [main, noid, generated_name] = names_of(slot);
    plan.wanted.push(Wanted {
        name: main,
        tables: keyed,
        options: all_actions,
    });
    if !keyless.is_empty() {
        plan.wanted.push(Wanted {
            name: noid,
            tables: keyless,
            options: if truncates {
                "publish = 'insert, truncate'"
            } else {
                "publish = 'insert'"
            },
        });
    }
    if !generated.is_empty() {
        plan.wanted.push(Wanted {
            name: generated_name,
            tables: generated,
            options: "publish = 'insert, update, delete, truncate', publish_generated_columns = stored",
        });
    }
    plan
}

/// Names that publications of ours for a slot can have.
pub fn names_of(slot: &str) -> [String; 3] {
    [
        slot.to_owned(),
        format!("{slot}_noid"),
        format!("{slot}_gen"),
    ]
}

impl Wanted {
    /// The statement that makes it.
    pub fn statement(&self) -> String {
        let tables = if self.tables.is_empty() {
            String::new()
        } else {
            format!(" FOR TABLE {}", self.tables.join(", "))
        };
        format!(
            "CREATE PUBLICATION {}{tables} WITH ({})",
            ident(&self.name),
            self.options
        )
    }
}

/// Makes the planned publications, all or none.
pub fn create(session: &mut PgSession, plan: &Plan) -> Result<()> {
    let statements: Vec<String> = plan.wanted.iter().map(Wanted::statement).collect();
    // A standby's session and a role's setting may say read only; the profile has taken that back.
    let sql = format!("begin; {}; commit", statements.join("; "));
    session.batch_execute(&sql).map_err(|error| {
        let _ended = session.batch_execute("rollback");
        let list = statements.join(";\n");
        let hint = match error.sqlstate() {
            Some("42710") => {
                "A publication of that name exists: use another --slot-name, name it with \
                 --publication, or drop it."
            }
            _ => {
                "Have an administrator of the source run the statements above and name the \
                 publications with --publication, or use --plugin test_decoding."
            }
        };
        error
            .context("creating the publications on the source")
            .detail(format!("{list};"))
            .hint(hint)
    })
}

/// Refuses a publication of the user that does not publish everything.
pub fn check_given(session: &mut PgSession, name: &str, excluded: &[i64]) -> Result<()> {
    let row = session.query_opt(
        "select pubinsert and pubupdate and pubdelete and \
         coalesce((pg_catalog.to_jsonb(p) ->> 'pubtruncate')::bool, true) \
         from pg_catalog.pg_publication p where pubname = $1",
        &[&name],
    )?;
    let Some(row) = row else {
        return Err(Error::new(
            Kind::Source,
            format!("publication \"{name}\" does not exist on the source"),
        )
        .hint("Give the name of an existing one, or leave --publication out."));
    };
    if !row.get::<_, bool>(0) {
        return Err(Error::new(
            Kind::Source,
            format!(
                "publication \"{name}\" does not publish all of insert, update, delete and truncate"
            ),
        )
        .hint(
            "Changes that it leaves out would be lost: ALTER PUBLICATION ... SET (publish = ...).",
        ));
    }
    let rows = session.query(
        "select pg_catalog.format('%I.%I', n.nspname, c.relname) \
           from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
          where c.relkind = 'r' and c.relpersistence = 'p' and n.nspname !~ '^pg_' \
            and n.nspname not in ('information_schema', 'pgcopydb') and not c.oid::int8 = any ($2) \
            and not exists (select 1 from pg_catalog.pg_publication_tables t \
                             where t.pubname = $1 and ((t.schemaname, t.tablename) = (n.nspname, c.relname) \
                                or exists (select 1 from pg_catalog.pg_inherits i where i.inhrelid = c.oid))) \
          order by 1 limit 20",
        &[&name, &excluded],
    )?;
    if rows.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    Err(Error::new(
        Kind::Source,
        format!("publication \"{name}\" does not publish all tables"),
    )
    .detail(format!("Missing: {}.", names.join(", ")))
    .hint(
        "Changes of tables that it leaves out would be lost: ALTER PUBLICATION ... ADD TABLE ...",
    ))
}

/// A publication as it is now, for comparison with what it was; none when it is gone.
pub fn fingerprint(session: &mut PgSession, name: &str) -> Result<Option<String>> {
    let row = session.query_opt(include_str!("sql/read_publication.sql"), &[&name])?;
    Ok(row.map(|row| format!("{} {}", row.get::<_, String>(0), row.get::<_, String>(1))))
}

/// The fingerprints of several publications, one a line.
pub fn fingerprints(session: &mut PgSession, names: &[String]) -> Result<String> {
    let mut lines = Vec::new();
    for name in names {
        let line = fingerprint(session, name)?.ok_or_else(|| gone(name))?;
        lines.push(format!("{name} {line}"));
    }
    Ok(lines.join("\n"))
}

fn gone(name: &str) -> Error {
    Error::new(
        Kind::Source,
        format!("publication \"{name}\" does not exist on the source any more"),
    )
    .detail("Changes made while it did not exist may be lost.")
    .hint("Begin a new migration; compare the data if changes were applied after that.")
}

/// Refuses publications that are not what they were: changes may have been left out.
pub fn check(session: &mut PgSession, names: &[String], recorded: &str) -> Result<()> {
    let now = fingerprints(session, names)?;
    if now == recorded {
        return Ok(());
    }
    // A table dropped on the source goes from its publication; nothing else may.
    let dropped_only = is_subset(&now, recorded) && {
        let before = oids(recorded);
        let after = oids(&now);
        let missing: Vec<i64> = before
            .into_iter()
            .filter(|oid| !after.contains(oid))
            .collect();
        let row = session.query_one(
            "select count(*) from pg_catalog.pg_class where oid::int8 = any ($1)",
            &[&missing],
        )?;
        row.get::<_, i64>(0) == 0
    };
    if dropped_only {
        return Ok(());
    }
    Err(Error::new(
        Kind::Source,
        "the publications on the source were changed while they were followed",
    )
    .detail(format!("Before:\n{recorded}\nNow:\n{now}"))
    .hint("Changes may be lost: begin a new migration, or compare the data."))
}

/// Oids of the members of all publications.
fn oids(fingerprints: &str) -> Vec<i64> {
    let mut found = Vec::new();
    for part in fingerprints.split("\"oid\": ").skip(1) {
        let digits: String = part.chars().take_while(char::is_ascii_digit).collect();
        found.extend(digits.parse::<i64>());
    }
    found
}

/// Whether both differ only in members that `less` lacks.
fn is_subset(less: &str, more: &str) -> bool {
    let head = |text: &str| -> Vec<String> {
        text.lines()
            .map(|line| line.split(" [").next().unwrap_or("").to_owned())
            .collect()
    };
    let more_oids = oids(more);
    head(less) == head(more) && oids(less).iter().all(|oid| more_oids.contains(oid))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(oid: i64, name: &str) -> Candidate {
        Candidate {
            oid,
            qname: format!("public.{name}"),
            is_partitioned: false,
            root: 0,
            has_identity: true,
            generated: "n".to_owned(),
            is_unlogged: false,
            is_owned: true,
            is_excluded: false,
        }
    }

    #[test]
    fn a_table_without_identity_publishes_no_updates() {
        let tables = [
            table(1, "keyed"),
            Candidate {
                has_identity: false,
                ..table(2, "bare")
            },
            Candidate {
                is_unlogged: true,
                ..table(3, "fast")
            },
        ];
        let plan = plan("s", &tables, PgVersion(150_000));
        let statements: Vec<String> = plan.wanted.iter().map(Wanted::statement).collect();
        assert_eq!(
            statements,
            [
                "CREATE PUBLICATION \"s\" FOR TABLE ONLY public.keyed WITH (publish = 'insert, update, delete, truncate')",
                "CREATE PUBLICATION \"s_noid\" FOR TABLE ONLY public.bare WITH (publish = 'insert, truncate')",
            ]
        );
        assert_eq!(plan.without_identity, ["public.bare"]);
        assert_eq!(plan.unlogged, ["public.fast"]);
    }

    #[test]
    fn a_root_stands_for_its_leaves_unless_one_of_them_has_no_identity() {
        let root = Candidate {
            is_partitioned: true,
            ..table(1, "root")
        };
        let leaf = |oid, name| Candidate {
            root: 1,
            ..table(oid, name)
        };
        let tables = [root.clone(), leaf(2, "a"), leaf(3, "b")];
        let lists = |tables: &[Candidate], version| -> Vec<Vec<String>> {
            let plan = plan("s", tables, PgVersion(version));
            plan.wanted
                .into_iter()
                .map(|wanted| wanted.tables)
                .collect()
        };
        assert_eq!(lists(&tables, 150_000), [["public.root"]]);
        assert_eq!(
            lists(&tables, 120_000),
            [["ONLY public.a", "ONLY public.b"]]
        );
        let mixed = [
            root,
            leaf(2, "a"),
            Candidate {
                has_identity: false,
                ..leaf(3, "b")
            },
        ];
        assert_eq!(
            lists(&mixed, 150_000),
            [["ONLY public.a"], ["ONLY public.b"]]
        );
    }

    #[test]
    fn generated_columns_in_an_identity_are_heeded_from_18_on() {
        let tables = [
            Candidate {
                generated: "s".to_owned(),
                ..table(1, "stored")
            },
            Candidate {
                generated: "v".to_owned(),
                ..table(2, "virtual")
            },
        ];
        let names = |version| -> Vec<String> {
            let plan = plan("s", &tables, PgVersion(version));
            plan.wanted.into_iter().map(|wanted| wanted.name).collect()
        };
        assert_eq!(names(150_000), ["s"]);
        assert_eq!(names(180_000), ["s", "s_noid", "s_gen"]);
    }

    #[test]
    fn only_members_that_are_gone_make_no_difference() {
        let before =
            "s {\"oid\": 9} [{\"oid\": 1, \"name\": \"a\"}, {\"oid\": 22, \"name\": \"b\"}]";
        let after = "s {\"oid\": 9} [{\"oid\": 22, \"name\": \"b\"}]";
        assert!(is_subset(after, before) && !is_subset(before, after));
        assert!(!is_subset(
            &after.replace("{\"oid\": 9}", "{\"oid\": 8}"),
            before
        ));
    }
}
