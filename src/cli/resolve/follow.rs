//! Settings of `stream` and its kin: work directory, change data, slot, plugin, connections.
//!
//! Runs in the main program. Reads the environment and what an earlier command left.

use super::super::args::clone::AlongArgs;
use super::super::args::follow::ListenArgs;
use super::super::args::stream::{PluginArgs, ServiceArgs, SourceArgs};
use super::super::args::stream_apply::TargetArgs;
use super::super::args::{ConnectionArgs, value};
use super::super::environment::Environment;
use super::connection::{connections, source_only, target_only};
use super::{bad_variable, default_dir};
use crate::clone::FollowAlong;
use crate::conninfo::ConnInfo;
use crate::error::{Context, Error, Result};
use crate::filter::Rules;
use crate::follow::files::{CdcDir, Plugin};
use crate::follow::remote::{Client, PORT_DEFAULT, Way};
use crate::follow::slot::{self, SlotSettings};
use crate::logging;
use crate::workdir::{Intent, Layout};
use std::net::{SocketAddr, ToSocketAddrs};
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

/// Where a follow listens for commands of other machines; none: nowhere. A variable with a port means nothing
/// by itself.
pub(in crate::cli) fn listen(
    args: &ListenArgs,
    environment: &Environment,
) -> Result<Option<SocketAddr>> {
    const PORT: &str = "PGCOPYDB_PORT";
    let set = |name| environment.get(name).filter(|text| !text.is_empty());
    let host = args.host.clone().or_else(|| set("PGCOPYDB_HOST"));
    let Some(host) = host else {
        return port_needs_host(args.port).map(|()| None);
    };
    let port = match (args.port, set(PORT)) {
        (Some(port), _) => port,
        (None, Some(text)) => {
            value::port(&text).map_err(|accepted| bad_variable(PORT, &text, &accepted))?
        }
        (None, None) => PORT_DEFAULT,
    };
    let failed = |why: &str| {
        Error::bad_args(format!(
            "could not find the address of host \"{host}\": {why}"
        ))
        .hint("Give a name or an address of this machine with --host.")
    };
    let found = (host.as_str(), port)
        .to_socket_addrs()
        .map_err(|error| failed(&error.to_string()))?;
    let found: Vec<SocketAddr> = found.collect();
    let first = found.iter().find(|one| one.is_ipv4()).or(found.first());
    first
        .copied()
        .map(Some)
        .ok_or_else(|| failed("it has none"))
}

/// Refuses a port that says nothing of where.
fn port_needs_host(port: Option<u16>) -> Result<()> {
    match port {
        None => Ok(()),
        Some(_) => Err(Error::bad_args("option --port needs --host")
            .hint("Add --host 127.0.0.1 for this machine, or another of its addresses.")),
    }
}

/// How a command reaches the follow: by the files of the work directory unless an address is typed.
pub(in crate::cli) fn way(
    args: &ServiceArgs,
    dir: Option<&PathBuf>,
    environment: &Environment,
) -> Result<Way> {
    let Place { layout, cdc } = place(dir, environment)?;
    let Some(host) = args.host.clone() else {
        port_needs_host(args.port)?;
        if args.token_file.is_some() {
            log::warn!("Option --token-file has no effect without --host");
        }
        return Ok(Way::Files { layout, cdc });
    };
    let set = environment
        .get_os("PGCOPYDB_TOKEN_FILE")
        .filter(|text| !text.is_empty());
    let token_file = args.token_file.clone().or_else(|| set.map(PathBuf::from));
    Ok(Way::Tcp(Client {
        host,
        port: args.port.unwrap_or(PORT_DEFAULT),
        token_file: token_file.unwrap_or_else(|| layout.token()),
    }))
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

/// What `--follow` of a clone is told; none without it.
pub(in crate::cli) fn along(
    args: &AlongArgs,
    (dir, filters): (Option<&PathBuf>, Option<&Rules>),
    intent: Intent,
    environment: &Environment,
) -> Result<Option<FollowAlong>> {
    if !args.follow {
        return Ok(None);
    }
    let place = place(dir, environment)?;
    let resume = intent == Intent::Resume;
    let mut slot = slot(&args.plugin, args.allow_no_identity, resume, environment)?;
    slot.filters = filters.cloned();
    let recorded = place.cdc.read_slot()?.filter(|_| intent != Intent::Restart);
    if let Some(recorded) = recorded {
        let name = args.plugin.slot_name.as_deref();
        slot::check_recorded(
            &recorded,
            name.unwrap_or(&recorded.slot),
            args.plugin.plugin,
        )?;
        slot.slot = recorded.slot;
    }
    let origin = place
        .cdc
        .read_origin()?
        .filter(|_| intent != Intent::Restart);
    let origin = args.origin.clone().or(origin);
    Ok(Some(FollowAlong {
        cdc: place.cdc,
        slot,
        origin: origin.unwrap_or_else(|| NAME_DEFAULT.to_owned()),
        endpos: args.endpos,
        keep_no_op: args.replay_no_op_updates || replay_no_op_updates(environment)?,
        max_cdc_size: args.max_cdc_size,
        listen: None,
    }))
}

/// Options that were given in vain, as nothing is followed.
pub(in crate::cli) fn without_effect(args: &AlongArgs) -> Vec<String> {
    let given = [
        ("--plugin", args.plugin.plugin.is_some()),
        (
            "--wal2json-numeric-as-string",
            args.plugin.wal2json_numeric_as_string,
        ),
        ("--publication", args.plugin.publication.is_some()),
        ("--slot-name", args.plugin.slot_name.is_some()),
        ("--create-slot", args.create_slot),
        ("--origin", args.origin.is_some()),
        ("--endpos", args.endpos.is_some()),
        ("--replay-no-op-updates", args.replay_no_op_updates),
        ("--allow-no-identity", args.allow_no_identity),
        ("--max-cdc-size", args.max_cdc_size.is_some()),
        ("--host", args.listen.host.is_some()),
        ("--port", args.listen.port.is_some()),
    ];
    given
        .into_iter()
        .filter(|(_, given)| *given && !args.follow)
        .map(|(option, _)| format!("Option {option} has no effect without --follow"))
        .collect()
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
        filters: None,
    })
}
