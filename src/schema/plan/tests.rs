//! Tests of the split planner: every row is in exactly one part, for keys of every kind.

use super::*;

const MB: u64 = 1 << 20;

fn options(part_bytes: u64, max_parts: u64, by_ctid: bool) -> SplitOptions {
    SplitOptions {
        part_bytes,
        max_parts,
        by_ctid,
    }
}

fn heap(bytes: u64, pages: u64) -> TableFacts {
    TableFacts {
        is_heap: true,
        bytes,
        pages,
        key: None,
    }
}

fn keyed(parts: u64, key: KeyFacts) -> Vec<PartPlan> {
    let table = TableFacts {
        is_heap: true,
        bytes: parts * MB,
        pages: parts * 128,
        key: Some(key),
    };
    plan_parts(&table, &options(MB, 0, false))
}

/// What the server would answer for the predicate of the part.
fn holds(part: &PartPlan, value: Option<i64>) -> bool {
    match value {
        None => part.with_null,
        Some(value) => {
            part.low.is_none_or(|low| value >= low) && part.high.is_none_or(|high| value < high)
        }
    }
}

fn assert_each_row_once(parts: &[PartPlan], values: impl IntoIterator<Item = Option<i64>>) {
    for value in values {
        let homes = parts.iter().filter(|part| holds(part, value)).count();
        assert_eq!(homes, 1, "{value:?} in {parts:?}");
    }
}

fn assert_well_formed(parts: &[PartPlan]) {
    assert_ne!(parts.len(), 1);
    for (index, pair) in parts.windows(2).enumerate() {
        assert_eq!(pair[0].high, pair[1].low);
        assert!(pair[0].low.is_none_or(|low| Some(low) < pair[0].high));
        assert_eq!(usize::try_from(pair[0].part).unwrap(), index + 1);
    }
    if let (Some(first), Some(last)) = (parts.first(), parts.last()) {
        assert_eq!((first.low, last.high), (None, None));
    }
}

fn around(parts: &[PartPlan]) -> Vec<Option<i64>> {
    let mut values = vec![
        None,
        Some(i64::MIN),
        Some(i64::MAX),
        Some(-1),
        Some(0),
        Some(1),
    ];
    for bound in parts.iter().filter_map(|part| part.low) {
        values.extend([bound.checked_sub(1), Some(bound), bound.checked_add(1)]);
    }
    values
}

