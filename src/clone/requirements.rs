//! `--requirements`: extensions in the versions that the user asked for.
//!
//! The file is read once, before anything connects, as it may be a pipe; the extensions are made in the
//! pre-data process, after the schemas they live in and before everything that may need them.

use super::pre_data::PreDataInput;
use crate::catalog::{Ledger, sqlite_error};
use crate::dump::list_plan::{self, kept, print_edits, schemas_only};
use crate::dump::{ArchiveRun, RestoreMode, RestoreOptions};
use crate::error::{Context, Error, Kind, Result};
use crate::pg::{PgSession, quote};
use crate::schema::hooks::TIMESCALEDB;
use std::path::Path;

/// An extension and the version to install.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Requirement {
    name: String,
    version: String,
}

impl From<Requirement> for (String, String) {
    fn from(requirement: Requirement) -> Self {
        (requirement.name, requirement.version)
    }
}

/// Reads a requirements file: a JSON array of `{"name": …, "version": …}`. Errors: `BadArgs` for one that is not
/// there, `BadConfig` for any other.
pub fn read(path: &Path) -> Result<Vec<Requirement>> {
    let failed = |why: String| {
        let path = path.display();
        Error::new(
            Kind::BadConfig,
            format!("could not read requirements file \"{path}\": {why}"),
        )
        .hint("It holds a JSON array such as [{\"name\": \"postgis\", \"version\": \"3.4.0\"}].")
    };
    let text = std::fs::read_to_string(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Error::bad_args(format!(
            "requirements file \"{}\" does not exist",
            path.display()
        ))
        .hint("Check the value of --requirements."),
        _ => failed(error.to_string()),
    })?;
    serde_json::from_str(&text).map_err(|error| failed(error.to_string()))
}

/// Restores the schemas of a plan, then makes the source's extensions in them. There already is fine.
pub(super) fn make_extensions(
    input: &PreDataInput,
    (ledger, target): (&Ledger, &mut PgSession),
    archive_run: &ArchiveRun<'_>,
    plan: &list_plan::PreDataPlan<'_>,
) -> Result<()> {
    let schemas = schemas_only(plan);
    if !kept(&schemas).is_empty() {
        let list = archive_run.dir.schemas_list();
        archive_run.dir.write(&list, &print_edits(&schemas))?;
        let mut flags = super::archive::restore_flags(&input.settings);
        flags.remove(&crate::dump::RestoreFlag::Clean);
        let mode = RestoreMode::SingleTransaction;
        archive_run.restore(&list, &RestoreOptions { mode, flags })?;
    }
    make_all(input, (ledger, target))
}

/// `copy extensions`: makes the schemas that the source's extensions live in, then the extensions.
pub(super) fn make_in_their_schemas(
    input: &PreDataInput,
    (ledger, target): (&Ledger, &mut PgSession),
) -> Result<()> {
    let mut schemas: Vec<String> = extensions(ledger)?
        .into_iter()
        .map(|(_, schema, _)| schema)
        .filter(|schema| schema != "public" && !schema.starts_with("pg_"))
        .collect();
    schemas.sort();
    schemas.dedup();
    for schema in schemas {
        let statement = format!("create schema if not exists {}", quote::ident(&schema));
        target.batch_execute(&statement)?;
    }
    make_all(input, (ledger, target))
}

/// Makes the source's extensions; there already is fine.
fn make_all(input: &PreDataInput, (ledger, target): (&Ledger, &mut PgSession)) -> Result<()> {
    let extensions = extensions(ledger)?;
    let is_there = |one: &&Requirement| extensions.iter().any(|(name, ..)| *name == one.name);
    for Requirement { name, .. } in input.requirements.iter().filter(|one| !is_there(one)) {
        let line = format!(
            "The requirements name extension \"{name}\", which the source does not have, or filters leave \
             out: it is not created"
        );
        log::warn!("{line}");
        let run = input.means.run;
        run.notice(ledger.connection(), "requirement without effect", &line)?;
    }
    for (name, schema, of_source) in extensions {
        let wanted = input
            .requirements
            .iter()
            .find(|requirement| requirement.name == name);
        let wanted = wanted.map(|requirement| &requirement.version);
        // The rows of its catalogs are those of one version.
        let same = (name == TIMESCALEDB).then_some(&of_source);
        let version = wanted
            .or(same)
            .map(|version| format!(" version {}", quote::literal(version)))
            .unwrap_or_default();
        let statement = format!(
            "create extension if not exists {} with schema {}{version} cascade",
            quote::ident(&name),
            quote::ident(&schema)
        );
        log::info!("{statement}");
        target
            .batch_execute(&statement)
            .context(|| format!("creating extension \"{name}\""))?;
    }
    Ok(())
}

/// `copy data` and `--skip-extensions` make no extensions: configuration of those that the target lacks is left out, and told.
pub(super) fn leave_out_absent(
    input: &PreDataInput,
    (ledger, target): (&mut Ledger, &mut PgSession),
) -> Result<()> {
    let there: Vec<String> = target
        .query("select extname::text from pg_catalog.pg_extension", &[])?
        .iter()
        .map(|row| row.get(0))
        .collect();
    let run = input.means.run;
    let skips = input.settings.switches.skip_extensions;
    for (name, ..) in extensions(ledger)? {
        // The rows of timescaledb are for its restoring mode alone.
        if there.contains(&name) && !(skips && name == TIMESCALEDB) {
            continue;
        }
        let skipped = ledger.write(|tx| {
            tx.execute(
                "update unit set state = 'skipped' where kind = 'extension' and state = 'todo'
                    and object = (select oid from s_extension where extname = ?1)",
                [&name],
            )
            .map_err(|error| sqlite_error("write", &error))
        })?;
        if skipped > 0 {
            let line = format!(
                "Extension \"{name}\" is not on the target, or not to be told of the copy: rows of its \
                 configuration tables are not copied; make it and run pgcopydb copy extensions"
            );
            log::warn!("{line}");
            run.notice(ledger.connection(), "extension left out", &line)?;
        }
    }
    Ok(())
}

/// Name, schema and version of each on the source.
fn extensions(ledger: &Ledger) -> Result<Vec<(String, String, String)>> {
    let read = || -> rusqlite::Result<Vec<(String, String, String)>> {
        ledger
            .connection()
            .prepare("select extname, nspname, version from s_extension order by oid")?
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
            .collect()
    };
    read().map_err(|error| sqlite_error("read", &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_requirements_file_is_an_array_of_names_and_versions_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.json");
        std::fs::write(&path, r#"[{"name": "hstore", "version": "1.7"}]"#).unwrap();
        let expected = Requirement {
            name: "hstore".to_owned(),
            version: "1.7".to_owned(),
        };
        assert_eq!(read(&path).unwrap(), [expected]);
        for bad in [
            "",
            "{}",
            "[1]",
            r#"[{"name": "x"}]"#,
            r#"[{"name":"x","version":"1","y":1}]"#,
        ] {
            std::fs::write(&path, bad).unwrap();
            assert_eq!(read(&path).unwrap_err().kind(), Kind::BadConfig, "{bad}");
        }
    }
}
