//! The table of contents of an archive, as `pg_restore --list` prints it: parser and printer.
//!
//! Pure; runs in whoever plans a restore. Reads the text of the list, gives entries, and prints lists
//! for `--use-list`. It must not split schema, name and owner: the list quotes nothing.
//!
//! ```text
//! line      := ";" anything | "" | entry
//! entry     := dumpId ";" SP catalogOid SP objectOid SP DESC SP rest
//! rest      := (schema | "-") SP tag SP owner      each may hold spaces; CR and LF became spaces
//! ```
//! With `--verbose` a line `;\tdepends on: 17 4259` follows an entry. `pg_restore` reads back only the
//! leading dump id, and restores in the order of the lines.

use crate::error::{Error, Kind, Result};
use crate::units::Oid;
use std::collections::{BTreeMap, BTreeSet};

/// Catalog oid of `pg_class`.
pub const PG_CLASS: Oid = 1259;
/// Catalog oid of `pg_constraint`.
pub const PG_CONSTRAINT: Oid = 2606;
/// Catalog oid of `pg_namespace`.
pub const PG_NAMESPACE: Oid = 2615;
/// Catalog oid of `pg_extension`.
pub const PG_EXTENSION: Oid = 3079;
/// Catalog oid of `pg_collation`.
pub const PG_COLLATION: Oid = 3456;
/// Catalog oid of `pg_statistic_ext`.
const PG_STATISTIC_EXT: Oid = 3381;
/// Catalog oid of `pg_attrdef`.
const PG_ATTRDEF: Oid = 2604;
/// Catalog oid of `pg_operator`.
const PG_OPERATOR: Oid = 2617;
/// Catalog oid of `pg_publication`.
pub const PG_PUBLICATION: Oid = 6104;

/// Descriptions of more than one word; of those that fit a line the longest is meant. Any other
/// description is taken to be one word.
const LONG_DESCRIPTIONS: [&str; 39] = [
    "ACCESS METHOD",
    "ACL LANGUAGE",
    "BLOB COMMENTS",
    "BLOB DATA",
    "BLOB METADATA",
    "CHECK CONSTRAINT",
    "DATABASE PROPERTIES",
    "DEFAULT ACL",
    "EVENT TRIGGER",
    "FK CONSTRAINT",
    "FOREIGN DATA WRAPPER",
    "FOREIGN SERVER",
    "FOREIGN TABLE",
    "INDEX ATTACH",
    "LARGE OBJECT",
    "MATERIALIZED VIEW",
    "MATERIALIZED VIEW DATA",
    "OPERATOR CLASS",
    "OPERATOR FAMILY",
    "PROCEDURAL LANGUAGE",
    "PROPERTY GRAPH",
    "PUBLICATION TABLE",
    "PUBLICATION TABLES IN SCHEMA",
    "REFRESH MATERIALIZED VIEW",
    "ROW SECURITY",
    "SECURITY LABEL",
    "SEQUENCE OWNED BY",
    "SEQUENCE SET",
    "SHELL TYPE",
    "STATISTICS DATA",
    "SUBSCRIPTION TABLE",
    "TABLE ATTACH",
    "TABLE DATA",
    "TEXT SEARCH CONFIGURATION",
    "TEXT SEARCH DICTIONARY",
    "TEXT SEARCH PARSER",
    "TEXT SEARCH TEMPLATE",
    "USER MAPPING",
    "pg_largeobject_metadata DATA",
];

/// One of the two halves of a schema.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
pub enum Section {
    /// What must be there before rows come: types, tables, functions.
    PreData,
    /// What comes after them: indexes, constraints, triggers.
    PostData,
}

impl Section {
    /// The name that `--section` takes.
    pub fn name(self) -> &'static str {
        match self {
            Self::PreData => "pre-data",
            Self::PostData => "post-data",
        }
    }
}

/// One entry of an archive's table of contents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Number within the archive.
    pub dump_id: i32,
    /// Oid of the system catalog that holds the object, 0 for none.
    pub catalog_oid: Oid,
    /// The object's oid on the source, 0 for none.
    pub object_oid: Oid,
    /// Kind of entry, such as `FK CONSTRAINT`.
    pub desc: String,
    /// Schema (or `-`), tag and owner with single spaces between them, as in the list.
    pub rest: String,
    /// Entries that must be restored before this one; may name some more than once, and some that the
    /// archive does not hold.
    pub depends_on: Vec<i32>,
    /// Which half it belongs to; `None` until [`assign_sections`], and for entries of neither.
    pub section: Option<Section>,
    /// The line as printed.
    pub line: String,
}

