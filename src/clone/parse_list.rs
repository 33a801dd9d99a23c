//! `pgcopydb restore parse-list`: the archive's list as it would be restored, or the entries of a list
//! in a file. Changes nothing on either side.
//!
//! Runs in the main program, which does not fork for this. Reads the ledger, the archive and, when they
//! are given, both servers.

use super::archive;
use super::prepare;
use super::settings::CloneSettings;
use crate::catalog::{Ledger, Run, Setup};
use crate::check;
use crate::conninfo::{ConnInfo, ToolSettings};
use crate::dump::list_plan::{plan_post_data, plan_pre_data, print_edits};
use crate::dump::{ArchiveRun, Installed, SchemaDir, SearchPlaces, archive_list};
use crate::error::{Error, Kind, Result};
use crate::schema::target;
use crate::units::{PgVersion, Side};
use crate::workdir::Layout;
use std::path::Path;

/// What `restore parse-list` is told: that of a restore, of which it is the list.
pub type ParseListSettings = CloneSettings;

/// The entries of a list in a file, one a line: number, catalog, object, kind, name.
pub fn list_archive(path: &Path) -> Result<String> {
    let failed = |error: std::io::Error| {
        Error::bad_args(format!(
            "could not read list \"{}\": {error}",
            path.display()
        ))
        .hint("Give a file that pg_restore --list has written.")
    };
    let bytes = std::fs::read(path).map_err(failed)?;
    let entries = archive_list::parse(&String::from_utf8_lossy(&bytes))
        .map_err(|error| error.with_kind(Kind::BadArgs))?;
    let lines: Vec<String> = entries
        .iter()
        .map(|entry| {
            format!(
                "{}; {} {} {} {}\n",
                entry.dump_id, entry.catalog_oid, entry.object_oid, entry.desc, entry.rest
            )
        })
        .collect();
    Ok(lines.concat())
}

/// The list of pre-data and then of post-data, with `;` in front of what is left out.
pub fn parse_list(
    settings: &ParseListSettings,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<String> {
    let layout = Layout::new(settings.dir.clone());
    let dir = SchemaDir::new(layout.schema());
    if !dir.archive().exists() || !layout.ledger().exists() {
        return Err(Error::bad_state(format!(
            "file \"{}\" does not exist",
            dir.archive().display()
        ))
        .hint("Run \"pgcopydb dump schema\" with the same --dir first."));
    }
    let ledger = Ledger::open_read_only(&layout.ledger())?;
    if Run::marked(ledger.connection(), "dumped")?.is_none() {
        return Err(Error::bad_state(format!(
            "file \"{}\" was not finished, or not made by pgcopydb",
            dir.archive().display()
        ))
        .hint("Run \"pgcopydb dump schema\" with the same --dir first."));
    }
    let mut settings = settings.clone();
    let setup = Setup::read(&ledger)?;
    let stored = setup.as_ref().map_or("", |setup| setup.options.as_str());
    settings.adopt(stored);
    let filters = setup.as_ref().map_or("", |setup| setup.filters.as_str());
    if settings.filters.is_some() && settings.canonical_filters() != filters {
        return Err(Error::bad_state("the schema was dumped with other filters")
            .hint("Leave --filters out, or dump it again: pgcopydb dump schema --restart."));
    }
    let side = |text: &str, side| match text {
        "" => Ok(None),
        text => super::connection(text, env, side).map(Some),
    };
    let from = setup.as_ref().map_or(0, |setup| setup.source_version);
    if let Some(source) = side(&settings.source, "source")? {
        refuse_other(&source, Side::Source, setup.as_ref())?;
    }
    let mut schemas = Vec::new();
    if let Some(conn) = side(&settings.target, "target")? {
        let mut target = refuse_other(&conn, Side::Target, setup.as_ref())?;
        schemas = target::list_namespaces(&mut target.session.client)?;
    }
    let installed = Installed::find(&SearchPlaces::from_environment());
    let tools = installed.oldest_that_fit(PgVersion(from), false)?;
    let archive_run = ArchiveRun {
        tools: &tools,
        settings: &ToolSettings::default(),
        dir: &dir,
        stop: &|| false,
    };
    let entries = archive_run.list()?;
    let facts = archive::list_facts(&ledger, &settings.switches, schemas)?;
    let pre_data = print_edits(&plan_pre_data(&entries, &facts).edits);
    let post_data = plan_post_data(&entries, &facts);
    let both: Vec<_> = post_data
        .main
        .iter()
        .zip(&post_data.last)
        .map(|(main, last)| if last.dropped.is_none() { *last } else { *main })
        .collect();
    Ok(pre_data + &print_edits(&both))
}

/// Connects to a side and refuses another database than that of the work directory.
fn refuse_other(conn: &ConnInfo, side: Side, setup: Option<&Setup>) -> Result<prepare::Connected> {
    let connected = prepare::connect("parse list", conn, side)?;
    let now = check::identity(&connected.facts);
    let before = setup.map_or("", |setup| match side {
        Side::Source => setup.source_identity.as_str(),
        Side::Target => setup.target_identity.as_str(),
    });
    if before.is_empty() || before == now {
        return Ok(connected);
    }
    Err(Error::bad_state(format!(
        "the work directory was set up for another {side} database"
    ))
    .hint("Give the same database, or another work directory with --dir."))
}
