//! The databases of a cluster: which there are, what each must be made with, where its work directory is.
//!
//! The list is read in the process that prepares a clone of all databases, kept as `schema/databases.json`, and
//! read again by the supervisor and whoever prints figures. Statements are pure.

use crate::error::{Error, Result};
use crate::pg::{PgSession, quote};
use crate::units::PgVersion;
use crate::workdir::Layout;
use std::path::PathBuf;

/// A database of the source.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Database {
    /// Raw name.
    pub name: String,
    /// Size, bytes; 0 where it is not known.
    pub bytes: u64,
    pub(super) owner: Option<String>,
    encoding: String,
    collate: String,
    ctype: String,
    provider: String,
    locale: Option<String>,
    icu_rules: Option<String>,
    pub(super) tablespace: Option<String>,
    pub(super) connection_limit: i32,
}

/// First version in which a database says who provides its locale.
const PROVIDER_VERSION: PgVersion = PgVersion(150_000);

/// Lists the databases of the source that are copied, largest first; says which are not.
pub(super) fn list(source: &mut PgSession) -> Result<Vec<Database>> {
    let sql = include_str!("sql/list_databases.sql");
    let mut found = Vec::new();
    for row in source.query(sql, &[])? {
        let read = || -> Result<(Database, Option<String>), postgres::Error> {
            let database = Database {
                name: row.try_get("datname")?,
                bytes: row.try_get::<_, i64>("bytes")?.unsigned_abs(),
                owner: row.try_get("owner")?,
                encoding: row.try_get("encoding")?,
                collate: row.try_get("collate")?,
                ctype: row.try_get("ctype")?,
                provider: row.try_get("provider")?,
                locale: row.try_get("locale")?,
                icu_rules: row.try_get("icu_rules")?,
                tablespace: row.try_get("tablespace")?,
                connection_limit: row.try_get("connection_limit")?,
            };
            Ok((database, row.try_get("is_skipped")?))
        };
        let (database, skipped) = read().map_err(|error| source.error(&error, sql))?;
        match skipped {
            None => found.push(database),
            Some(why) => log::info!("Leaving out database \"{}\": {why}", database.name),
        }
    }
    Ok(found)
}

/// Where the list stands in the work directory of the whole.
fn path(layout: &Layout) -> PathBuf {
    layout.schema().join("databases.json")
}

/// Keeps the list.
pub(super) fn write(layout: &Layout, databases: &[Database]) -> Result<()> {
    let text = serde_json::to_string(databases)
        .map_err(|error| Error::internal(format!("could not write the databases: {error}")))?;
    layout.write_file(&path(layout), text.as_bytes())
}

/// The list that a run has kept, largest first.
pub fn databases(layout: &Layout) -> Result<Vec<Database>> {
    let path = path(layout);
    let shown = path.display();
    let unreadable = |why: &dyn std::fmt::Display| {
        Error::bad_state(format!("could not read \"{shown}\": {why}"))
            .hint("Use --restart to begin anew.")
    };
    let text = std::fs::read_to_string(&path).map_err(|error| unreadable(&error))?;
    serde_json::from_str(&text).map_err(|error| unreadable(&error))
}

impl Database {
    /// Its own work directory below that of the whole.
    pub fn layout(&self, whole: &Layout) -> Layout {
        Layout::new(whole.top().join("db").join(folder_name(&self.name)))
    }

    /// The statement that makes it on the target.
    pub(super) fn create(&self, target: PgVersion, with: CreateWith) -> String {
        let mut sql = format!(
            "create database {} template template0 encoding {} lc_collate {} lc_ctype {}",
            quote::ident(&self.name),
            quote::literal(&self.encoding),
            quote::literal(&self.collate),
            quote::literal(&self.ctype),
        );
        if target >= PROVIDER_VERSION {
            let provider = match self.provider.as_str() {
                "i" => "icu",
                "b" => "builtin",
                _ => "libc",
            };
            sql.push_str(" locale_provider ");
            sql.push_str(provider);
            if let Some(locale) = &self.locale {
                sql.push(' ');
                sql.push_str(provider);
                sql.push_str("_locale ");
                sql.push_str(&quote::literal(locale));
            }
            if let Some(rules) = &self.icu_rules {
                sql.push_str(" icu_rules ");
                sql.push_str(&quote::literal(rules));
            }
        }
        if let (true, Some(owner)) = (with.owner, &self.owner) {
            sql.push_str(" owner ");
            sql.push_str(&quote::ident(owner));
        }
        if let (true, Some(tablespace)) = (with.tablespace, &self.tablespace) {
            sql.push_str(" tablespace ");
            sql.push_str(&quote::ident(tablespace));
        }
        sql
    }
}

/// What a new database is given beside its locale.
#[derive(Clone, Copy, Debug)]
pub(super) struct CreateWith {
    pub(super) owner: bool,
    pub(super) tablespace: bool,
}

/// A file name for any name of a database: letters, digits, `_` and `-` as they are, other bytes as `%XX`.
fn folder_name(name: &str) -> String {
    name.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect::<Vec<String>>()
        .concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database() -> Database {
        Database {
            name: "a \"b\"/..".to_owned(),
            bytes: 0,
            owner: Some("me".to_owned()),
            encoding: "UTF8".to_owned(),
            collate: "C".to_owned(),
            ctype: "C.UTF-8".to_owned(),
            provider: "i".to_owned(),
            locale: Some("de-x'".to_owned()),
            icu_rules: None,
            tablespace: Some("fast".to_owned()),
            connection_limit: -1,
        }
    }

    #[test]
    fn every_name_gets_a_folder_of_its_own() {
        assert_eq!(folder_name("a \"b\"/.."), "a%20%22b%22%2F%2E%2E");
        assert_ne!(folder_name("a%20"), folder_name("a "));
    }

    #[test]
    fn a_database_is_made_with_what_the_source_says_as_far_as_the_target_knows_it() {
        let with = CreateWith {
            owner: true,
            tablespace: false,
        };
        assert_eq!(
            database().create(PgVersion(150_001), with),
            "create database \"a \"\"b\"\"/..\" template template0 encoding 'UTF8' lc_collate 'C' \
             lc_ctype 'C.UTF-8' locale_provider icu icu_locale 'de-x''' owner \"me\""
        );
        let without = CreateWith {
            owner: false,
            tablespace: true,
        };
        let old = database().create(PgVersion(140_001), without);
        assert!(
            old.ends_with("lc_ctype 'C.UTF-8' tablespace \"fast\""),
            "{old}"
        );
    }
}
