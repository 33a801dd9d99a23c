//! Tests of the closure over small made-up catalogs.

use super::closure::{LeftOut, Why, close};
use super::facts::{Constraint, Edge, Facts, ObjectId, Relation};
use super::rules::{Rules, Section, Subject};
use super::{PG_CLASS, PG_EXTENSION, PG_NAMESPACE, parse};
use crate::error::Kind;
use crate::units::Oid;

const TYPE: Oid = 1247;
const PROC: Oid = 1255;
const ATTRDEF: Oid = 2604;
const CONSTRAINT: Oid = 2606;
const TRIGGER: Oid = 2620;

/// Builds facts the way `pg_depend` has them.
#[derive(Default)]
struct Source(Facts);

impl Source {
    fn schema(mut self, oid: Oid, name: &str) -> Self {
        self.0.schemas.insert(oid, name.to_owned());
        self
    }

    fn extension(mut self, oid: Oid, name: &str, schema: Oid) -> Self {
        self.0.extensions.insert(oid, name.to_owned());
        self.depends((PG_EXTENSION, oid), (PG_NAMESPACE, schema), 'n')
    }

    fn relation(mut self, oid: Oid, kind: char, schema: Oid, name: &str) -> Self {
        let relation = Relation {
            schema,
            nspname: self.0.schemas[&schema].clone(),
            relname: name.to_owned(),
            kind,
            is_readable: true,
        };
        self.0.relations.insert(oid, relation);
        if matches!(kind, 'i' | 'I') {
            return self;
        }
        self.depends((PG_CLASS, oid), (PG_NAMESPACE, schema), 'n')
    }

    fn member(self, id: ObjectId, schema: Oid) -> Self {
        self.depends(id, (PG_NAMESPACE, schema), 'n')
    }

    fn depends(mut self, from: ObjectId, to: ObjectId, kind: char) -> Self {
        self.0.edges.push(Edge { from, to, kind });
        self
    }

    fn key(mut self, oid: Oid, kind: char, table: Oid, referenced: Oid) -> Self {
        let constraint = Constraint {
            kind,
            table,
            of_type: 0,
            referenced,
        };
        self.0.constraints.insert(oid, constraint);
        let of = self.depends((CONSTRAINT, oid), (PG_CLASS, table), 'a');
        if referenced == 0 {
            return of;
        }
        of.depends((CONSTRAINT, oid), (PG_CLASS, referenced), 'n')
    }

    fn child(mut self, child: Oid, parent: Oid, kind: char) -> Self {
        self.0.parents.push((child, parent));
        self.depends((PG_CLASS, child), (PG_CLASS, parent), kind)
    }

    /// Closes these rules, whose names are matched here as they are.
    fn close(mut self, text: &str) -> (LeftOut, Vec<String>) {
        let rules = parse(text.as_bytes(), "f").unwrap();
        self.0.matches = self.matches(&rules);
        close(&self.0, &rules).unwrap()
    }

    fn matches(&self, rules: &Rules) -> Vec<(usize, ObjectId)> {
        let mut matches = Vec::new();
        for (number, rule) in rules.rules.iter().enumerate() {
            let name = rule.name.exact().unwrap();
            match rule.section.subject() {
                Subject::Schema => matches.extend(
                    self.0
                        .schemas
                        .iter()
                        .filter(|(_, n)| *n == name)
                        .map(|(oid, _)| (number, (PG_NAMESPACE, *oid))),
                ),
                Subject::Extension => matches.extend(
                    self.0
                        .extensions
                        .iter()
                        .filter(|(_, n)| *n == name)
                        .map(|(oid, _)| (number, (PG_EXTENSION, *oid))),
                ),
                _ => matches.extend(
                    self.0
                        .relations
                        .iter()
                        .filter(|(_, r)| r.relname == name)
                        .map(|(oid, _)| (number, (PG_CLASS, *oid))),
                ),
            }
        }
        matches
    }
}

fn left(left: &LeftOut, ids: &[ObjectId]) -> Vec<bool> {
    ids.iter().map(|id| left.contains(id.0, id.1)).collect()
}