impl Entry {
    /// Whether it is a comment, privileges or a security label of another object.
    pub fn is_attachment(&self) -> bool {
        matches!(self.desc.as_str(), "COMMENT" | "ACL" | "SECURITY LABEL")
    }

    /// Catalog and object: oids alone are unique within one catalog only.
    pub fn identity(&self) -> (Oid, Oid) {
        (self.catalog_oid, self.object_oid)
    }
}

/// Parses a list, verbose or not. Sections stay unknown. Any line that is neither a comment, nor
/// empty, nor an entry is an error of kind `Tool`.
pub fn parse(text: &str) -> Result<Vec<Entry>> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut after_entry = false;
    for (index, line) in text.split('\n').enumerate() {
        let line = line.strip_suffix('\r').unwrap_or(line);
        let failed = || bad_line(index + 1, line);
        if let Some(comment) = line.strip_prefix(';') {
            if let Some(ids) = comment.strip_prefix("\tdepends on:")
                && after_entry
                && let Some(entry) = entries.last_mut()
            {
                entry.depends_on = parse_ids(ids).ok_or_else(failed)?;
            }
            after_entry = false;
        } else if !line.trim_matches([' ', '\t']).is_empty() {
            entries.push(parse_entry(line).ok_or_else(failed)?);
            after_entry = true;
        }
    }
    Ok(entries)
}

fn bad_line(number: usize, line: &str) -> Error {
    let shown: String = line.chars().take(200).collect();
    Error::new(
        Kind::Tool,
        format!("could not read line {number} of the archive's list"),
    )
    .detail(format!("The line is: {shown}"))
}

fn parse_ids(text: &str) -> Option<Vec<i32>> {
    text.split(' ')
        .filter(|word| !word.is_empty())
        .map(|word| word.parse().ok())
        .collect()
}

fn parse_entry(line: &str) -> Option<Entry> {
    let (dump_id, after) = line.split_once("; ")?;
    let mut words = after.splitn(3, ' ');
    let catalog_oid = words.next()?.parse().ok()?;
    let object_oid = words.next()?.parse().ok()?;
    let (desc, rest) = split_desc(words.next()?, catalog_oid)?;
    Some(Entry {
        dump_id: dump_id.parse().ok().filter(|id| *id > 0)?,
        catalog_oid,
        object_oid,
        desc: desc.to_owned(),
        rest: rest.to_owned(),
        depends_on: Vec::new(),
        section: None,
        line: line.to_owned(),
    })
}

/// Splits the description off; an unknown one is the first word.
fn split_desc(text: &str, catalog_oid: Oid) -> Option<(&str, &str)> {
    let known = LONG_DESCRIPTIONS
        .iter()
        .filter(|desc| {
            text.strip_prefix(**desc)
                .is_some_and(|rest| rest.starts_with(' '))
        })
        .filter(|desc| fits_catalog(desc, catalog_oid))
        .max_by_key(|desc| desc.len());
    let end = match known {
        Some(desc) => desc.len(),
        None => text.find(' ')?,
    };
    (end > 0).then(|| (&text[..end], &text[end + 1..]))
}

/// Tells a table of a schema named `DATA` from the data of a table, and the like.
fn fits_catalog(desc: &str, catalog_oid: Oid) -> bool {
    let objects_own = match desc {
        "TABLE DATA"
        | "TABLE ATTACH"
        | "INDEX ATTACH"
        | "SEQUENCE SET"
        | "SEQUENCE OWNED BY"
        | "MATERIALIZED VIEW DATA" => PG_CLASS,
        "STATISTICS DATA" => PG_STATISTIC_EXT,
        "DEFAULT ACL" => PG_ATTRDEF,
        "OPERATOR CLASS" | "OPERATOR FAMILY" => PG_OPERATOR,
        _ => return true,
    };
    catalog_oid != objects_own
}

/// The dump ids that a list names; for lists of one section, and for lists that an operator edited.
pub fn parse_dump_ids(text: &str) -> Result<BTreeSet<i32>> {
    Ok(parse(text)?
        .into_iter()
        .map(|entry| entry.dump_id)
        .collect())
}

/// Says of each entry of the whole (verbose) list which section's list names it. Needed as
/// `--verbose` prints the entries of all sections whatever `--section` says.
pub fn assign_sections(entries: &mut [Entry], pre: &BTreeSet<i32>, post: &BTreeSet<i32>) {
    for entry in entries {
        entry.section = if pre.contains(&entry.dump_id) {
            Some(Section::PreData)
        } else if post.contains(&entry.dump_id) {
            Some(Section::PostData)
        } else {
            None
        };
    }
}

