//! `pgcopydb list ...`: what there is on the source, and how far a run is.
//!
//! Runs in the main program, beside any run. Read-only: no lock, nothing written anywhere.

use super::super::args::ListCommand;
use super::super::args::list::{
    DependsArgs, ExtensionsArgs, IndexesArgs, PlaceArgs, SchemaArgs, SourceArgs, TablePartsArgs,
    TablesArgs,
};
use super::super::{Call, output, resolve};
use super::list_progress;
use crate::error::{Error, Result};
use crate::inspect::{self, Catalog, Choice, Places, Source, SplitChoice, Table, Wanted};
use crate::report::list as layout;
use crate::units::pretty_bytes;
use serde_json::Value;

/// Runs one of the commands.
pub(in crate::cli) fn run(command: &ListCommand, call: &Call<'_>) -> Result<()> {
    let shown = match command {
        ListCommand::Progress(args) => return list_progress::run(args, call),
        ListCommand::Databases(args) => {
            if args.dir.is_some() {
                warn_unused(&["--dir"], call);
            }
            let rows = inspect::list_databases(&mut connect(&args.source, call)?)?;
            Shown::of(&rows, layout::databases, layout::databases_json)
        }
        ListCommand::Extensions(args) => extensions(args, call)?,
        ListCommand::Collations(args) => {
            let rows = inspect::list_collations(&mut connect(&args.source, call)?)?;
            Shown::of(&rows, layout::collations, layout::collations_json)
        }
        ListCommand::Tables(args) => tables(args, call)?,
        ListCommand::TableParts(args) => table_parts(args, call)?,
        ListCommand::Sequences(args) => {
            let choice = resolve::choice(&args.filter, Some(&args.skipped))?;
            warn_unused(&args.unused.given(), call);
            let split = resolve::split(None, false, call.environment)?;
            let (mut source, catalog) = read(
                &args.source,
                (&args.place, choice),
                (Wanted::Sequences, &split),
                call,
            )?;
            let rows = inspect::read_sequences(&catalog, &mut source, false)?;
            Shown::of(&rows, layout::sequences, layout::sequences_json)
        }
        ListCommand::Indexes(args) => indexes(args, call)?,
        ListCommand::Depends(args) => depends(args, call)?,
        ListCommand::Schema(args) => schema(args, call)?,
    };
    output::to_stdout(&match shown.text {
        Some(text) if !call.globals.json => text,
        _ => crate::report::pretty(&shown.json)?,
    })
}

/// A list in both forms.
struct Shown {
    /// `None`: there is JSON only.
    text: Option<String>,
    json: Value,
}

impl Shown {
    fn of<T>(rows: &[T], text: fn(&[T]) -> String, json: fn(&[T]) -> Value) -> Self {
        Self {
            text: Some(text(rows)),
            json: json(rows),
        }
    }
}

fn connect(args: &SourceArgs, call: &Call<'_>) -> Result<Source> {
    let text = resolve::source(args, call.environment)?;
    Source::connect(&text, &|name| call.environment.get(name))
}

fn read(
    source: &SourceArgs,
    (place, choice): (&PlaceArgs, Choice),
    (wanted, split): (Wanted, &SplitChoice),
    call: &Call<'_>,
) -> Result<(Source, Catalog)> {
    let places = Places {
        choice,
        ..resolve::places(place, call.environment)
    };
    let mut source = connect(source, call)?;
    let catalog = Catalog::read(&mut source, wanted, split, &places)?;
    Ok((source, catalog))
}

fn warn_unused(options: &[&str], call: &Call<'_>) {
    for option in options {
        log::warn!("Option {option} has no effect on {}", call.path);
    }
}

fn extensions(args: &ExtensionsArgs, call: &Call<'_>) -> Result<Shown> {
    let mut source = connect(&args.source, call)?;
    if !args.available_versions && !args.requirements {
        let rows = inspect::list_extensions(&mut source)?;
        return Ok(Shown::of(
            &rows,
            layout::extensions,
            layout::extensions_json,
        ));
    }
    let rows = inspect::list_available_versions(&mut source)?;
    Ok(if args.available_versions {
        Shown::of(
            &rows,
            layout::available_versions,
            layout::available_versions_json,
        )
    } else {
        Shown::of(&rows, layout::requirements, layout::requirements_json)
    })
}

fn tables(args: &TablesArgs, call: &Call<'_>) -> Result<Shown> {
    let choice = resolve::choice(&args.filter, Some(&args.skipped))?;
    warn_unused(&args.unused.given(), call);
    let split = resolve::split(Some(&args.split), false, call.environment)?;
    let (_, catalog) = read(
        &args.source,
        (&args.place, choice),
        (Wanted::Tables, &split),
        call,
    )?;
    let mut rows = inspect::read_tables(&catalog)?;
    if args.without_pkey {
        rows.retain(|table| !table.has_pkey);
    }
    for table in rows.iter().filter(|table| !table.parts.is_empty()) {
        log_split(table);
    }
    Ok(Shown::of(&rows, layout::tables, layout::tables_json))
}

