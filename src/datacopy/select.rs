//! Which tables are copied: wildcards, schemas, and what can be copied at all.
//!
//! Pure. Reads the relations of the source, gives the tables and, for everything else that was in reach, why it
//! is left out. A partitioned table stands for its partitions at all levels, which can be named alone, too.

use super::facts::{Relation, Relations};
use super::pattern::Pattern;
use super::settings::Choice;
use crate::catalog::LeftOut;

/// What a choice comes to.
#[derive(Clone, Debug, Default)]
pub(super) struct Selected<'r> {
    /// Tables and leaf partitions, by schema and name.
    pub(super) tables: Vec<&'r Relation>,
    /// Not copied, though in reach.
    pub(super) left_out: Vec<LeftOut>,
    /// Patterns that are wrong.
    pub(super) faults: Vec<String>,
    /// Patterns that find nothing, and need not.
    pub(super) warnings: Vec<String>,
}

/// Names like the one that was not found, at most.
const NEAR_MAX: usize = 3;

/// Applies a choice.
pub(super) fn select<'r>(relations: &'r Relations, choice: &Choice) -> Selected<'r> {
    let mut selected = Selected::default();
    for relation in &relations.all {
        let in_schema = choice.schemas.is_empty() || choice.schemas.contains(&relation.schema);
        let family: Vec<&Relation> = std::iter::once(relation)
            .chain(relations.ancestors(relation))
            .collect();
        let hit = |patterns: &[Pattern]| -> Option<String> {
            let found = patterns
                .iter()
                .find(|pattern| family.iter().any(|r| pattern.matches(&r.schema, &r.name)));
            found.map(|pattern| pattern.text().to_owned())
        };
        let included = choice.include.is_empty() || hit(&choice.include).is_some();
        if !in_schema || !included {
            continue;
        }
        let mut leave_out = |why: String| {
            selected.left_out.push(LeftOut {
                name: relation.shown(),
                why,
            });
        };
        match hit(&choice.exclude) {
            Some(pattern) if relation.is_copyable() => leave_out(format!("excluded by {pattern}")),
            Some(_) => {}
            None if relation.is_copyable() => selected.tables.push(relation),
            None if relation.kind == "p" && !relation.is_extension => {}
            None => leave_out(relation.what().to_owned()),
        }
    }
    look_at_patterns(relations, choice, &mut selected);
    selected
}

fn look_at_patterns(relations: &Relations, choice: &Choice, selected: &mut Selected<'_>) {
    for schema in &choice.schemas {
        if !relations
            .all
            .iter()
            .any(|relation| relation.schema == *schema)
        {
            selected.faults.push(format!(
                "--schema {schema}: the source has no table in such a schema"
            ));
        }
    }
    for pattern in &choice.include {
        let found: Vec<&Relation> = relations
            .all
            .iter()
            .filter(|r| pattern.matches(&r.schema, &r.name))
            .collect();
        let is_useful = found
            .iter()
            .any(|r| r.is_copyable() || (r.kind == "p" && !r.is_extension));
        match (found.first(), pattern.has_star()) {
            _ if is_useful => {}
            (Some(first), false) => selected.faults.push(format!(
                "--include {}: {} is a {}, which has no rows to copy",
                pattern.text(),
                first.shown(),
                first.what()
            )),
            (None, false) => {
                let near = near_names(relations, pattern);
                selected.faults.push(format!(
                    "--include {}: the source has no such table{near}",
                    pattern.text()
                ));
            }
            (_, true) => selected
                .warnings
                .push(format!("--include {} finds no table", pattern.text())),
        }
    }
    for pattern in &choice.exclude {
        if !relations
            .all
            .iter()
            .any(|r| pattern.matches(&r.schema, &r.name))
        {
            selected
                .warnings
                .push(format!("--exclude {} finds no table", pattern.text()));
        }
    }
}

/// Tables whose name differs little from what was asked for.
fn near_names(relations: &Relations, pattern: &Pattern) -> String {
    let plain = |text: &str| text.replace('"', "").to_lowercase();
    let wanted = plain(pattern.text());
    let wanted = wanted.rsplit('.').next().unwrap_or_default().to_owned();
    let near: Vec<String> = relations
        .all
        .iter()
        .filter(|r| {
            let name = plain(&r.name);
            name == wanted
                || (!wanted.is_empty() && (name.contains(&wanted) || wanted.contains(&name)))
        })
        .take(NEAR_MAX)
        .map(Relation::shown)
        .collect();
    if near.is_empty() {
        String::new()
    } else {
        format!("; there are {}", near.join(", "))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::datacopy) fn relation(oid: u32, name: &str, kind: &str, above: u32) -> Relation {
        Relation {
            oid,
            schema: "public".to_owned(),
            name: name.to_owned(),
            kind: kind.to_owned(),
            owner: "o".to_owned(),
            rows: None,
            bytes: 0,
            above,
            is_extension: false,
            can_use: true,
            can_insert: true,
            can_truncate: true,
            can_delete: true,
            is_owned: true,
            hides_rows: false,
            has_rule: false,
            has_delete_rule: false,
        }
    }

    #[test]
    fn partitions_follow_their_table_and_excludes_win() {
        let relations = Relations::new(vec![
            relation(1, "m", "p", 0),
            relation(2, "m_1", "r", 1),
            relation(3, "m_2", "r", 1),
            relation(4, "temp_a", "r", 0),
            relation(5, "v", "v", 0),
        ]);
        let choice = |include: &str, exclude: &str| Choice {
            schemas: Vec::new(),
            include: Pattern::parse_list(include).unwrap_or_default(),
            exclude: Pattern::parse_list(exclude).unwrap_or_default(),
        };
        let names = |choice: &Choice| -> Vec<String> {
            let selected = select(&relations, choice);
            selected.tables.iter().map(|r| r.name.clone()).collect()
        };
        assert_eq!(names(&choice("", "")), ["m_1", "m_2", "temp_a"]);
        assert_eq!(names(&choice("m", "")), ["m_1", "m_2"]);
        assert_eq!(names(&choice("m_2", "")), ["m_2"]);
        assert_eq!(names(&choice("public.*", "temp_*,m_1")), ["m_2"]);
        assert_eq!(names(&choice("", "m")), ["temp_a"]);
        let all = select(&relations, &choice("", "temp_*,*_logs"));
        let why: Vec<String> = all
            .left_out
            .iter()
            .map(|l| format!("{} {}", l.name, l.why))
            .collect();
        assert_eq!(why, ["public.temp_a excluded by temp_*", "public.v view"]);
        assert_eq!(all.warnings, ["--exclude *_logs finds no table"]);
        let wrong = select(&relations, &choice("v,M_1", ""));
        assert_eq!(
            wrong.faults,
            [
                "--include v: public.v is a view, which has no rows to copy",
                "--include M_1: the source has no such table; there are public.m, public.m_1",
            ]
        );
    }
}