/// Table 1 in public, with view 2 on it and view 3 on that, key 5, index 6, and table 7 that refers.
fn shop() -> Source {
    Source::default()
        .schema(100, "public")
        .schema(200, "other")
        .relation(1, 'r', 100, "t")
        .relation(2, 'v', 100, "v")
        .depends((2618, 12), (PG_CLASS, 2), 'i')
        .depends((2618, 12), (PG_CLASS, 1), 'n')
        .relation(3, 'v', 200, "w")
        .depends((2618, 13), (PG_CLASS, 3), 'i')
        .depends((2618, 13), (PG_CLASS, 2), 'n')
        .key(5, 'p', 1, 0)
        .relation(6, 'i', 100, "t_pkey")
        .depends((PG_CLASS, 6), (CONSTRAINT, 5), 'i')
        .relation(7, 'r', 200, "u")
        .key(8, 'f', 7, 1)
        .depends((CONSTRAINT, 8), (CONSTRAINT, 5), 'n')
        .depends((TRIGGER, 9), (CONSTRAINT, 8), 'i')
}

#[test]
fn a_view_on_a_view_on_a_table_goes_with_it_and_so_do_keys_and_their_triggers() {
    let (out, warnings) = shop().close("[exclude-table]\npublic.t\n");
    let gone = [
        (PG_CLASS, 1),
        (PG_CLASS, 2),
        (PG_CLASS, 3),
        (CONSTRAINT, 5),
        (PG_CLASS, 6),
    ];
    assert_eq!(left(&out, &gone), [true; 5]);
    assert_eq!(left(&out, &[(CONSTRAINT, 8), (TRIGGER, 9)]), [true; 2]);
    assert_eq!(
        left(&out, &[(PG_CLASS, 7), (PG_NAMESPACE, 100)]),
        [false; 2]
    );
    assert_eq!(out.objects[&(PG_CLASS, 3)], Why::Needs((PG_CLASS, 2)));
    assert!(warnings.is_empty());
}

#[test]
fn an_index_goes_with_its_constraint_and_what_needs_that() {
    let (out, _) = shop().close("[exclude-index]\npublic.t_pkey\n");
    assert_eq!(
        left(&out, &[(PG_CLASS, 6), (CONSTRAINT, 5), (CONSTRAINT, 8)]),
        [true; 3]
    );
    assert_eq!(left(&out, &[(PG_CLASS, 1), (PG_CLASS, 2)]), [false; 2]);
}

#[test]
fn only_included_tables_stay_and_views_that_stand_on_them() {
    let (out, _) = shop().close("[include-only-table]\npublic.t\n");
    assert_eq!(left(&out, &[(PG_CLASS, 7), (CONSTRAINT, 8)]), [true; 2]);
    assert_eq!(
        left(&out, &[(PG_CLASS, 1), (PG_CLASS, 2), (PG_CLASS, 3)]),
        [false; 3]
    );
    assert_eq!(
        out.objects[&(PG_CLASS, 7)],
        Why::NotIncluded(Section::IncludeOnlyTable)
    );
}

/// Table 1 in public needs type 50, function 51 and sequence 52 of schema other.
fn borrower() -> Source {
    Source::default()
        .schema(100, "public")
        .schema(200, "other")
        .relation(1, 'r', 100, "t")
        .member((TYPE, 50), 200)
        .depends((PG_CLASS, 1), (TYPE, 50), 'n')
        .member((PROC, 51), 200)
        .depends((ATTRDEF, 60), (PG_CLASS, 1), 'a')
        .depends((ATTRDEF, 60), (PROC, 51), 'n')
        .relation(52, 'S', 200, "s")
        .depends((ATTRDEF, 61), (PG_CLASS, 1), 'a')
        .depends((ATTRDEF, 61), (PG_CLASS, 52), 'n')
        .member((PROC, 53), 200)
        .relation(2, 'v', 100, "v")
        .depends((2618, 12), (PG_CLASS, 2), 'i')
        .depends((2618, 12), (PROC, 53), 'n')
}

#[test]
fn what_a_kept_table_needs_stays_with_its_schema_and_nothing_else_of_that() {
    for text in [
        "[exclude-schema]\nother\n",
        "[include-only-schema]\npublic\n",
    ] {
        let (out, _) = borrower().close(text);
        let kept = [
            (PG_CLASS, 1),
            (TYPE, 50),
            (PROC, 51),
            (PG_CLASS, 52),
            (PG_NAMESPACE, 200),
        ];
        assert_eq!(left(&out, &kept), [false; 5]);
        assert_eq!(left(&out, &[(PROC, 53), (PG_CLASS, 2)]), [true; 2]);
        assert_eq!(out.rescued.len(), 4);
        assert!(out.undumped().schemas.is_empty());
    }
}

