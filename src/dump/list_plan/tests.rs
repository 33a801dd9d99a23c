//! Tests of the decisions, on lists recorded from the tools of 15, 17 and 18.

use super::*;
use crate::dump::archive_list::{PG_CLASS, PG_CONSTRAINT, assign_sections, parse};

const LISTS: [&str; 3] = [
    include_str!("../../../tests/data/dump/shopdb-15.list"),
    include_str!("../../../tests/data/dump/shopdb-17.list"),
    include_str!("../../../tests/data/dump/shopdb-18.list"),
];
const EXISTING: &str = include_str!("../../../tests/data/dump/shopdb-15.existing");
/// Kinds of post-data, for lists recorded without their sections.
const POST: [&str; 14] = [
    "INDEX",
    "CONSTRAINT",
    "FK CONSTRAINT",
    "INDEX ATTACH",
    "STATISTICS",
    "RULE",
    "TRIGGER",
    "ROW SECURITY",
    "POLICY",
    "PUBLICATION",
    "PUBLICATION TABLE",
    "DEFAULT ACL",
    "EVENT TRIGGER",
    "MATERIALIZED VIEW DATA",
];

fn entries(list: &str) -> Vec<Entry> {
    let mut entries = parse(list).unwrap();
    let by_id = index_by_id(&entries);
    let section_of = |entry: &Entry| {
        let on = entry
            .depends_on
            .first()
            .and_then(|id| entries.get(*by_id.get(id)?));
        let of = if entry.is_attachment() {
            on.unwrap_or(entry)
        } else {
            entry
        };
        POST.contains(&of.desc.as_str())
    };
    let (post, pre): (Vec<&Entry>, Vec<&Entry>) = entries.iter().partition(|e| section_of(e));
    let ids = |list: Vec<&Entry>| list.iter().map(|e| e.dump_id).collect::<BTreeSet<i32>>();
    let (pre, post) = (ids(pre), ids(post));
    assign_sections(&mut entries, &pre, &post);
    entries
}

fn lines<'a>(edits: &[Edit<'a>]) -> Vec<&'a str> {
    edits
        .iter()
        .filter(|e| e.dropped.is_some())
        .map(|e| e.entry.line.as_str())
        .collect()
}

fn oid_of(entries: &[Entry], desc: &str, rest: &str) -> (Oid, Oid) {
    let found = entries
        .iter()
        .find(|e| e.desc == desc && e.rest.starts_with(rest));
    found.unwrap().identity()
}

fn owners() -> BTreeSet<String> {
    ["postgres", "shop_owner"]
        .map(str::to_owned)
        .into_iter()
        .collect()
}

#[test]
fn without_filters_only_the_database_is_left_out() {
    for list in LISTS {
        let entries = entries(list);
        let plan = plan_pre_data(&entries, &Facts::default());
        let dropped: BTreeSet<&str> = plan
            .edits
            .iter()
            .filter(|e| e.dropped.is_some())
            .map(|e| e.entry.desc.as_str())
            .collect();
        assert_eq!(
            dropped,
            ["DATABASE", "DATABASE PROPERTIES"].into_iter().collect()
        );
        assert_eq!(print_edits(&plan.edits).lines().count(), plan.edits.len());
        let post = plan_post_data(&entries, &Facts::default());
        assert_eq!(lines(&post.main).len(), 1, "{:?}", lines(&post.main));
        assert_eq!(kept(&post.last).len(), 1);
        assert_eq!(kept(&post.last)[0].desc, "EVENT TRIGGER");
    }
}

#[test]
fn a_filtered_table_takes_everything_along_but_the_sequence_others_may_use() {
    for list in LISTS {
        let entries = entries(list);
        let mut facts = Facts::default();
        facts
            .filtered
            .insert(oid_of(&entries, "TABLE", "sales orders "));
        let dropped = |edits: &[Edit<'_>]| -> Vec<String> {
            let all = edits.iter().filter(|e| {
                matches!(
                    e.dropped,
                    Some(Reason::Filtered | Reason::Needs(_) | Reason::Attached(_))
                )
            });
            all.map(|e| format!("{} {}", e.entry.desc, e.entry.rest))
                .collect()
        };
        let pre = dropped(&plan_pre_data(&entries, &facts).edits);
        let has = |list: &[String], text: &str| list.iter().any(|line| line.starts_with(text));
        for text in [
            "TABLE sales orders ",
            "COMMENT sales TABLE orders",
            "COMMENT sales COLUMN orders.note",
            "VIEW sales v_order",
            "ACL sales TABLE v_order",
            "SEQUENCE OWNED BY sales orders_id_seq",
            "TABLE ATTACH sales orders_2023",
            "DEFAULT sales orders id",
        ] {
            assert!(has(&pre, text), "{text} in {pre:#?}");
        }
        for text in [
            "TABLE sales orders_2023",
            "SEQUENCE sales orders_id_seq",
            "TABLE archive",
        ] {
            assert!(!has(&pre, text), "{text}");
        }
        let post = dropped(&plan_post_data(&entries, &facts).main);
        for text in [
            "CONSTRAINT sales orders orders_pkey",
            "INDEX sales orders_customer",
            "RULE sales v_order",
            "INDEX ATTACH sales orders_2023_pkey",
            "FK CONSTRAINT sales order_item order_item_order_id",
        ] {
            assert!(has(&post, text), "{text} in {post:#?}");
        }
        for text in ["CONSTRAINT sales orders_2023", "INDEX sales orders_2023"] {
            assert!(!has(&post, text), "{text}");
        }
    }
}

