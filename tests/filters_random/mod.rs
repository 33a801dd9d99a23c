//! Random schemas under random filters, judged by a model that knows what hangs on what because it made
//! it: the clone must end, and equal what is made by hand of the objects that the model keeps.
//!
//! `ci/torture filters --cases N --seed S` runs more of them.

mod judge;
mod model;

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::judge::differences;
use crate::support::{Pair, WorkDir, pair, run};
use judge::Verdict;
use model::Model;

/// Cases of a run that says nothing else.
const CASES: usize = 12;

/// One case; what went wrong, if anything did.
fn case(seed: u64) -> Result<(), String> {
    let mut model = Model::new(seed);
    let filters = model.rules();
    let whole = model.script(&Verdict::default());
    let told = |what: &str| {
        format!(
            "seed {seed}: {what}\n---- filters\n{}---- source\n{whole}",
            filters.text
        )
    };
    let copy = pair();
    let by_hand = pair();
    let drop_all = |pairs: [&Pair; 2]| {
        for pair in pairs {
            for cluster in [pair.from, pair.to] {
                let _ = cluster.try_sql(
                    "postgres",
                    &format!("drop database {} with (force)", pair.db),
                );
            }
        }
    };
    let result = (|| {
        copy.from
            .try_sql(&copy.db, &whole)
            .map_err(|e| told(&format!("the generator is wrong: {e}")))?;
        let work = WorkDir::new();
        let file = work.file("filters.ini", &filters.text);
        let out = copy.clone(
            &work,
            &[
                "--filters",
                &file,
                "--table-jobs",
                "2",
                "--index-jobs",
                "2",
                "--skip-vacuum",
            ],
        );
        let Some(verdict) = model.judge(&filters) else {
            return match out.code {
                2 => Ok(()),
                code => Err(told(&format!("exit {code} in place of 2\n{}", out.stderr))),
            };
        };
        if out.code != 0 {
            return Err(told(&format!("exit {}\n{}", out.code, out.stderr)));
        }
        let expected = model.script(&verdict);
        by_hand
            .from
            .try_sql(&by_hand.db, &expected)
            .map_err(|e| told(&format!("the model is wrong: {e}\n{expected}")))?;
        match differences(&by_hand.source(), &copy.target()) {
            Some(text) => Err(told(&format!("{text}\n{}", out.stderr))),
            None => compared(&copy, &file).map_err(|text| told(&text)),
        }
    })();
    drop_all([&copy, &by_hand]);
    result
}

/// The program, too, finds source and target equal through the same filters.
fn compared(copy: &Pair, file: &str) -> Result<(), String> {
    for what in ["schema", "data"] {
        let (source, target) = (copy.source(), copy.target());
        let out = run(&[
            "compare",
            what,
            "--source",
            &source,
            "--target",
            &target,
            "--filters",
            file,
        ]);
        if out.code != 0 {
            let said = format!("{}{}", out.stdout, out.stderr);
            return Err(format!("compare {what}: exit {}\n{said}", out.code));
        }
    }
    Ok(())
}

#[test]
fn random_filters_leave_of_random_schemas_what_the_model_says() {
    let number = |name: &str, otherwise: usize| -> usize {
        std::env::var(name).map_or(otherwise, |text| text.parse().expect("a number"))
    };
    let cases = number("PGCOPYDB_FILTER_CASES", CASES);
    let seed = number("PGCOPYDB_FILTER_SEED", 1);
    println!("seed {seed}, {cases} cases");
    let next = AtomicUsize::new(0);
    let failures = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= cases || failures.lock().unwrap().len() > 3 {
                        return;
                    }
                    let seed = u64::try_from(seed * 100_000 + n).unwrap();
                    if let Err(why) = case(seed) {
                        println!("{why}\n");
                        failures.lock().unwrap().push(seed);
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(
        failures.is_empty(),
        "cases that failed, by seed: {failures:?}"
    );
}