#[test]
fn a_schema_that_nothing_needs_goes_whole_and_is_not_dumped() {
    let (out, _) = shop().close("[exclude-schema]\nother\n");
    assert_eq!(
        left(&out, &[(PG_NAMESPACE, 200), (PG_CLASS, 3), (PG_CLASS, 7)]),
        [true; 3]
    );
    assert_eq!(out.undumped().schemas, ["other"]);
}

#[test]
fn an_extension_keeps_its_schema() {
    let source = Source::default()
        .schema(200, "other")
        .extension(300, "hstore", 200)
        .relation(1, 'r', 200, "t")
        .member((PROC, 51), 200)
        .depends((PROC, 51), (PG_EXTENSION, 300), 'e');
    let (out, _) = source.close("[exclude-schema]\nother\n");
    assert_eq!(
        left(
            &out,
            &[(PG_EXTENSION, 300), (PG_NAMESPACE, 200), (PROC, 51)]
        ),
        [false; 3]
    );
    assert_eq!(left(&out, &[(PG_CLASS, 1)]), [true]);
}

/// Partitioned table 10 with leaves 11 and 12, its index 20 with 21 and 22; child 31 of table 30.
fn tree() -> Source {
    Source::default()
        .schema(100, "public")
        .relation(10, 'p', 100, "p")
        .relation(11, 'r', 100, "a")
        .relation(12, 'r', 100, "b")
        .child(11, 10, 'a')
        .child(12, 10, 'a')
        .relation(20, 'I', 100, "pi")
        .relation(21, 'i', 100, "ai")
        .relation(22, 'i', 100, "bi")
        .child(21, 20, 'P')
        .child(22, 20, 'P')
        .depends((PG_CLASS, 20), (PG_CLASS, 10), 'a')
        .depends((PG_CLASS, 21), (PG_CLASS, 11), 'S')
        .depends((PG_CLASS, 22), (PG_CLASS, 12), 'S')
        .relation(30, 'r', 100, "base")
        .relation(31, 'r', 100, "kid")
        .child(31, 30, 'n')
}

#[test]
fn a_rule_for_a_partitioned_table_means_its_partitions() {
    let all = [
        (PG_CLASS, 10),
        (PG_CLASS, 11),
        (PG_CLASS, 12),
        (PG_CLASS, 20),
        (PG_CLASS, 21),
    ];
    let (out, _) = tree().close("[exclude-table]\npublic.p\n");
    assert_eq!(left(&out, &all), [true; 5]);
    let (out, _) = tree().close("[include-only-table]\npublic.p\n");
    assert_eq!(left(&out, &all), [false; 5]);
    assert_eq!(left(&out, &[(PG_CLASS, 30)]), [true]);
    let (out, _) = tree().close("[exclude-table-data]\npublic.p\n");
    assert_eq!(out.rows.keys().copied().collect::<Vec<_>>(), [10, 11, 12]);
    let (out, _) = tree().close("[exclude-index]\npublic.pi\n");
    assert_eq!(
        left(&out, &[(PG_CLASS, 20), (PG_CLASS, 21), (PG_CLASS, 22)]),
        [true; 3]
    );
}

#[test]
fn a_partition_can_go_or_stay_alone() {
    let (out, _) = tree().close("[exclude-table]\npublic.a\n");
    assert_eq!(left(&out, &[(PG_CLASS, 11), (PG_CLASS, 21)]), [true; 2]);
    assert_eq!(
        left(&out, &[(PG_CLASS, 10), (PG_CLASS, 12), (PG_CLASS, 20)]),
        [false; 3]
    );
    let (out, _) = tree().close("[include-only-table]\npublic.a\n");
    assert_eq!(left(&out, &[(PG_CLASS, 11), (PG_CLASS, 21)]), [false; 2]);
    assert_eq!(
        left(&out, &[(PG_CLASS, 10), (PG_CLASS, 12), (PG_CLASS, 20)]),
        [true; 3]
    );
}

#[test]
fn a_parent_that_may_not_be_read_is_no_part_of_the_dump_of_its_partition() {
    let rule = "[include-only-table]\npublic.a\n";
    let (out, _) = tree().close(rule);
    assert_eq!(out.undumped().tables, []);
    let mut tree = tree();
    tree.0.relations.get_mut(&10).unwrap().is_readable = false;
    let (out, _) = tree.close(rule);
    assert_eq!(
        out.undumped().tables,
        [("public".to_owned(), "p".to_owned())]
    );
}

