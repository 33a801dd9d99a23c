//! What to run of `roles.sql`, given the roles that the target has.
//!
//! Pure; runs in the process that restores roles. Reads the text that `pg_dumpall --roles-only` wrote,
//! gives statements in order. Must not show passwords: what is logged is made for that.

use crate::dump::lexer::{Token, TokenKind, meaningful_tokens, split_statements};
use crate::dump::said::mask_passwords;
use crate::error::Result;
use std::collections::BTreeSet;

/// One statement of `roles.sql`.
#[derive(Clone, PartialEq, Eq)]
pub struct RoleStatement {
    /// The statement; may hold a password's hash.
    pub sql: String,
    /// The same for logs.
    pub shown: String,
    /// The role it creates, raw name, when it creates one.
    pub creates: Option<String>,
    /// Whether it is left out, as the target has the role and keeps its attributes.
    pub skipped: bool,
    /// Attributes that only superusers hand on and that were taken out, such as `BYPASSRLS`.
    pub weakened: Vec<&'static str>,
    /// Whether a run goes on without it: a setting or a comment.
    pub is_minor: bool,
}

/// What the role that runs the statements may hand on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Power {
    /// It is a superuser.
    All,
    /// It is not, and has or has not CREATEDB.
    Some {
        /// It has CREATEDB.
        create_db: bool,
    },
}

/// Attributes that only superusers hand on.
const STRONG: [&str; 3] = ["SUPERUSER", "REPLICATION", "BYPASSRLS"];
/// What a new role lacks anyway; to say so needs the right to change it.
const ABSENT: [&str; 5] = [
    "NOSUPERUSER",
    "NOREPLICATION",
    "NOBYPASSRLS",
    "NOCREATEDB",
    "NOCREATEROLE",
];

impl std::fmt::Debug for RoleStatement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let verb = if self.skipped { "skip" } else { "run" };
        write!(f, "{verb} {}", self.shown)
    }
}

/// Plans the replay. A role of `existing` (raw names) is not created, and the `ALTER ROLE ... WITH` that
/// follows its creation is left out; all else is run as it stands, but for what `power` does not reach.
/// Comments and psql's backslash lines fall away. Text that ends within a quote is an error of kind `Tool`.
pub fn plan_replay(
    roles_sql: &str,
    existing: &BTreeSet<String>,
    power: Power,
) -> Result<Vec<RoleStatement>> {
    let mut planned: Vec<RoleStatement> = Vec::new();
    for sql in split_statements(roles_sql)? {
        let tokens = meaningful_tokens(&sql)?;
        let creates = role_after(&sql, &tokens, &["CREATE", "ROLE"]);
        let follows_skipped = planned.last().is_some_and(|before| {
            before.skipped
                && before.creates.is_some()
                && role_after(&sql, &tokens, &["ALTER", "ROLE"]) == before.creates
                && tokens
                    .get(3)
                    .is_some_and(|token| is_word(&sql, token, "WITH"))
        });
        let exists = creates.as_ref().is_some_and(|name| existing.contains(name));
        let word = |at: usize, text| {
            tokens
                .get(at)
                .is_some_and(|token| is_word(&sql, token, text))
        };
        let is_minor = word(0, "COMMENT")
            || word(0, "SECURITY")
            || word(0, "ALTER") && (word(3, "SET") || word(3, "IN"));
        let (sql, weakened) = match power {
            Power::All => (sql, Vec::new()),
            Power::Some { create_db } => weaken(&sql, &tokens, create_db),
        };
        let shown = mask_passwords(&sql);
        planned.push(RoleStatement {
            sql,
            shown,
            creates,
            skipped: exists || follows_skipped,
            weakened,
            is_minor,
        });
    }
    Ok(planned)
}

/// The statement without what only superusers may say; second, the attributes that the role then lacks.
fn weaken(sql: &str, tokens: &[Token], create_db: bool) -> (String, Vec<&'static str>) {
    let word = |at: usize, text| {
        tokens
            .get(at)
            .is_some_and(|token| is_word(sql, token, text))
    };
    if word(0, "GRANT") {
        // "GRANTED BY somebody" at the end: the grant is our own then.
        let by = tokens
            .windows(2)
            .rfind(|two| is_word(sql, &two[0], "GRANTED") && is_word(sql, &two[1], "BY"));
        let head = by.and_then(|two| sql.get(..two[0].start));
        return (
            head.map_or_else(|| sql.to_owned(), |head| format!("{};", head.trim_end())),
            Vec::new(),
        );
    }
    if !(word(0, "ALTER") && word(1, "ROLE") && word(3, "WITH")) {
        return (sql.to_owned(), Vec::new());
    }
    let (mut text, mut lacks, mut from) = (String::new(), Vec::new(), 0);
    let one_more = (!create_db).then_some("CREATEDB");
    for token in tokens.iter().skip(4) {
        let strong = STRONG
            .into_iter()
            .chain(one_more)
            .find(|name| is_word(sql, token, name));
        if strong.is_none() && !ABSENT.iter().any(|name| is_word(sql, token, name)) {
            continue;
        }
        lacks.extend(strong);
        text.push_str(sql.get(from..token.start).unwrap_or_default().trim_end());
        from = token.end;
    }
    text.push_str(sql.get(from..).unwrap_or_default());
    (text, lacks)
}

