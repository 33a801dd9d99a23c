//! The summary of all databases of a cluster: sums of the steps, and all tables in one list. What is measured by
//! the wall clock while databases are worked on side by side is that of the one that took longest.
//!
//! Runs in the main program. Pure: figures in, text out.

use super::summary::{StepFigures, Summary, TableFigures};
use super::table;

/// Figures of several databases, which were cloned side by side.
#[derive(Clone, Debug)]
pub struct Together {
    /// Each database by its name.
    pub databases: Vec<(String, Summary)>,
    /// Their sums, without tables.
    pub sums: Summary,
}

impl Together {
    /// Adds up the databases. `whole` has what was measured around them: begin, end, total, notices.
    pub fn of(databases: Vec<(String, Summary)>, whole: Summary) -> Self {
        let mut sums = whole;
        let last = sums.steps.len().saturating_sub(1);
        for (position, step) in sums.steps.iter_mut().enumerate() {
            for (_, summary) in &databases {
                let Some(one) = summary.steps.get(position) else {
                    continue;
                };
                step.bytes += one.bytes;
                // The total is measured from begin to end: roles and pauses count, too.
                if step.label.contains("wall clock") {
                    step.duration_ms = step.duration_ms.max(one.duration_ms);
                } else if position != last {
                    step.duration_ms += one.duration_ms;
                }
            }
        }
        let mut notices = std::mem::take(&mut sums.notices);
        for (database, summary) in &databases {
            let of_one = summary.notices.iter();
            notices.extend(
                of_one.map(|(topic, line)| {
                    (format!("database \"{database}\": {topic}"), line.clone())
                }),
            );
        }
        sums.notices = notices;
        sums.tables.clear();
        Self { databases, sums }
    }

    /// Steps of the sums; the last one is the total.
    pub fn steps(&self) -> &[StepFigures] {
        &self.sums.steps
    }

    /// Tables of all databases.
    pub fn table_count(&self) -> usize {
        self.databases
            .iter()
            .map(|(_, summary)| summary.tables.len())
            .sum()
    }
}

/// The whole text.
pub fn text_of_all(all: &Together) -> String {
    let mut tables: Vec<(&str, &TableFigures)> = all
        .databases
        .iter()
        .flat_map(|(name, summary)| {
            summary
                .tables
                .iter()
                .map(move |table| (name.as_str(), table))
        })
        .collect();
    tables.sort_by_key(|(_, table)| std::cmp::Reverse(table.bytes));
    [
        table::tables_of_all(&tables),
        table::steps(all.steps()),
        table::notices(&all.sums.notices),
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use super::super::summary::tests::{WORKERS, ledger};
    use super::*;

    #[test]
    fn steps_are_summed_but_for_the_total_and_tables_name_their_database() {
        let one = Summary::read(&ledger(), WORKERS).unwrap();
        let mut whole = one.clone();
        for step in &mut whole.steps {
            (step.duration_ms, step.bytes) = (7, 0);
        }
        let all = Together::of(
            vec![("a".to_owned(), one.clone()), ("b".to_owned(), one.clone())],
            whole,
        );
        assert_eq!(all.steps()[0].duration_ms, 7 + 2 * one.steps[0].duration_ms);
        assert_eq!(all.steps()[3].duration_ms, one.steps[3].duration_ms.max(7));
        assert_eq!(all.steps().last().unwrap().duration_ms, 7);
        assert_eq!(all.table_count(), 2 * one.tables.len());
        let text = text_of_all(&all);
        assert!(text.starts_with("\nDatabase |   OID | Schema |"), "{text}");
        assert!(
            text.contains("\n       b | 16563 |   shop |     orders |"),
            "{text}"
        );
    }
}
