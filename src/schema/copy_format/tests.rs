//! Tests of the choice between text and binary.

use super::*;

const INT4: Oid = 23;
const TEXT: Oid = 25;
const REGCLASS: Oid = 2205;

fn columns(types: &[Oid]) -> Vec<Column> {
    let named = types.iter().enumerate();
    named
        .map(|(n, type_oid)| Column {
            attname: format!("c{n}"),
            type_oid: *type_oid,
            typmod: -1,
        })
        .collect()
}

fn shape(name: &str, shape: Shape, members: &[Oid]) -> TypeShape {
    TypeShape {
        name: name.to_owned(),
        shape,
        members: members.to_vec(),
    }
}

/// The same user types on both sides, their oids shifted by `shift` on the target.
fn facts(target_version: u32, shift: Oid) -> FormatFacts {
    let types = [
        (20_000, shape("s.mood", Shape::Enum, &[])),
        (20_001, shape("s.mood[]", Shape::Array, &[20_000])),
        (20_002, shape("s.pos", Shape::Domain, &[INT4])),
        (20_003, shape("s.pair", Shape::Composite, &[INT4, 20_000])),
        (
            20_004,
            shape("s.hidden", Shape::Composite, &[INT4, REGCLASS]),
        ),
        (20_005, shape("ext.hstore", Shape::Base, &[])),
        (20_006, shape("s.floats", Shape::Range, &[701])),
        (20_007, shape("s.address", Shape::Composite, &[TEXT, INT4])),
        (20_008, shape("s.loop", Shape::Array, &[20_008])),
    ];
    let source_types: TypeMap = types.clone().into_iter().collect();
    let moved = |oid: Oid| {
        if oid >= FIRST_USER_OID {
            oid + shift
        } else {
            oid
        }
    };
    let target_types = types
        .into_iter()
        .map(|(oid, kind)| {
            let members = kind.members.iter().map(|member| moved(*member)).collect();
            (moved(oid), TypeShape { members, ..kind })
        })
        .collect();
    FormatFacts {
        same_datetimes: true,
        target_version: PgVersion(target_version),
        source_types,
        target_types,
    }
}

fn decide(types: &[Oid], policy: FormatPolicy) -> Format {
    copy_format(&columns(types), &columns(types), policy, &facts(150_000, 0))
}

#[test]
fn auto_takes_binary_for_listed_types_of_which_one_must_be_parsed() {
    assert_eq!(decide(&[INT4, TEXT], FormatPolicy::Auto), Format::Binary);
    assert_eq!(decide(&[1007, 3807], FormatPolicy::Auto), Format::Binary);
    assert_eq!(
        decide(&[TEXT, 3802, 1043], FormatPolicy::Auto),
        Format::Text
    );
    assert_eq!(decide(&[TEXT, 3802], FormatPolicy::Binary), Format::Binary);
    assert_eq!(decide(&[INT4], FormatPolicy::Text), Format::Text);
    assert_eq!(decide(&[], FormatPolicy::Binary), Format::Text);
}

#[test]
fn types_whose_bytes_depend_on_the_server_go_as_text_even_on_demand() {
    // regclass, regtype[], money, tsvector, xml, aclitem, oidvector, composite with regclass
    for oid in [
        REGCLASS, 2211, 790, 3614, 142, 1033, 30, 20_004, 20_005, 20_008, 29_999,
    ] {
        assert_eq!(
            decide(&[INT4, oid], FormatPolicy::Auto),
            Format::Text,
            "{oid}"
        );
        assert_eq!(
            decide(&[INT4, oid], FormatPolicy::Binary),
            Format::Text,
            "{oid}"
        );
    }
}

#[test]
fn another_type_or_no_column_on_the_target_means_text() {
    let facts = facts(150_000, 0);
    let decide = |source: &[Oid], target: &[Oid]| {
        copy_format(
            &columns(source),
            &columns(target),
            FormatPolicy::Binary,
            &facts,
        )
    };
    assert_eq!(decide(&[20], &[1114]), Format::Text);
    assert_eq!(decide(&[INT4, INT4], &[INT4]), Format::Text);
    assert_eq!(decide(&[INT4], &[INT4, TEXT]), Format::Binary);
    let floats = FormatFacts {
        same_datetimes: false,
        ..facts.clone()
    };
    let columns = columns(&[1114]);
    assert_eq!(
        copy_format(&columns, &columns, FormatPolicy::Binary, &floats),
        Format::Text
    );
}

#[test]
fn user_types_go_binary_on_demand_where_the_target_accepts_their_oids() {
    for oid in [20_000, 20_001, 20_002, 20_003, 20_006, 20_007] {
        assert_eq!(decide(&[oid], FormatPolicy::Auto), Format::Text, "{oid}");
        let source = columns(&[oid]);
        let target = columns(&[oid + 5000]);
        let on = |version| {
            copy_format(
                &source,
                &target,
                FormatPolicy::Binary,
                &facts(version, 5000),
            )
        };
        assert_eq!(on(140_000), Format::Binary, "{oid}");
        let embeds_user_oid = oid == 20_001 || oid == 20_003;
        let expected = if embeds_user_oid {
            Format::Text
        } else {
            Format::Binary
        };
        assert_eq!(on(130_000), expected, "{oid}");
    }
}

#[test]
fn each_listed_oid_stands_once() {
    let mut all: Vec<Oid> = SAFE_TYPES
        .iter()
        .flat_map(|entry| [entry.0, entry.1])
        .collect();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), SAFE_TYPES.len() * 2);
}
