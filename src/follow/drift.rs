//! What became of the source's tables since the follow was set up: changes of their shape are no changes
//! of rows, and are not received.
//!
//! Pure but for one look at the source. What is found is told before the first row that does not fit the
//! target, with what the target needs.

use super::selection::source_tables;
use super::source_table::{Identity, SourceTable, SourceTables};
use crate::error::Result;
use crate::pg::{PgSession, quote};

/// What is said of another identity: at the begin, and at the end where all columns are it.
const OTHER_IDENTITY: &str = "has another replica identity";
const NOW_FULL: &str = "full now";

/// What is different now.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Drift {
    /// The table, quoted.
    pub table: String,
    /// What was and what is, and what to do.
    pub what: String,
}

/// Looks at the source and compares it with what was recorded.
pub fn look(session: &mut PgSession, recorded: &SourceTables) -> Result<Vec<Drift>> {
    Ok(compare(recorded, source_tables(session)?))
}

/// The same, and the tables whose rows were changed in a way that nothing follows.
pub fn look_with_rows(session: &mut PgSession, recorded: &SourceTables) -> Result<Vec<Drift>> {
    let now = source_tables(session)?;
    let mut found = unfollowed(recorded, &now);
    found.extend(compare(recorded, now));
    Ok(found)
}

/// Tables whose rows were told by columns that do not tell them any more, though they are there. The text of
/// `test_decoding` does not say which columns do: a change may be taken for one of another row.
pub fn misleading(found: &[Drift], recorded: &SourceTables) -> Option<Drift> {
    let is_key = |table: &SourceTable| matches!(table.identity, Identity::Key(_));
    let of = |drift: &Drift| recorded.all().find(|table| name_of(table) == drift.table);
    found
        .iter()
        .filter(|drift| drift.what.starts_with(OTHER_IDENTITY) && !drift.what.ends_with(NOW_FULL))
        .find(|drift| {
            // One of a column that was renamed or dropped is missed where it is looked for.
            let lost = |other: &&Drift| {
                other.table == drift.table && other.what.starts_with("has no column")
            };
            of(drift).is_some_and(is_key) && !found.iter().any(|other| lost(&other))
        })
        .cloned()
}

/// Tables without identity that had rows updated or deleted. The server counts what was rolled back, too, and
/// late: what is said must not claim more.
fn unfollowed(recorded: &SourceTables, now: &[SourceTable]) -> Vec<Drift> {
    let rewritten = |after: &SourceTable| {
        let before = recorded.get(&after.schema, &after.name)?;
        let since = after.rewritten? - before.rewritten?;
        let is_same = before.oid == after.oid && before.identity == Identity::Nothing;
        (is_same && !before.excluded && since > 0).then_some(since)
    };
    now.iter()
        .filter_map(|after| {
            // The count of those that follow is left out: it grows, and each drift is told once.
            rewritten(after).map(|_| Drift {
                table: name_of(after),
                what: "had rows updated or deleted while nothing told which, or while its publication left that \
                       out: what is missing on the target only \"pgcopydb compare data\" shows; copy the table again"
                    .to_owned(),
            })
        })
        .collect()
}

fn name_of(table: &SourceTable) -> String {
    quote::qualified(&table.schema, &table.name)
}

fn compare(recorded: &SourceTables, now: Vec<SourceTable>) -> Vec<Drift> {
    let now: SourceTables = now.into_iter().collect();
    let mut found: Vec<Drift> = Vec::new();
    let mut tell = |table: &SourceTable, what: String| {
        found.push(Drift {
            table: name_of(table),
            what,
        });
    };
    for before in recorded.all().filter(|table| !table.excluded) {
        match now.get(&before.schema, &before.name) {
            None => tell(
                before,
                "is gone or has another name: its changes do not come any more, or under a name that the target \
                 does not know"
                    .to_owned(),
            ),
            Some(after) => {
                if before.oid != 0 && after.oid != 0 && before.oid != after.oid {
                    let what = "is another table of that name now: the rows that it had before it got the name do not \
                                come; copy the table again";
                    tell(before, what.to_owned());
                }
                for what in columns(before, after) {
                    tell(before, what);
                }
                if before.identity != after.identity {
                    tell(
                        before,
                        format!(
                            "{OTHER_IDENTITY}: {} before, {} now",
                            identity(&before.identity),
                            identity(&after.identity)
                        ),
                    );
                }
            }
        }
    }
    for after in now.all() {
        if recorded.get(&after.schema, &after.name).is_some() {
            continue;
        }
        let what = match &after.root {
            Some(root) => format!(
                "is a new partition of {}: its rows are applied there, and need a partition with room for them",
                quote::qualified(&root.0, &root.1)
            ),
            None => {
                "was made since: it was not copied, and its changes are not followed".to_owned()
            }
        };
        tell(after, what);
    }
    found.sort();
    found
}

