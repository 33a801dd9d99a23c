//! Settings, comment and privileges of the database itself, under the target's name.
//!
//! Runs in the pre-data process, and in the post-data process for what would stand in the way
//! earlier. Reads the ledger; changes the target database. What is not permitted is told at the end
//! and stops nothing.

use crate::catalog::{Ledger, Run, sqlite_error};
use crate::error::Result;
use crate::pg::{PgSession, Retry, quote, retry};

use super::settings::Switches;

/// A setting of the database, or of a role in it.
struct Property {
    role: Option<String>,
    name: String,
    value: String,
}

/// The setting that makes a database read-only: it would stop the copy, so it comes last.
const READ_ONLY: &str = "default_transaction_read_only";

/// Applies all settings but the one that makes the database read-only.
pub(super) fn apply(ledger: &Ledger, target: &mut PgSession, run: Run) -> Result<()> {
    apply_where(ledger, target, run, |property| property.name != READ_ONLY)
}

/// Gives the database the source's comment, security labels and privileges, as far as wanted.
pub(super) fn apply_statements(
    ledger: &Ledger,
    target: &mut PgSession,
    run: Run,
    switches: &Switches,
) -> Result<()> {
    let read = || -> rusqlite::Result<Vec<(String, String, String)>> {
        ledger
            .connection()
            .prepare("select topic, head, tail from s_database_statement order by rowid")?
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
            .collect()
    };
    let statements = read().map_err(|error| sqlite_error("read", &error))?;
    let database = quote::ident(&name_of(target)?);
    for (topic, head, tail) in statements {
        let is_wanted = match topic.as_str() {
            "acl" => !switches.no_acl,
            "comment" => !switches.no_comments,
            _ => true,
        };
        if is_wanted {
            try_statement(ledger, target, run, &format!("{head}{database}{tail}"))?;
        }
    }
    Ok(())
}

fn name_of(target: &mut PgSession) -> Result<String> {
    let row = target.query_one("select pg_catalog.current_database()::text", &[])?;
    Ok(row.get(0))
}

/// Runs a statement; what the target refuses is told at the end.
fn try_statement(ledger: &Ledger, target: &mut PgSession, run: Run, statement: &str) -> Result<()> {
    log::info!("{statement}");
    let Err(error) = target.batch_execute(statement) else {
        return Ok(());
    };
    if error.sqlstate().is_none() || retry::policy(&error) != Retry::Never {
        return Err(error);
    }
    let why = format!("{statement}: {}", error.message());
    log::warn!("Could not apply a property of the database: {why}");
    run.notice(ledger.connection(), "database property left out", &why)
}

/// Applies the settings that had to wait for the end of the copy.
pub(super) fn apply_last(ledger: &Ledger, target: &mut PgSession, run: Run) -> Result<()> {
    apply_where(ledger, target, run, |property| {
        if property.name == READ_ONLY {
            log::warn!(
                "The source sets {READ_ONLY} = {}, so does the target now",
                property.value
            );
        }
        property.name == READ_ONLY
    })
}

fn apply_where(
    ledger: &Ledger,
    target: &mut PgSession,
    run: Run,
    mut wanted: impl FnMut(&Property) -> bool,
) -> Result<()> {
    let database = name_of(target)?;
    for property in read(ledger)?
        .into_iter()
        .filter(|property| wanted(property))
    {
        let rows = target.query(
            include_str!("sql/find_setting.sql"),
            &[&property.name, &property.role.as_deref().unwrap_or("")],
        )?;
        let (known, is_list, role_exists): (bool, bool, bool) = match rows.first() {
            Some(row) => (row.get(0), row.get(1), row.get(2)),
            None => (false, false, false),
        };
        if property.role.is_some() && !role_exists {
            let role = property.role.as_deref().unwrap_or("");
            let why = format!(
                "Setting {} of role {role} is left out: no such role",
                property.name
            );
            log::warn!("{why}");
            run.notice(ledger.connection(), "database setting left out", &why)?;
            continue;
        }
        if !known && !property.name.contains('.') {
            let why = format!(
                "Setting {} is not known to the target and left out",
                property.name
            );
            log::warn!("{why}");
            run.notice(ledger.connection(), "database setting left out", &why)?;
            continue;
        }
        let statement = statement(&database, &property, is_list);
        try_statement(ledger, target, run, &statement)?;
    }
    Ok(())
}

fn statement(database: &str, property: &Property, is_list: bool) -> String {
    let database = quote::ident(database);
    let target = match &property.role {
        None => format!("alter database {database}"),
        Some(role) => format!("alter role {} in database {database}", quote::ident(role)),
    };
    let value = if is_list {
        // The stored value is a list of quoted names already; one literal would make it one name.
        let items: Vec<String> = split_list(&property.value)
            .iter()
            .map(|item| {
                if item.is_empty() {
                    "''".to_owned()
                } else {
                    quote::literal(item)
                }
            })
            .collect();
        if items.is_empty() {
            "''".to_owned()
        } else {
            items.join(", ")
        }
    } else {
        quote::literal(&property.value)
    };
    format!("{target} set {} to {value}", setting_name(&property.name))
}

/// A setting's name, quoted part by part: `my.custom` has two.
fn setting_name(name: &str) -> String {
    name.split('.')
        .map(quote::ident)
        .collect::<Vec<String>>()
        .join(".")
}

/// Splits `app, "B c", public` into raw names, as `SplitIdentifierString` of the server does.
fn split_list(text: &str) -> Vec<String> {
    let mut items = Vec::new();
    let mut item = String::new();
    let mut chars = text.chars().peekable();
    let (mut in_quotes, mut any) = (false, false);
    while let Some(c) = chars.next() {
        match c {
            '"' if in_quotes && chars.peek() == Some(&'"') => {
                chars.next();
                item.push('"');
            }
            '"' => {
                in_quotes = !in_quotes;
                any = true;
            }
            ',' if !in_quotes => {
                items.push(std::mem::take(&mut item).trim().to_owned());
                any = false;
            }
            c if c.is_whitespace() && !in_quotes => {}
            c => {
                item.push(c);
                any = true;
            }
        }
    }
    if any || !item.is_empty() {
        items.push(item);
    }
    items
}

fn read(ledger: &Ledger) -> Result<Vec<Property>> {
    let read = || -> rusqlite::Result<Vec<(Option<String>, String)>> {
        ledger
            .connection()
            .prepare("select rolname, setconfig from s_database_property order by rowid")?
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect()
    };
    let rows = read().map_err(|error| sqlite_error("read", &error))?;
    Ok(rows
        .into_iter()
        .filter_map(|(role, setconfig)| {
            let (name, value) = setconfig.split_once('=')?;
            Some(Property {
                role,
                name: name.to_owned(),
                value: value.to_owned(),
            })
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_settings_keep_their_items_and_others_their_text() {
        assert_eq!(split_list("app, \"B c\", public"), ["app", "B c", "public"]);
        assert_eq!(split_list("\"a\"\"b\",\"$user\""), ["a\"b", "$user"]);
        assert_eq!(split_list("\"\""), [""]);
        assert!(split_list("").is_empty());
        let property = |name: &str, value: &str| Property {
            role: None,
            name: name.to_owned(),
            value: value.to_owned(),
        };
        assert_eq!(
            statement("my db", &property("search_path", "app, \"B c\""), true),
            "alter database \"my db\" set \"search_path\" to 'app', 'B c'"
        );
        assert_eq!(
            statement("d", &property("my.custom", "x'y"), false),
            "alter database \"d\" set \"my\".\"custom\" to 'x''y'"
        );
    }
}