#[test]
fn a_child_goes_with_its_parent_and_cannot_be_asked_for_alone() {
    let (out, _) = tree().close("[exclude-table]\npublic.base\n");
    assert_eq!(out.objects[&(PG_CLASS, 31)], Why::Needs((PG_CLASS, 30)));
    let mut source = tree();
    let rules = parse(b"[include-only-table]\npublic.kid\n", "f").unwrap();
    source.0.matches = source.matches(&rules);
    let error = close(&source.0, &rules).unwrap_err();
    assert_eq!(error.kind(), Kind::BadConfig);
    assert!(
        error.message().contains("it needs \"public\".\"base\""),
        "{}",
        error.message()
    );
}

#[test]
fn an_owned_sequence_goes_with_its_table_unless_another_one_uses_it() {
    let source = || {
        Source::default()
            .schema(100, "public")
            .relation(1, 'r', 100, "t")
            .relation(2, 'r', 100, "u")
            .relation(3, 'S', 100, "s")
            .depends((PG_CLASS, 3), (PG_CLASS, 1), 'a')
            .depends((ATTRDEF, 60), (PG_CLASS, 1), 'a')
            .depends((ATTRDEF, 60), (PG_CLASS, 3), 'n')
            .depends((ATTRDEF, 61), (PG_CLASS, 2), 'a')
    };
    let (out, _) = source().close("[exclude-table]\npublic.t\n");
    assert_eq!(left(&out, &[(PG_CLASS, 3), (ATTRDEF, 60)]), [true; 2]);
    let shared = source().depends((ATTRDEF, 61), (PG_CLASS, 3), 'n');
    let (out, _) = shared.close("[exclude-table]\npublic.t\n");
    assert_eq!(left(&out, &[(PG_CLASS, 3), (ATTRDEF, 61)]), [false; 2]);
    assert_eq!(left(&out, &[(ATTRDEF, 60)]), [true]);
}

#[test]
fn a_materialized_view_that_reads_an_unfilled_one_is_not_filled_either() {
    let source = Source::default()
        .schema(100, "public")
        .relation(1, 'm', 100, "m")
        .relation(2, 'v', 100, "v")
        .relation(3, 'm', 100, "n")
        .depends((PG_CLASS, 2), (PG_CLASS, 1), 'n')
        .depends((PG_CLASS, 3), (PG_CLASS, 2), 'n');
    let (out, _) = source.close("[exclude-table-data]\npublic.m\n");
    assert_eq!(out.rows.keys().copied().collect::<Vec<_>>(), [1, 3]);
}

#[test]
fn an_extension_left_out_takes_nothing_along_and_is_reported_as_lacking() {
    let source = || {
        Source::default()
            .schema(100, "public")
            .extension(300, "citext", 100)
            .extension(301, "plpgsql", 100)
            .member((TYPE, 50), 100)
            .depends((TYPE, 50), (PG_EXTENSION, 300), 'e')
            .relation(1, 'r', 100, "t")
            .depends((PG_CLASS, 1), (TYPE, 50), 'n')
    };
    let (out, _) = source().close("[exclude-extension]\ncitext\n");
    assert_eq!(
        left(&out, &[(PG_EXTENSION, 300), (TYPE, 50), (PG_CLASS, 1)]),
        [true, true, false]
    );
    assert_eq!(out.lacking, [((PG_CLASS, 1), 300)]);
    let (out, _) = source().close("[include-only-extension]\ncitext\n");
    assert_eq!(
        left(&out, &[(PG_EXTENSION, 300), (PG_EXTENSION, 301)]),
        [false; 2]
    );
}

#[test]
fn a_name_that_is_not_there_is_an_error_to_include_and_a_warning_to_exclude() {
    let (_, warnings) = shop().close("[exclude-table]\n\npublic.nothing\n");
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].contains("line 3") && warnings[0].contains("public.nothing"));
    let rules = parse(b"[include-only-schema]\nnowhere\n", "f").unwrap();
    let error = close(&shop().0, &rules).unwrap_err();
    assert_eq!(error.kind(), Kind::BadConfig);
    assert!(error.message().contains("line 2"));
}
