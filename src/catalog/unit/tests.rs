//! Tests of the ledger of units: claims, order, crashes, new plans.

use super::*;
use crate::catalog::Ledger;

fn ledger(units: &[(&str, &str, i64, i64)]) -> (Ledger, Run) {
    let ledger = Ledger::in_memory().unwrap();
    let run = Run::begin(ledger.connection(), "clone", true).unwrap();
    for (kind, state, table, object) in units {
        ledger
            .connection()
            .execute(
                "insert into unit (kind, state, table_oid, object, rank) values (?1, ?2, ?3, ?4, 1)",
                params![kind, state, table, object],
            )
            .unwrap();
    }
    (ledger, run)
}

fn done(ledger: &mut Ledger, run: Run, unit: &Unit) -> Vec<Kind> {
    let ready = ledger
        .write(|tx| finish(tx, run, &[(unit, Done::default())]))
        .unwrap();
    ready.into_iter().map(|(kind, _)| kind).collect()
}

#[test]
fn a_table_goes_through_its_kinds_in_order() {
    let (mut ledger, run) = ledger(&[
        ("copy", "todo", 7, 1),
        ("copy", "todo", 7, 2),
        ("index", "waiting", 7, 70),
        ("index", "waiting", 7, 71),
        ("constraint", "waiting", 7, 0),
        ("vacuum", "waiting", 7, 0),
    ]);
    let first = claim(&mut ledger, run, 1, &[Kind::Copy]).unwrap().unwrap();
    let second = claim(&mut ledger, run, 2, &[Kind::Copy]).unwrap().unwrap();
    assert_ne!(first.id, second.id);
    assert_eq!(
        claim(&mut ledger, run, 3, &[Kind::Copy, Kind::Index]).unwrap(),
        None
    );
    assert_eq!(done(&mut ledger, run, &first), []);
    assert_eq!(done(&mut ledger, run, &second), [Kind::Index, Kind::Index]);
    let index = claim(&mut ledger, run, 1, &[Kind::Index]).unwrap().unwrap();
    assert_eq!(done(&mut ledger, run, &index), []);
    let index = claim(&mut ledger, run, 1, &[Kind::Index]).unwrap().unwrap();
    assert_eq!(done(&mut ledger, run, &index), [Kind::Constraint]);
    let constraint = claim(&mut ledger, run, 1, &[Kind::Constraint])
        .unwrap()
        .unwrap();
    assert_eq!(done(&mut ledger, run, &constraint), [Kind::Vacuum]);
    assert!(stage_is_over(&ledger, &[Kind::Index], &[Kind::Copy]).unwrap());
    assert!(!stage_is_over(&ledger, &[Kind::Vacuum], &[]).unwrap());
}

#[test]
fn a_table_without_indexes_is_vacuumed_after_its_copy() {
    let (mut ledger, run) = ledger(&[("copy", "todo", 7, 0), ("vacuum", "waiting", 7, 0)]);
    let copy = claim(&mut ledger, run, 1, &[Kind::Copy]).unwrap().unwrap();
    assert_eq!(done(&mut ledger, run, &copy), [Kind::Vacuum]);
}

#[test]
fn a_foreign_key_waits_for_both_tables_and_is_validated_alone() {
    let (mut ledger, run) = ledger(&[
        ("copy", "todo", 7, 0),
        ("copy", "todo", 8, 0),
        ("fkey", "waiting", 7, 700),
        ("validate", "waiting", 7, 700),
        ("fkey", "waiting", 7, 701),
        ("validate", "waiting", 7, 701),
    ]);
    ledger
        .connection()
        .execute_batch(
            "insert into s_fkey (oid, table_oid, ref_oid, conname, is_validated, is_plain, definition)
             values (700, 7, 8, 'a', 1, 1, ''), (701, 7, 7, 'b', 1, 1, '')",
        )
        .unwrap();
    let copies: Vec<Unit> = (0..2)
        .map(|_| claim(&mut ledger, run, 1, &[Kind::Copy]).unwrap().unwrap())
        .collect();
    let (of_seven, of_eight) = if copies[0].table_oid == 7 {
        (&copies[0], &copies[1])
    } else {
        (&copies[1], &copies[0])
    };
    assert_eq!(
        done(&mut ledger, run, of_seven),
        [Kind::Fkey],
        "the self reference alone"
    );
    assert_eq!(done(&mut ledger, run, of_eight), [Kind::Fkey]);
    let first = claim(&mut ledger, run, 1, &[Kind::Fkey]).unwrap().unwrap();
    assert_eq!(
        claim(&mut ledger, run, 2, &[Kind::Fkey]).unwrap(),
        None,
        "same table"
    );
    assert_eq!(done(&mut ledger, run, &first), [Kind::Validate]);
}

#[test]
fn what_a_dead_worker_claimed_is_taken_back_and_given_up_in_the_end() {
    let (mut ledger, run) = ledger(&[("copy", "todo", 7, 0)]);
    for death in 1..=claim::CRASHES_MAX {
        let unit = claim(&mut ledger, run, 3, &[Kind::Copy]).unwrap().unwrap();
        assert_eq!(unit.claims, death);
        assert!(
            take_back(&mut ledger, run, 4, &[Kind::Copy])
                .unwrap()
                .is_empty()
        );
        let given_up = take_back(&mut ledger, run, 3, &[Kind::Copy]).unwrap();
        assert_eq!(given_up.len(), usize::from(death == claim::CRASHES_MAX));
    }
    assert_eq!(claim(&mut ledger, run, 1, &[Kind::Copy]).unwrap(), None);
    reset_for_run(ledger.connection()).unwrap();
    let unit = claim(&mut ledger, run, 1, &[Kind::Copy]).unwrap().unwrap();
    assert_eq!((unit.claims, unit.attempts), (1, claim::CRASHES_MAX + 1));
}

