//! Are the tables the same? Asks the servers, and believes no exit status.

use std::collections::HashMap;
use std::fmt::Write as _;

use postgres::Client;

use super::connect;
use super::schema::Schema;
use crate::support::servers::Pair;

/// Differing rows that are shown of a table.
const SHOWN: usize = 6;

fn rows(client: &mut Client, table: &str) -> Vec<String> {
    let sql = format!("select x::text from {table} x order by x::text collate \"C\"");
    let rows = client.query(&sql, &[]).expect("the rows of a table");
    rows.iter().map(|row| row.get(0)).collect()
}

fn cut(text: &str) -> String {
    text.chars().take(300).collect()
}

/// What differs, none where nothing does.
pub fn differences(pair: &Pair, schema: &Schema) -> Option<String> {
    let mut source = connect(&pair.source());
    let mut target = connect(&pair.target());
    let mut all = String::new();
    for table in schema.tables.iter().filter(|table| !table.is_view) {
        let names = table.leaves.iter().chain([&table.name]);
        for name in names {
            let sql = format!(
                "select count(*) || ' ' || coalesce(md5(string_agg(x::text, E'\\n' order by x::text collate \"C\")), '') from {name} x"
            );
            let sum = |client: &mut Client| -> String {
                client
                    .query_one(&sql, &[])
                    .expect("the sum of a table")
                    .get(0)
            };
            if sum(&mut source) == sum(&mut target) {
                continue;
            }
            let (ours, theirs) = (rows(&mut source, name), rows(&mut target, name));
            let mut counts: HashMap<&str, i64> = HashMap::new();
            for row in &ours {
                *counts.entry(row).or_default() += 1;
            }
            for row in &theirs {
                *counts.entry(row).or_default() -= 1;
            }
            let (from, to) = (ours.len(), theirs.len());
            let _ = writeln!(all, "{name}: {from} rows on the source, {to} on the target");
            let mut differing: Vec<_> = counts.into_iter().filter(|(_, n)| *n != 0).collect();
            differing.sort_unstable();
            for (row, count) in differing.into_iter().take(SHOWN) {
                let side = if count > 0 { "source" } else { "target" };
                let (count, row) = (count.abs(), cut(row));
                let _ = writeln!(all, "  {count} more on the {side}: {row}");
            }
        }
    }
    (!all.is_empty()).then_some(all)
}
