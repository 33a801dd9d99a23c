//! Whether the rows of a table fit into the table of the same name: columns, and what the roles may do.
//!
//! Pure. Every difference is named with both values; what only deserves a look is a warning.

use super::facts::{Column, Relation, Relations};

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Findings {
    /// Stop the run.
    pub(super) faults: Vec<String>,
    /// Do not.
    pub(super) warnings: Vec<String>,
}

impl Findings {
    fn fault(&mut self, text: String) {
        self.faults.push(text);
    }

    fn warn(&mut self, text: String) {
        self.warnings.push(text);
    }
}

/// Compares a selected table with the target's. `None` where the target has no table to copy into.
pub(super) fn relation<'t>(
    (source, from): (&Relations, &Relation),
    target: &'t Relations,
    findings: &mut Findings,
) -> Option<&'t Relation> {
    let name = from.shown();
    let Some(to) = target.named(&from.schema, &from.name) else {
        findings.fault(format!(
            "target: table {name} does not exist; migrate the target, or leave it out with --exclude"
        ));
        return None;
    };
    if to.kind != from.kind {
        findings.fault(format!(
            "table {name}: a {} on the source, a {} on the target",
            from.what(),
            to.what()
        ));
        return None;
    }
    if to.is_extension {
        findings.fault(format!("target: table {name} is a member of an extension"));
        return None;
    }
    let above = |relations: &Relations, relation: &Relation| {
        relations
            .of(relation.above)
            .map_or("no table".to_owned(), Relation::shown)
    };
    let (from_above, to_above) = (above(source, from), above(target, to));
    if from_above != to_above {
        findings.fault(format!(
            "table {name}: a partition of {from_above} on the source, of {to_above} on the target"
        ));
    }
    Some(to)
}

/// Checks that the roles may read and write a table.
pub(super) fn privileges(
    (from, source_columns): (&Relation, &[Column]),
    to: &Relation,
    findings: &mut Findings,
) {
    let name = from.shown();
    let unreadable: Vec<&str> = source_columns
        .iter()
        .filter(|column| !column.can_select && column.generated.is_empty())
        .map(|column| column.name.as_str())
        .collect();
    if !from.can_use {
        findings.fault(format!(
            "source: no USAGE on schema {}; run there: grant usage on schema {} to the role",
            from.schema, from.schema
        ));
    } else if !unreadable.is_empty() {
        findings.fault(format!(
            "source: no SELECT on {name} ({}); run there: grant select on {} to the role",
            unreadable.join(", "),
            from.qname()
        ));
    }
    if from.hides_rows {
        findings.fault(format!(
            "source: row security hides rows of {name} from this role; use a role with BYPASSRLS"
        ));
    }
    if to.hides_rows {
        findings.fault(format!(
            "target: row security is active on {name}, and forbids COPY; use a role with BYPASSRLS"
        ));
    }
    if !to.can_use {
        findings.fault(format!("target: no USAGE on schema {}", to.schema));
    } else if !to.can_insert {
        findings.fault(format!(
            "target: no INSERT on {name}; run there: grant insert on {} to the role",
            to.qname()
        ));
    }
}

/// Compares columns by name, in any order.
pub(super) fn columns(name: &str, from: &[Column], to: &[Column], findings: &mut Findings) {
    let named = |columns: &'_ [Column], wanted: &Column| -> Option<Column> {
        columns
            .iter()
            .find(|column| column.name == wanted.name)
            .cloned()
    };
    for theirs in to {
        if named(from, theirs).is_none() {
            findings.fault(format!(
                "table {name}: column {} {} is on the target only",
                theirs.name, theirs.type_name
            ));
        }
    }
    for ours in from {
        match named(to, ours) {
            None => findings.fault(format!(
                "table {name}: column {} {} is on the source only",
                ours.name, ours.type_name
            )),
            Some(theirs) => column(name, ours, &theirs, findings),
        }
    }
}