#[test]
fn what_attaches_a_partition_to_a_parent_that_was_not_dumped_is_left_out() {
    for list in LISTS {
        let mut entries = entries(list);
        let filtered = oid_of(&entries, "TABLE", "sales orders ");
        let is_of_parent = |entry: &Entry| {
            [
                "sales orders ",
                "sales orders_customer ",
                "sales orders_note ",
            ]
            .iter()
            .any(|text| entry.rest.starts_with(text))
        };
        entries.retain(|entry| !is_of_parent(entry));
        let facts = Facts {
            filtered: [filtered].into(),
            ..Facts::default()
        };
        let (pre, post) = (
            plan_pre_data(&entries, &facts).edits,
            plan_post_data(&entries, &facts).main,
        );
        let attachments = pre.iter().chain(&post).filter(|edit| {
            let desc = edit.entry.desc.as_str();
            matches!(desc, "TABLE ATTACH" | "INDEX ATTACH")
        });
        for edit in attachments {
            // partitions of orders_2024, which is partitioned itself, stay its partitions
            let is_below = edit.entry.rest.contains("orders_2024_h");
            assert_eq!(edit.dropped.is_none(), is_below, "{:?}", edit.entry);
        }
        let unfiltered = plan_pre_data(&entries, &Facts::default()).edits;
        assert!(
            unfiltered
                .iter()
                .all(|edit| edit.dropped != Some(Reason::Filtered))
        );
    }
}

#[test]
fn a_partition_is_the_first_that_its_attachment_depends_on() {
    for list in LISTS {
        let entries = entries(list);
        let by_id = index_by_id(&entries);
        for attach in entries.iter().filter(|e| e.desc == "TABLE ATTACH") {
            let child = &entries[by_id[&attach.depends_on[0]]];
            assert_eq!((child.desc.as_str(), &child.rest), ("TABLE", &attach.rest));
        }
    }
}

#[test]
fn a_matview_without_data_leaves_those_above_it_without_data() {
    let entries = entries(LISTS[0]);
    let mut facts = Facts {
        owners: owners(),
        ..Facts::default()
    };
    facts.filtered_texts.insert((
        "MATERIALIZED VIEW DATA".to_owned(),
        "sales mv_sales".to_owned(),
    ));
    let plan = plan_post_data(&entries, &facts);
    let dropped: Vec<&Edit<'_>> = plan
        .main
        .iter()
        .filter(|e| e.entry.desc == "MATERIALIZED VIEW DATA")
        .collect();
    assert_eq!(dropped.len(), 2);
    assert_eq!(dropped[0].dropped, Some(Reason::Filtered));
    assert_eq!(
        dropped[1].dropped,
        Some(Reason::Needs(dropped[0].entry.dump_id))
    );
}

#[test]
fn extensions_schemas_and_collations_are_left_out_as_asked() {
    let entries = entries(LISTS[0]);
    let schema = |name: &str, owner: &str| SourceSchema {
        name: name.into(),
        owner: owner.into(),
    };
    let (_, ext) = oid_of(&entries, "SCHEMA", "- ext ");
    let (_, sales) = oid_of(&entries, "SCHEMA", "- sales ");
    let facts = Facts {
        schemas: [
            (ext, schema("ext", "postgres")),
            (sales, schema("sales", "shop_owner")),
        ]
        .into(),
        extension_schemas: [ext].into(),
        target_schemas: ["sales".to_owned(), "public".to_owned()].into(),
        skips: [Skip::Extensions, Skip::Collations].into(),
        ..Facts::default()
    };
    let plan = plan_pre_data(&entries, &facts);
    assert_eq!(
        plan.owed_owners,
        [("sales".to_owned(), "shop_owner".to_owned())]
    );
    let text = print_edits(&plan.edits);
    let left: Vec<&str> = text.lines().filter(|l| !l.starts_with(';')).collect();
    for gone in [
        " EXTENSION ",
        " COLLATION ",
        "SCHEMA - ext",
        "SCHEMA - sales shop_owner",
    ] {
        let ours = |l: &&&str| l.contains(gone) && !l.contains("COMMENT") && !l.contains("ACL");
        assert_eq!(left.iter().filter(ours).count(), 0, "{gone}");
    }
    assert!(
        left.iter().any(|l| l.contains("ACL - SCHEMA sales")),
        "privileges still come"
    );
    assert!(
        left.iter().any(|l| l.contains("TABLE sales customer")),
        "users of types stay"
    );
}