/// Positions by dump id.
pub fn index_by_id(entries: &[Entry]) -> BTreeMap<i32, usize> {
    entries
        .iter()
        .enumerate()
        .map(|(position, entry)| (entry.dump_id, position))
        .collect()
}

/// Prints a list for `--use-list`: order kept, `;` in front of what is left out.
pub fn print<'a>(lines: impl Iterator<Item = (&'a Entry, bool)>) -> String {
    let mut text = String::new();
    for (entry, kept) in lines {
        if !kept {
            text.push(';');
        }
        text.push_str(&entry.line);
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLES: [&str; 3] = [
        include_str!("../../tests/data/dump/shopdb-15.list"),
        include_str!("../../tests/data/dump/shopdb-17.list"),
        include_str!("../../tests/data/dump/shopdb-18.list"),
    ];

    #[test]
    fn every_entry_of_recorded_lists_is_read_and_printed_back_as_it_was() {
        for sample in SAMPLES {
            let entries = parse(sample).unwrap();
            let expected: Vec<&str> = sample.lines().filter(|l| !l.starts_with(';')).collect();
            let printed = print(entries.iter().map(|entry| (entry, true)));
            assert_eq!(printed.lines().collect::<Vec<_>>(), expected);
            for entry in &entries {
                let again = format!(
                    "{}; {} {} {} {}",
                    entry.dump_id, entry.catalog_oid, entry.object_oid, entry.desc, entry.rest
                );
                assert_eq!(again, entry.line);
            }
            let kinds: BTreeSet<&str> = entries.iter().map(|entry| entry.desc.as_str()).collect();
            for kind in [
                "FK CONSTRAINT",
                "MATERIALIZED VIEW DATA",
                "MATERIALIZED VIEW",
                "INDEX",
            ] {
                assert!(kinds.contains(kind), "{kind}");
            }
            for kind in [
                "FK",
                "MATERIALIZED",
                "TEXT",
                "ROW",
                "EVENT",
                "USER",
                "FOREIGN",
            ] {
                assert!(!kinds.contains(kind), "{kind}");
            }
        }
    }

    #[test]
    fn dependencies_belong_to_the_entry_before_them() {
        let entries = parse(SAMPLES[0]).unwrap();
        let comment = entries
            .iter()
            .find(|e| e.rest.starts_with("sales INDEX customer_slug"));
        let comment = comment.unwrap();
        let index = entries
            .iter()
            .find(|e| e.dump_id == comment.depends_on[0])
            .unwrap();
        assert_eq!(
            (index.desc.as_str(), index.catalog_oid),
            ("INDEX", PG_CLASS)
        );
    }

    #[test]
    fn odd_lines_are_read_or_refused_but_never_guessed() {
        let long = format!("7; 1255 9 FUNCTION public f({}) me", "text, ".repeat(5000));
        let text = format!(
            "{long}\n\n;x\n8; 0 0 NOVELTY - a  \"b\" c \n9; 0 0 COMMENT - EXTENSION \"x\" \n"
        );
        let entries = parse(&text).unwrap();
        assert_eq!(entries[0].line, long);
        assert_eq!(
            (entries[1].desc.as_str(), entries[1].rest.as_str()),
            ("NOVELTY", "- a  \"b\" c ")
        );
        let table = parse("3; 1259 5 TABLE DATA x me").unwrap();
        assert_eq!(
            (table[0].desc.as_str(), table[0].rest.as_str()),
            ("TABLE", "DATA x me")
        );
        assert_eq!(entries[2].rest, "- EXTENSION \"x\" ");
        for bad in [
            "x",
            "1;",
            "1; 2 3",
            "1; 2 3 TABLE",
            "-1; 0 0 TABLE a b c",
            "1; 2 x TABLE a b",
            "99999999999; 0 0 T a b",
            "1; 0 0  a b",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert!(parse("1; 0 0 T a b\n;\tdepends on: x").is_err());
    }

    #[test]
    fn every_truncation_of_a_list_gives_entries_or_an_error() {
        for sample in SAMPLES {
            let whole = parse(sample).unwrap().len();
            for end in (0..sample.len())
                .filter(|end| sample.is_char_boundary(*end))
                .step_by(7)
            {
                if let Ok(entries) = parse(&sample[..end]) {
                    assert!(entries.len() <= whole);
                }
            }
        }
    }
}