fn column(table: &str, from: &Column, to: &Column, findings: &mut Findings) {
    let name = format!("table {table}: column {}", from.name);
    if from.type_name != to.type_name {
        findings.fault(format!(
            "{name} is {} on the source, {} on the target",
            from.type_name, to.type_name
        ));
    }
    let kind = |column: &Column| match column.generated.as_str() {
        "" => "not generated",
        "s" => "generated and stored",
        _ => "generated and virtual",
    };
    if from.generated != to.generated {
        findings.fault(format!(
            "{name} is {} on the source, {} on the target",
            kind(from),
            kind(to)
        ));
    }
    if to.not_null && !from.not_null && from.generated.is_empty() {
        findings.fault(format!("{name} is NOT NULL on the target only"));
    }
    let missing: Vec<&str> = from
        .labels
        .iter()
        .filter(|label| !to.labels.contains(label))
        .map(String::as_str)
        .collect();
    if from.type_name == to.type_name && !missing.is_empty() {
        findings.fault(format!(
            "{name}: type {} of the target lacks {}",
            to.type_name,
            missing.join(", ")
        ));
    }
    if from.type_name == to.type_name && from.made_of != to.made_of {
        let only = |ours: &Column, theirs: &Column| -> String {
            let lacking = ours.made_of.iter().filter(|m| !theirs.made_of.contains(m));
            lacking.map(String::as_str).collect::<Vec<_>>().join("; ")
        };
        findings.fault(format!(
            "{name}: on the source, type {}; on the target, {}",
            only(from, to),
            only(to, from)
        ));
    }
    let identity = |column: &Column| match column.identity.as_str() {
        "" => "no identity",
        "a" => "GENERATED ALWAYS",
        _ => "GENERATED BY DEFAULT",
    };
    let shown = |text: &Option<String>| text.clone().unwrap_or_else(|| "none".to_owned());
    for (what, ours, theirs) in [
        (
            "identity",
            identity(from).to_owned(),
            identity(to).to_owned(),
        ),
        ("collation", shown(&from.collation), shown(&to.collation)),
        ("default", shown(&from.default), shown(&to.default)),
    ] {
        if ours != theirs {
            findings.warn(format!(
                "{name}: {what} is {ours} on the source, {theirs} on the target"
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::select::tests::relation as table;
    use super::*;

    fn column_of(name: &str, type_name: &str) -> Column {
        Column {
            name: name.to_owned(),
            type_name: type_name.to_owned(),
            type_oid: 23,
            typmod: -1,
            not_null: false,
            generated: String::new(),
            identity: String::new(),
            collation: None,
            default: None,
            can_select: true,
            labels: Vec::new(),
            made_of: Vec::new(),
        }
    }

    #[test]
    fn every_difference_of_columns_is_named_with_both_values() {
        let mut from = vec![
            column_of("a", "integer"),
            column_of("b", "text"),
            column_of("e", "s.mood"),
        ];
        let mut to = vec![
            column_of("b", "character varying(3)"),
            column_of("c", "date"),
            column_of("e", "s.mood"),
        ];
        from[2].labels = vec!["glad".to_owned(), "sad".to_owned()];
        to[2].labels = vec!["sad".to_owned()];
        from[2].made_of = vec!["s.a is text".to_owned(), "s.d is numeric(9,5)".to_owned()];
        to[2].made_of = vec!["s.a is text".to_owned(), "s.d is numeric(9,2)".to_owned()];
        to[2].not_null = true;
        let mut findings = Findings::default();
        columns("s.t", &from, &to, &mut findings);
        assert_eq!(
            findings.faults,
            [
                "table s.t: column c date is on the target only",
                "table s.t: column a integer is on the source only",
                "table s.t: column b is text on the source, character varying(3) on the target",
                "table s.t: column e is NOT NULL on the target only",
                "table s.t: column e: type s.mood of the target lacks glad",
                "table s.t: column e: on the source, type s.d is numeric(9,5); on the target, s.d is numeric(9,2)",
            ]
        );
        let mut generated = column_of("g", "integer");
        let plain = generated.clone();
        generated.generated = "s".to_owned();
        generated.default = Some("1".to_owned());
        let mut findings = Findings::default();
        columns("s.t", &[plain], &[generated], &mut findings);
        assert_eq!(findings.faults.len(), 1);
        assert_eq!(findings.warnings.len(), 1);
    }

    #[test]
    fn a_missing_table_and_one_of_another_kind_are_named() {
        let source = Relations::new(vec![
            table(1, "a", "r", 0),
            table(2, "b", "r", 0),
            table(3, "p", "p", 0),
            table(4, "l", "r", 3),
        ]);
        let target = Relations::new(vec![table(1, "b", "v", 0), table(9, "l", "r", 0)]);
        let mut findings = Findings::default();
        for at in [0, 1, 3] {
            relation((&source, &source.all[at]), &target, &mut findings);
        }
        assert_eq!(
            findings.faults,
            [
                "target: table public.a does not exist; migrate the target, or leave it out with --exclude",
                "table public.b: a table on the source, a view on the target",
                "table public.l: a partition of public.p on the source, of no table on the target",
            ]
        );
    }
}
