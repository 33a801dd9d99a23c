//! Settings of `check`: those of a clone with the same options, and what is to be followed.
//!
//! Runs in the main program. Connects to nothing.

use super::{Resolved, Surroundings, clone};
use crate::cli::args::clone::{CloneArgs, RunArgs, WhatArgs, WorkArgs};
use crate::cli::args::{CheckArgs, PluginArg};
use crate::clone::FollowChoices;
use crate::error::{Error, Result};

/// What decodes when nothing says otherwise, and the slot that keeps it.
const PLUGIN_DEFAULT: &str = "pgoutput";
const SLOT_DEFAULT: &str = "pgcopydb";
const ORIGIN_DEFAULT: &str = "pgcopydb";

/// Resolves the settings of a check. Errors are of kind `BadArgs`.
pub(in crate::cli) fn check(
    args: &CheckArgs,
    around: &Surroundings<'_>,
) -> Result<(Resolved, Option<FollowChoices>)> {
    let as_clone = CloneArgs {
        connections: args.connections.clone(),
        run: RunArgs {
            dir: args.dir.clone(),
            ..RunArgs::default()
        },
        work: WorkArgs {
            table_jobs: args.table_jobs,
            index_jobs: args.index_jobs,
            large_objects_jobs: args.large_objects_jobs,
            ..WorkArgs::default()
        },
        what: WhatArgs {
            drop_if_exists: args.drop_if_exists,
            roles: args.roles,
            no_owner: args.no_owner,
            skip_large_objects: args.skip_large_objects,
            skip_extensions: args.skip_extensions,
            filters: args.filters.clone(),
            all_databases: args.all_databases,
            ..WhatArgs::default()
        },
        ..CloneArgs::default()
    };
    if args.all_databases && args.follow {
        return Err(
            Error::bad_args("option --follow cannot be used with --all-databases")
                .hint("Changes are followed in one database at a time: check one."),
        );
    }
    let mut resolved = clone(&as_clone, around)?;
    let plugin = args.plugin.map(|plugin| match plugin {
        PluginArg::Pgoutput => PLUGIN_DEFAULT,
        PluginArg::TestDecoding => "test_decoding",
        PluginArg::Wal2json => "wal2json",
    });
    let of_following = [
        ("--plugin", plugin.is_some()),
        ("--slot-name", args.slot_name.is_some()),
        ("--allow-no-identity", args.allow_no_identity),
    ];
    for (option, given) in of_following {
        if given && !args.follow {
            let warning = format!("Option {option} has no effect without --follow");
            resolved.warnings.push(warning);
        }
    }
    let by_variable = around.environment.get("PGCOPYDB_OUTPUT_PLUGIN");
    let follow = args.follow.then(|| FollowChoices {
        plugin: plugin
            .map(str::to_owned)
            .or(by_variable)
            .unwrap_or_else(|| PLUGIN_DEFAULT.to_owned()),
        slot: args
            .slot_name
            .clone()
            .unwrap_or_else(|| SLOT_DEFAULT.to_owned()),
        origin: ORIGIN_DEFAULT.to_owned(),
        allow_no_identity: args.allow_no_identity,
    });
    Ok((resolved, follow))
}