/// The raw name that stands after these words at the start of a statement.
fn role_after(sql: &str, tokens: &[Token], words: &[&str]) -> Option<String> {
    let starts = words.iter().enumerate().all(|(at, word)| {
        tokens
            .get(at)
            .is_some_and(|token| is_word(sql, token, word))
    });
    let token = tokens.get(words.len()).filter(|_| starts)?;
    let text = sql.get(token.start..token.end)?;
    match token.kind {
        TokenKind::Word => Some(text.to_lowercase()),
        TokenKind::QuotedName => {
            let inner = text.strip_prefix('"')?.strip_suffix('"')?;
            Some(inner.replace("\"\"", "\""))
        }
        _ => None,
    }
}

fn is_word(sql: &str, token: &Token, word: &str) -> bool {
    token.kind == TokenKind::Word
        && sql
            .get(token.start..token.end)
            .is_some_and(|text| text.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = include_str!("../../tests/data/dump/roles-15.sql");

    fn names(list: &[&str]) -> BTreeSet<String> {
        list.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn existing_roles_keep_their_attributes_and_the_rest_is_run() {
        let planned =
            plan_replay(SAMPLE, &names(&["postgres", "Odd Role \"x\""]), Power::All).unwrap();
        let skipped: Vec<String> = planned
            .iter()
            .filter(|s| s.skipped)
            .map(|s| s.sql.chars().take(20).collect())
            .collect();
        let expected = [
            "CREATE ROLE \"Odd Rol",
            "ALTER ROLE \"Odd Role",
            "CREATE ROLE postgres",
            "ALTER ROLE postgres ",
        ];
        assert_eq!(skipped, expected);
        let run: Vec<&str> = planned
            .iter()
            .filter(|s| !s.skipped)
            .map(|s| s.sql.as_str())
            .collect();
        assert!(run.iter().any(|sql| {
            sql.starts_with("COMMENT ON ROLE \"Odd Role \"\"x\"\"\" IS 'two\nlines -- x; y';")
        }));
        assert!(run.contains(&"CREATE ROLE shop_rw;"));
        assert!(run.iter().any(|sql| sql.starts_with("GRANT \"Odd Role")));
        assert!(!run.iter().any(|sql| sql.contains("restrict ")));
        assert!(
            planned
                .iter()
                .all(|s| !s.shown.contains("SCRAM") && !format!("{s:?}").contains("SCRAM"))
        );
        assert!(planned.iter().any(|s| s.sql.contains("PASSWORD 'SCRAM")));
    }

    #[test]
    fn one_who_is_no_superuser_says_nothing_of_what_superusers_hand_on() {
        let plan = |sql: &str, create_db| {
            let planned = plan_replay(sql, &names(&[]), Power::Some { create_db }).unwrap();
            let one = planned.first().unwrap();
            (one.sql.clone(), one.weakened.clone())
        };
        let sql = "ALTER ROLE \"bypassrls\" WITH NOSUPERUSER INHERIT NOCREATEROLE CREATEDB LOGIN \
                   NOREPLICATION BYPASSRLS PASSWORD 'REPLICATION x';";
        let kept = "ALTER ROLE \"bypassrls\" WITH INHERIT CREATEDB LOGIN PASSWORD 'REPLICATION x';";
        assert_eq!(plan(sql, true), (kept.to_owned(), vec!["BYPASSRLS"]));
        assert_eq!(plan(sql, false).1, ["CREATEDB", "BYPASSRLS"]);
        let grant = "GRANT a TO \"granted by\" WITH ADMIN OPTION GRANTED BY postgres;";
        assert_eq!(
            plan(grant, true).0,
            "GRANT a TO \"granted by\" WITH ADMIN OPTION;"
        );
        let setting = plan_replay(
            "ALTER ROLE a SET work_mem TO '1MB';",
            &names(&[]),
            Power::All,
        );
        assert!(setting.unwrap()[0].is_minor);
    }

    #[test]
    fn every_truncation_gives_statements_or_an_error() {
        for end in (0..SAMPLE.len()).filter(|end| SAMPLE.is_char_boundary(*end)) {
            let _either = plan_replay(
                &SAMPLE[..end],
                &names(&["postgres"]),
                Power::Some { create_db: false },
            );
        }
    }
}