#[test]
fn a_unit_that_another_worker_has_cannot_be_finished() {
    let (mut ledger, run) = ledger(&[("copy", "todo", 7, 0)]);
    let unit = claim(&mut ledger, run, 1, &[Kind::Copy]).unwrap().unwrap();
    take_back(&mut ledger, run, 1, &[Kind::Copy]).unwrap();
    assert!(
        ledger
            .write(|tx| finish(tx, run, &[(&unit, Done::default())]))
            .is_err()
    );
}

#[test]
fn a_failed_copy_keeps_what_depends_on_it_waiting_and_ends_the_stage() {
    let (mut ledger, run) = ledger(&[("copy", "todo", 7, 0), ("index", "waiting", 7, 70)]);
    let unit = claim(&mut ledger, run, 1, &[Kind::Copy]).unwrap().unwrap();
    ledger
        .write(|tx| give_up(tx, &unit, &Error::internal("x")))
        .unwrap();
    assert!(stage_is_over(&ledger, &[Kind::Index], &[Kind::Copy]).unwrap());
}

#[test]
fn a_new_plan_waits_for_parts_of_the_old_one_that_still_run() {
    let (mut ledger, run) = ledger(&[]);
    ledger
        .connection()
        .execute_batch(
            "insert into s_table (oid, nspname, relname, qname, relkind, amname, persistence, filenode,
                relpages, bytes, main_bytes, reltuples)
             values (7, 'a', 'b', 'a.b', 'r', 'heap', 'p', 1, 1, 1, 1, 1);
             insert into unit (kind, state, table_oid, object, plan)
             values ('copy', 'todo', 7, 1, 1), ('copy', 'todo', 7, 2, 1), ('copy', 'todo', 7, 3, 1)",
        )
        .unwrap();
    let first = claim(&mut ledger, run, 1, &[Kind::Copy]).unwrap().unwrap();
    let second = claim(&mut ledger, run, 2, &[Kind::Copy]).unwrap().unwrap();
    assert!(
        ledger
            .write(|tx| replan_as_whole(tx, &first))
            .unwrap()
            .is_empty()
    );
    assert_eq!(
        claim(&mut ledger, run, 1, &[Kind::Copy]).unwrap(),
        None,
        "the second part runs"
    );
    assert_eq!(done(&mut ledger, run, &second), [Kind::Copy]);
    let whole = claim(&mut ledger, run, 1, &[Kind::Copy]).unwrap().unwrap();
    assert_eq!((whole.object, whole.plan), (0, 2));
    assert_eq!(done(&mut ledger, run, &whole), []);
}

#[test]
fn parts_of_a_new_plan_wait_until_their_table_is_emptied() {
    let (mut ledger, run) = ledger(&[]);
    ledger
        .connection()
        .execute_batch(
            "insert into s_part (table_oid, plan, part, kind) values (7, 1, 1, 'ctid'), (7, 1, 2, 'ctid');
             insert into unit (kind, state, table_oid, object, plan)
             values ('copy', 'done', 7, 1, 1), ('copy', 'todo', 7, 2, 1)",
        )
        .unwrap();
    replan_parts(ledger.connection(), 7).unwrap();
    advance(ledger.connection(), 0).unwrap();
    assert_eq!(claim(&mut ledger, run, 1, &[Kind::Copy]).unwrap(), None);
    let truncate = claim(&mut ledger, run, 1, &[Kind::Truncate])
        .unwrap()
        .unwrap();
    assert_eq!(done(&mut ledger, run, &truncate), [Kind::Copy, Kind::Copy]);
}

/// A vacuum worker once ended between two looks, while its unit became ready: the index worker, whose
/// foreign keys wait for vacuum, then waited for ever.
#[test]
fn a_worker_does_not_end_while_its_last_unit_becomes_ready() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("source.db");
    let mut builder = Ledger::open(&path).unwrap();
    let run = Run::begin(builder.connection(), "clone", true).unwrap();
    for round in 1..=150 {
        builder
            .connection()
            .execute_batch(&format!(
                "delete from unit;
                 insert into unit (kind, state, table_oid) values ('constraint', 'todo', {round}),
                                                                  ('vacuum', 'waiting', {round})"
            ))
            .unwrap();
        let kinds = [Kind::Constraint];
        let unit = claim(&mut builder, run, 1, &kinds).unwrap().unwrap();
        let vacuum = std::thread::scope(|scope| {
            let waits = scope.spawn(|| {
                let mut ledger = Ledger::open(&path).unwrap();
                loop {
                    let claimed = claim(&mut ledger, run, 1, &[Kind::Vacuum]).unwrap();
                    if claimed.is_some() || stage_is_over(&ledger, &[Kind::Vacuum], &kinds).unwrap()
                    {
                        return claimed;
                    }
                }
            });
            crate::sys::clock::nap(std::time::Duration::from_millis(3));
            done(&mut builder, run, &unit);
            waits.join().unwrap()
        });
        assert!(vacuum.is_some(), "round {round}");
    }
}