#[test]
fn one_extension_is_left_out_or_all_are_made_by_us() {
    let entries = entries(LISTS[0]);
    let (_, hstore) = oid_of(&entries, "EXTENSION", "- hstore ");
    let (_, sales) = oid_of(&entries, "SCHEMA", "- sales ");
    let mut facts = Facts {
        schemas: [(
            sales,
            SourceSchema {
                name: "sales".into(),
                owner: "me".into(),
            },
        )]
        .into(),
        target_schemas: ["sales".to_owned()].into(),
        extension_names: [(hstore, "hstore".to_owned())].into(),
        skips: [Skip::Owners].into(),
        ..Facts::default()
    };
    facts.extensions = ExtensionRule::AllBut(["hstore".to_owned()].into());
    let plan = plan_pre_data(&entries, &facts);
    assert!(plan.owed_owners.is_empty());
    let dropped: Vec<&str> = lines(&plan.edits);
    assert_eq!(
        dropped
            .iter()
            .filter(|l| l.contains("EXTENSION - hstore"))
            .count(),
        1
    );
    assert_eq!(
        dropped
            .iter()
            .filter(|l| l.contains("- EXTENSION hstore"))
            .count(),
        1
    );
    assert_eq!(
        dropped.iter().filter(|l| l.contains("EXTENSION")).count(),
        2
    );

    facts.extensions = ExtensionRule::Ours;
    let plan = plan_pre_data(&entries, &facts);
    let dropped = lines(&plan.edits);
    assert_eq!(dropped.iter().filter(|l| l.contains("COMMENT")).count(), 0);
    assert_eq!(
        dropped
            .iter()
            .filter(|l| l.contains(" EXTENSION - "))
            .count(),
        7
    );
    let schemas = schemas_only(&plan);
    assert!(kept(&schemas).iter().all(|e| e.desc == "SCHEMA"));
    assert_eq!(kept(&schemas).len(), 4);
}

#[test]
fn what_workers_build_goes_and_its_comments_stay() {
    let entries = entries(LISTS[0]);
    let index = oid_of(&entries, "INDEX", "sales customer_slug");
    let key = oid_of(
        &entries,
        "FK CONSTRAINT",
        "sales department department_head",
    );
    assert_eq!((index.0, key.0), (PG_CLASS, PG_CONSTRAINT));
    let facts = Facts {
        built: [index, key].into(),
        ..Facts::default()
    };
    let plan = plan_post_data(&entries, &facts);
    let dropped: Vec<Option<Reason>> = plan
        .main
        .iter()
        .filter_map(|e| e.dropped.map(Some))
        .collect();
    assert_eq!(
        dropped,
        [
            Some(Reason::Built),
            Some(Reason::Built),
            Some(Reason::Later)
        ]
    );
}

#[test]
fn a_second_attempt_leaves_out_all_that_exists() {
    let entries = entries(LISTS[0]);
    let existing = EXISTING.lines().map(|line| {
        let mut columns = line.split('|');
        let mut next = || columns.next().unwrap().to_owned();
        let (desc, nspname, tag) = (next(), next(), next());
        (desc, format!("{nspname} {tag}"))
    });
    let facts = Facts {
        existing: existing.collect(),
        owners: owners(),
        ..Facts::default()
    };
    let plan = plan_post_data(&entries, &facts);
    let left: BTreeSet<&str> = kept(&plan.main).iter().map(|e| e.desc.as_str()).collect();
    assert_eq!(
        left,
        ["COMMENT", "DEFAULT ACL", "ROW SECURITY"]
            .into_iter()
            .collect()
    );
    assert!(kept(&plan.last).is_empty());
    let unknown_owner = Facts {
        owners: ["nobody".to_owned()].into(),
        ..facts
    };
    assert!(kept(&plan_post_data(&entries, &unknown_owner).main).len() > 70);
}

#[test]
fn large_objects_the_database_and_our_publication_are_ours_and_novelties_stay() {
    let list = "1; 2613 5 BLOB - 5 me\n2; 0 0 BLOB METADATA - 5..9 me\n;\tdepends on: 1\n\
        3; 0 0 COMMENT - LARGE OBJECT 5 me\n4; 0 0 ACL - LARGE OBJECTS 5..9 me\n\
        5; 0 0 BLOBS - BLOBS \n6; 0 0 ACL - DATABASE x me\n7; 0 0 SECURITY LABEL - DATABASE x me\n\
        8; 6104 70 PUBLICATION - ours me\n9; 6106 71 PUBLICATION TABLE a ours t me\n\
        ;\tdepends on: 8\n10; 0 0 COMMENT - PUBLICATION ours me\n;\tdepends on: 8\n\
        11; 9999 1 NOVELTY - x me\n12; 1259 70 TABLE BLOB x me\n";
    let mut entries = parse(list).unwrap();
    let all: BTreeSet<i32> = (1..=12).collect();
    assign_sections(&mut entries, &all, &BTreeSet::new());
    let facts = Facts {
        own_publications: [70].into(),
        ..Facts::default()
    };
    let plan = plan_pre_data(&entries, &facts);
    let left: Vec<i32> = kept(&plan.edits).iter().map(|e| e.dump_id).collect();
    assert_eq!(left, [11, 12]);
}
