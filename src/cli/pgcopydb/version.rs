//! `pgcopydb version`: this program's version, and the PostgreSQL versions that it knows.
//!
//! Runs in the main program. No libpq is linked, so that where others state the version of their
//! libpq, we state the newest server that this program was made for.

use super::super::output;
use crate::error::Result;

/// Major versions of servers that this program copies from and to.
const SERVERS: [u32; 7] = [12, 13, 14, 15, 16, 17, 18];
/// The newest of them.
const NEWEST: u32 = SERVERS[SERVERS.len() - 1];

/// Prints the version, as text or as JSON.
pub(in crate::cli) fn run(json: bool) -> Result<()> {
    output::to_stdout(&if json { as_json() } else { as_text() })
}

fn as_text() -> String {
    let (last, others) = SERVERS.split_last().unwrap_or((&NEWEST, &[]));
    let others: Vec<String> = others.iter().map(ToString::to_string).collect();
    format!(
        "pgcopydb version {}\nmade for PostgreSQL {NEWEST}, without libpq\n\
         compatible with Postgres {}, and {last}\n",
        env!("CARGO_PKG_VERSION"),
        others.join(", ")
    )
}

fn as_json() -> String {
    let document = serde_json::json!({
        "pgcopydb": env!("CARGO_PKG_VERSION"),
        "pg_major": NEWEST.to_string(),
        "pg_version": NEWEST.to_string(),
        "pg_version_str": format!("PostgreSQL {NEWEST}, without libpq"),
        "pg_version_num": NEWEST * 10_000,
    });
    format!("{document:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_has_the_three_lines_and_five_keys_that_scripts_know() {
        let text = as_text();
        assert_eq!(text.lines().count(), 3);
        assert!(text.ends_with("compatible with Postgres 12, 13, 14, 15, 16, 17, and 18\n"));
        let document: serde_json::Value = serde_json::from_str(&as_json()).unwrap();
        let keys: Vec<&String> = document.as_object().unwrap().keys().collect();
        let known = [
            "pgcopydb",
            "pg_major",
            "pg_version",
            "pg_version_str",
            "pg_version_num",
        ];
        assert_eq!(keys, known);
        assert_eq!(document["pg_version_num"], 180_000);
    }
}