fn log_split(table: &Table) {
    log::info!(
        "Table {} is {} large, its COPY will be split {}-ways",
        table.qname,
        pretty_bytes(table.bytes),
        table.parts.len()
    );
}

fn table_parts(args: &TablePartsArgs, call: &Call<'_>) -> Result<Shown> {
    warn_unused(&args.unused.given(), call);
    let name = args.table_name.as_deref().ok_or_else(|| {
        Error::bad_args("Option --table-name is mandatory")
            .hint("See \"pgcopydb list tables\" for the names of tables.")
    })?;
    let split = resolve::split(
        Some(&args.split),
        args.skip_split_by_ctid || resolve::skip_ctid(call.environment)?,
        call.environment,
    )?;
    let (source, catalog) = read(
        &args.source,
        (&args.place, Choice::default()),
        (Wanted::Parts, &split),
        call,
    )?;
    let schema = args.schema_name.as_deref().unwrap_or("public");
    let table = inspect::find_table(inspect::read_tables(&catalog)?, schema, name)?;
    if !table.parts.is_empty() {
        log_split(&table);
        return Ok(Shown {
            text: Some(layout::table_parts(&table.parts)),
            json: layout::table_parts_json(&table, None),
        });
    }
    let reason = inspect::why_whole(&table, &catalog, &source, split.skip_ctid);
    if catalog.split_bytes == 0 {
        log::warn!("Table {} is copied whole: {reason}", table.qname);
    } else {
        log::info!("Table {} is copied whole: {reason}", table.qname);
    }
    Ok(Shown {
        text: Some(String::new()),
        json: layout::table_parts_json(&table, Some(&reason)),
    })
}

fn indexes(args: &IndexesArgs, call: &Call<'_>) -> Result<Shown> {
    let choice = resolve::choice(&args.filter, Some(&args.skipped))?;
    warn_unused(&args.unused.given(), call);
    if args.schema_name.is_some() && args.table_name.is_none() {
        return Err(
            Error::bad_args("option --schema-name needs option --table-name, too")
                .hint("Leave both out to list the indexes of all tables."),
        );
    }
    let split = resolve::split(None, false, call.environment)?;
    let (mut source, catalog) = read(
        &args.source,
        (&args.place, choice),
        (Wanted::Indexes, &split),
        call,
    )?;
    let of = match &args.table_name {
        Some(name) => {
            let schema = args.schema_name.as_deref().unwrap_or("public");
            Some(inspect::find_table(inspect::read_tables(&catalog)?, schema, name)?.oid)
        }
        None => None,
    };
    let rows = inspect::read_indexes(&catalog, &mut source, of)?;
    Ok(Shown::of(&rows, layout::indexes, layout::indexes_json))
}

fn depends(args: &DependsArgs, call: &Call<'_>) -> Result<Shown> {
    warn_unused(&args.unused.given(), call);
    let choice = resolve::choice(&args.filter, Some(&args.skipped))?;
    if choice.rules.is_none() {
        return Err(Error::bad_args("Option --filters is mandatory")
            .hint("Give the filters file whose effect is to be listed."));
    }
    if args.schema_name.is_some() && args.table_name.is_none() {
        return Err(
            Error::bad_args("option --schema-name needs option --table-name, too")
                .hint("Leave both out to list what hangs on any table."),
        );
    }
    let mut rows = inspect::list_dependents(&mut connect(&args.source, call)?, &choice)?;
    if let Some(table) = &args.table_name {
        let schema = args.schema_name.as_deref().unwrap_or("public");
        rows.retain(|row| row.schema == schema && row.table == *table);
    }
    Ok(Shown::of(&rows, layout::depends, layout::depends_json))
}

fn schema(args: &SchemaArgs, call: &Call<'_>) -> Result<Shown> {
    let choice = resolve::choice(&args.filter, None)?;
    warn_unused(&args.unused.given(), call);
    let split = resolve::split(
        Some(&args.split),
        args.skip_split_by_ctid || resolve::skip_ctid(call.environment)?,
        call.environment,
    )?;
    let wanted = (Wanted::Everything, &split);
    let (mut source, catalog) = read(&args.source, (&args.place, choice), wanted, call)?;
    let (setup, last) = catalog.taken_from.clone().unzip();
    let setup = layout::SchemaSetup {
        snapshot: last.flatten().and_then(|last| last.snapshot),
        source_uri: source.uri.clone(),
        target_uri: setup.map(|setup| setup.target_uri),
        split_bytes: catalog.split_bytes,
    };
    let tables = inspect::read_tables(&catalog)?;
    let columns = inspect::read_columns(&catalog, &mut source)?;
    let indexes = inspect::read_indexes(&catalog, &mut source, None)?;
    let sequences = inspect::read_sequences(&catalog, &mut source, true)?;
    let json = layout::schema_json(&layout::Schema {
        setup: &setup,
        tables: &tables,
        columns: &columns,
        indexes: &indexes,
        sequences: &sequences,
    });
    Ok(Shown { text: None, json })
}