#[test]
fn small_ranges_of_keys_are_covered_once_for_every_number_of_parts() {
    for min in -25..=25 {
        for span in 0..50 {
            for wanted in 2..=20 {
                let key = KeyFacts {
                    nullable: true,
                    min_max: Some((min, min + span)),
                    ..KeyFacts::default()
                };
                let parts = keyed(wanted, key);
                assert_well_formed(&parts);
                assert_eq!(parts.is_empty(), span == 0);
                assert!(parts.len() as u64 <= wanted);
                if !parts.is_empty() {
                    assert_each_row_once(&parts, (-30..=80).map(Some).chain([None]));
                    let inside = (min..=min + span).map(Some);
                    for part in &parts {
                        assert!(
                            inside.clone().any(|value| holds(part, value)),
                            "empty {part:?}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn keys_with_a_bound_at_minus_one_are_neither_lost_nor_doubled() {
    for (min, max) in [(-80, 119), (-121, 78), (-1, 0), (-5, -1), (0, 9)] {
        for wanted in 2..=20 {
            let parts = keyed(
                wanted,
                KeyFacts {
                    min_max: Some((min, max)),
                    nullable: true,
                    histogram: vec![],
                },
            );
            assert_each_row_once(&parts, (-200..200).map(Some).chain([None]));
        }
    }
}

#[test]
fn extreme_keys_do_not_overflow() {
    let spans = [
        (i64::MIN, i64::MAX),
        (i64::MIN, i64::MIN + 1),
        (i64::MAX - 1, i64::MAX),
        (0, i64::MAX),
    ];
    for (min, max) in spans {
        for wanted in 2..=20 {
            for histogram in [vec![], vec![min, max], vec![min, 0, max]] {
                let key = KeyFacts {
                    nullable: true,
                    min_max: Some((min, max)),
                    histogram,
                };
                let parts = keyed(wanted, key);
                assert_well_formed(&parts);
                assert!(parts.len() > 1);
                assert_each_row_once(&parts, around(&parts));
            }
        }
    }
}

#[test]
fn a_histogram_balances_skewed_keys_within_a_factor_of_three() {
    // given: 10,000 keys, growing quadratically, with one far outlier
    let mut keys: Vec<i64> = (0..10_000)
        .map(|row: i64| row * row * 1000 - 7_000_000)
        .collect();
    keys.push(i64::MAX / 2);
    let histogram: Vec<i64> = (0..=100).map(|bound| keys[bound * 100]).collect();
    for wanted in 2..=20_u64 {
        // when
        let key = KeyFacts {
            nullable: false,
            min_max: Some((keys[0], i64::MAX / 2)),
            histogram: histogram.clone(),
        };
        let parts = keyed(wanted, key);
        // then
        assert_well_formed(&parts);
        assert_eq!(parts.len() as u64, wanted);
        assert_each_row_once(&parts, keys.iter().copied().map(Some));
        let fair = keys.len() / parts.len();
        for part in &parts {
            let rows = keys.iter().filter(|key| holds(part, Some(**key))).count();
            assert!(
                rows * 3 >= fair && rows <= fair * 3,
                "{rows} rows of {fair} in {part:?}"
            );
        }
    }
}

#[test]
fn gaps_and_stale_histograms_lose_nothing() {
    let keys = [-9_000, -8_999, 3, 4, 5_000_000_000, 5_000_000_001];
    for histogram in [
        vec![],
        vec![-50_000, -40_000],
        vec![-9_000, 3, 9_000_000_000],
        vec![5, 4, 3],
    ] {
        for wanted in 2..=20 {
            let key = KeyFacts {
                nullable: true,
                min_max: Some((keys[0], keys[5])),
                histogram: histogram.clone(),
            };
            let parts = keyed(wanted, key);
            assert_well_formed(&parts);
            assert_each_row_once(&parts, keys.iter().copied().map(Some));
            assert_each_row_once(&parts, around(&parts));
        }
    }
}

#[test]
fn a_single_value_and_no_value_at_all_are_not_split() {
    for min_max in [Some((7, 7)), Some((i64::MIN, i64::MIN)), None] {
        assert!(
            keyed(
                20,
                KeyFacts {
                    min_max,
                    nullable: true,
                    histogram: vec![7]
                }
            )
            .is_empty()
        );
    }
}

#[test]
fn heaps_are_cut_by_page_into_as_many_parts_as_their_bytes_ask_for() {
    let parts = plan_parts(&heap(10 * MB, 1280), &options(MB, 0, true));
    assert_eq!(parts.len(), 10);
    assert_well_formed(&parts);
    assert_eq!(parts[1].low, Some(128));
    // most of it is TOAST
    assert_eq!(
        plan_parts(&heap(100 * MB, 10), &options(MB, 0, true)).len(),
        10
    );
    assert_eq!(
        plan_parts(&heap(100 * MB, 50), &options(10 * MB, 0, true)).len(),
        10
    );
    assert_eq!(
        plan_parts(&heap(100 * MB, 12_800), &options(MB, 7, true)).len(),
        7
    );
    for pages in 0..60 {
        for wanted in 2..=20 {
            let parts = plan_parts(&heap(wanted * MB, pages), &options(MB, 0, true));
            assert_well_formed(&parts);
            assert!(
                parts
                    .iter()
                    .all(|part| !part.with_null && part.kind == PartKind::Ctid)
            );
            if !parts.is_empty() {
                assert_each_row_once(&parts, (0..100).map(Some));
            }
        }
    }
}

#[test]
fn small_tables_other_access_methods_and_a_size_of_zero_are_not_split() {
    let by_ctid = options(MB, 0, true);
    assert!(plan_parts(&heap(MB - 1, 128), &by_ctid).is_empty());
    assert!(plan_parts(&heap(MB, 128), &by_ctid).is_empty());
    assert!(plan_parts(&heap(9 * MB, 999), &options(0, 0, true)).is_empty());
    assert!(plan_parts(&heap(9 * MB, 999), &options(MB, 1, true)).is_empty());
    assert!(plan_parts(&heap(9 * MB, 999), &options(MB, 0, false)).is_empty());
    let columnar = TableFacts {
        is_heap: false,
        ..heap(9 * MB, 999)
    };
    assert!(plan_parts(&columnar, &by_ctid).is_empty());
    assert!(needs_key(&columnar, &by_ctid));
    assert!(!needs_key(&heap(9 * MB, 999), &by_ctid));
}

#[test]
fn predicates_are_sql_with_explicit_bounds() {
    let part = |kind, low, high, with_null| PartPlan {
        part: 1,
        kind,
        low,
        high,
        with_null,
    };
    assert_eq!(
        predicate(&part(PartKind::Ctid, Some(10), Some(20), false), "\"id\""),
        "ctid >= '(10,0)'::tid and ctid < '(20,0)'::tid"
    );
    assert_eq!(
        predicate(&part(PartKind::Range, None, Some(-1), true), "id"),
        "(id < '-1'::int8 or id is null)"
    );
    assert_eq!(
        predicate(
            &part(PartKind::Range, Some(i64::MIN + 1), None, false),
            "\"Id\""
        ),
        "\"Id\" >= '-9223372036854775807'::int8"
    );
    assert_eq!(
        predicate(&part(PartKind::Ctid, None, None, false), ""),
        "true"
    );
}
