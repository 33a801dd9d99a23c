//! Settings of `compare schema` and `compare data`.
//!
//! Runs in the main program. Reads the environment.

use super::super::args::compare::{CompareArgs, DataArgs, SchemaArgs};
use super::super::args::{ConnectionArgs, value};
use super::super::environment::Environment;
use super::{JOBS_DEFAULT, Picker, connections};
use crate::compare::CompareSettings;
use crate::error::{Error, Result};

/// Resolves the settings of `compare schema`. Errors are of kind `BadArgs`.
pub(in crate::cli) fn compare_schema(
    args: &SchemaArgs,
    environment: &Environment,
) -> Result<CompareSettings> {
    let mut settings = both(&args.both, environment)?;
    settings.ignore_extra = args.ignore_extra;
    Ok(settings)
}

/// Resolves the settings of `compare data`. Errors are of kind `BadArgs`.
pub(in crate::cli) fn compare_data(
    args: &DataArgs,
    environment: &Environment,
) -> Result<CompareSettings> {
    let mut settings = both(&args.both, environment)?;
    settings.snapshot =
        Picker::new(environment).text("--snapshot", "PGCOPYDB_SNAPSHOT", args.snapshot.as_deref());
    if settings.all_databases && settings.snapshot.is_some() {
        return Err(
            Error::bad_args("option --snapshot cannot be used with --all-databases")
                .hint("A snapshot is of one database: compare one at a time."),
        );
    }
    Ok(settings)
}

fn both(args: &CompareArgs, environment: &Environment) -> Result<CompareSettings> {
    let table_jobs = Picker::new(environment).value(
        "--table-jobs",
        Some("PGCOPYDB_TABLE_JOBS"),
        args.table_jobs,
        value::jobs,
    )?;
    let connections = connections(&args.connections, environment)?;
    Ok(CompareSettings {
        source: connections.source,
        target: connections.target,
        table_jobs: table_jobs.unwrap_or(JOBS_DEFAULT),
        snapshot: None,
        ignore_extra: false,
        all_databases: args.all_databases,
        filters: super::filters(args.filters.as_deref(), false)?,
    })
}

/// Settings for comparing all rows at a cutover. Errors are of kind `BadArgs`.
pub(in crate::cli) fn compare_rows(
    args: &ConnectionArgs,
    environment: &Environment,
) -> Result<CompareSettings> {
    let table_jobs = Picker::new(environment).value(
        "--table-jobs",
        Some("PGCOPYDB_TABLE_JOBS"),
        None,
        value::jobs,
    )?;
    let connections = connections(args, environment)?;
    Ok(CompareSettings {
        source: connections.source,
        target: connections.target,
        table_jobs: table_jobs.unwrap_or(JOBS_DEFAULT),
        snapshot: None,
        ignore_extra: false,
        all_databases: false,
        filters: None,
    })
}