fn identity(identity: &Identity) -> String {
    match identity {
        Identity::Key(columns) => format!("({})", columns.join(", ")),
        Identity::Full => "full".to_owned(),
        Identity::Nothing => "nothing".to_owned(),
    }
}

fn columns(before: &SourceTable, after: &SourceTable) -> Vec<String> {
    let mut found = Vec::new();
    let table = name_of(before);
    for column in &after.columns {
        match before.columns.iter().find(|one| one.name == column.name) {
            None => {
                let column_type = column.data_type.as_deref().unwrap_or("...");
                found.push(format!(
                    "has a new column \"{}\"; before its first row comes, run on the target: alter table {table} add \
                     column {} {column_type}",
                    column.name,
                    quote::ident(&column.name)
                ));
            }
            Some(one) if one.data_type.is_some() && one.data_type != column.data_type => {
                let shown = |text: &Option<String>| text.clone().unwrap_or_default();
                found.push(format!(
                    "has another type of column \"{}\": {} before, {} now; rows that were rewritten do not come: copy \
                     the table again",
                    column.name,
                    shown(&one.data_type),
                    shown(&column.data_type)
                ));
            }
            Some(one) if one.generated != column.generated => found.push(format!(
                "has a column \"{}\" that is {} generated now",
                column.name,
                if column.generated { "" } else { "not" }
            )),
            Some(_) => {}
        }
    }
    for column in &before.columns {
        if !after.columns.iter().any(|one| one.name == column.name) {
            found.push(format!(
                "has no column \"{0}\" any more, or under another name; a column of the target that must not be null \
                 stops its rows: alter table {table} alter column {1} drop not null",
                column.name,
                quote::ident(&column.name)
            ));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::follow::source_table::Column;

    fn table(name: &str, columns: &[(&str, &str)], root: Option<&str>) -> SourceTable {
        SourceTable {
            oid: 0,
            schema: "s".to_owned(),
            name: name.to_owned(),
            columns: columns
                .iter()
                .map(|(name, data_type)| Column {
                    name: (*name).to_owned(),
                    generated: false,
                    data_type: Some((*data_type).to_owned()),
                })
                .collect(),
            identity: Identity::Key(vec!["id".to_owned()]),
            root: root.map(|root| ("s".to_owned(), root.to_owned())),
            excluded: false,
            rewritten: None,
        }
    }

    #[test]
    fn each_change_of_shape_is_told_once_with_both_shapes() {
        let id = ("id", "integer");
        let recorded: SourceTables = [
            table("same", &[id], None),
            table("gone", &[id], None),
            table("other", &[id, ("v", "text"), ("old", "text")], None),
        ]
        .into_iter()
        .collect();
        let mut full = table("same", &[id], None);
        full.identity = Identity::Full;
        let now = vec![
            full,
            table("other", &[id, ("v", "bytea"), ("new", "date")], None),
            table("leaf", &[id], Some("root")),
            table("fresh", &[id], None),
        ];
        let found: Vec<String> = compare(&recorded, now)
            .into_iter()
            .map(|drift| format!("{} {}", drift.table, drift.what))
            .collect();
        let wanted = [
            "\"s\".\"fresh\" was made since",
            "\"s\".\"gone\" is gone or",
            "\"s\".\"leaf\" is a new partition of \"s\".\"root\"",
            "\"s\".\"other\" has a new column \"new\"; before its first row comes, run on the target: alter table \"s\".\"other\" add column \"new\" date",
            "\"s\".\"other\" has another type of column \"v\": text before, bytea now",
            "\"s\".\"other\" has no column \"old\" any more",
            "\"s\".\"same\" has another replica identity: (id) before, full now",
        ];
        assert_eq!(found.len(), wanted.len(), "{found:#?}");
        for (found, wanted) in found.iter().zip(wanted) {
            assert!(found.starts_with(wanted), "{found}");
        }
    }
}
