//! Settings of `stream` and its kin: work directory, change data, slot, plugin, connections.
//!
//! Runs in the main program. Reads the environment and what an earlier command left.

use super::super::args::stream::{PluginArgs, SourceArgs};
use super::super::args::stream_apply::TargetArgs;
use super::super::args::{ConnectionArgs, value};
use super::super::environment::Environment;
use super::connection::{connections, source_only, target_only};
use super::{bad_variable, default_dir};
use crate::conninfo::ConnInfo;
use crate::error::{Context, Result};
use crate::follow::files::{CdcDir, Plugin};
use crate::follow::slot::SlotSettings;
use crate::logging;
use crate::workdir::Layout;
use std::path::PathBuf;

/// Name of slot and origin where none is given.
pub(in crate::cli) const NAME_DEFAULT: &str = "pgcopydb";

/// Where everything is.
pub(in crate::cli) struct Place {
    /// The work directory.
    pub(in crate::cli) layout: Layout,
    /// The folder of change data.
    pub(in crate::cli) cdc: CdcDir,
}

/// Finds the work directory and the folder of change data.
pub(in crate::cli) fn place(dir: Option<&PathBuf>, environment: &Environment) -> Result<Place> {
    let top = dir.cloned().unwrap_or_else(|| default_dir(environment));
    let cdc = CdcDir::locate(
        dir.map(PathBuf::as_path),
        environment.get_os("XDG_DATA_HOME"),
        environment.get_os("HOME"),
    )?;
    Ok(Place {
        layout: Layout::new(top),
        cdc,
    })
}

/// Reads a connection string; its passwords are never shown from now on.
fn parsed(text: &str, option: &str, environment: &Environment) -> Result<ConnInfo> {
    let conn = ConnInfo::parse(text, &|name| environment.get(name))
        .context(|| format!("reading option {option}"))?;
    for secret in conn.secrets() {
        logging::register_secret(&secret);
    }
    Ok(conn)
}

/// The connection string of the source.
pub(in crate::cli) fn source_of(args: &SourceArgs, environment: &Environment) -> Result<ConnInfo> {
    parsed(
        &source_only(args.source.as_ref(), args.source_file.as_ref(), environment)?,
        "--source",
        environment,
    )
}

/// The target.
pub(in crate::cli) fn target_of(args: &TargetArgs, environment: &Environment) -> Result<ConnInfo> {
    let text = target_only(args.target.as_ref(), args.target_file.as_ref(), environment)?;
    parsed(&text, "--target", environment)
}

/// Whether the variable asks for updates that change nothing.
pub(in crate::cli) fn replay_no_op_updates(environment: &Environment) -> Result<bool> {
    const NAME: &str = "PGCOPYDB_REPLAY_NO_OP_UPDATES";
    match environment.get(NAME).filter(|text| !text.is_empty()) {
        Some(text) => {
            value::boolean(&text).map_err(|accepted| bad_variable(NAME, &text, &accepted))
        }
        None => Ok(false),
    }
}

/// Both connection strings.
pub(in crate::cli) fn both_of(
    args: &ConnectionArgs,
    environment: &Environment,
) -> Result<(ConnInfo, ConnInfo)> {
    let both = connections(args, environment)?;
    Ok((
        parsed(&both.source, "--source", environment)?,
        parsed(&both.target, "--target", environment)?,
    ))
}

/// The plugin that was asked for, by option or variable.
pub(in crate::cli) fn plugin(
    args: &PluginArgs,
    environment: &Environment,
) -> Result<Option<Plugin>> {
    const NAME: &str = "PGCOPYDB_OUTPUT_PLUGIN";
    let set = match environment.get(NAME).filter(|text| !text.is_empty()) {
        Some(text) => {
            Some(value::plugin(&text).map_err(|accepted| bad_variable(NAME, &text, &accepted))?)
        }
        None => None,
    };
    Ok(args.plugin.or(set))
}

/// What the replication slot is to be.
pub(in crate::cli) fn slot(
    args: &PluginArgs,
    allow_no_identity: bool,
    resume: bool,
    environment: &Environment,
) -> Result<SlotSettings> {
    const NUMERIC: &str = "PGCOPYDB_WAL2JSON_NUMERIC_AS_STRING";
    let plugin = plugin(args, environment)?;
    let set = match environment.get(NUMERIC).filter(|text| !text.is_empty()) {
        Some(text) => {
            value::boolean(&text).map_err(|accepted| bad_variable(NUMERIC, &text, &accepted))?
        }
        None => false,
    };
    let set_publication = environment
        .get("PGCOPYDB_PUBLICATION")
        .filter(|text| !text.is_empty());
    Ok(SlotSettings {
        slot: args
            .slot_name
            .clone()
            .unwrap_or_else(|| NAME_DEFAULT.to_owned()),
        plugin,
        // The variable is for all commands, and counts where it can have an effect.
        numeric_as_string: args.wal2json_numeric_as_string
            || (set && plugin == Some(Plugin::Wal2json)),
        publication: args.publication.clone().or(set_publication),
        allow_no_identity,
        resume,
    })
}
