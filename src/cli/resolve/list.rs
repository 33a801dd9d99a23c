//! Settings of the lists: the source, where its catalogs may be found, how tables would be split.
//!
//! Runs in the main program.

use super::super::args::list::{FilterArgs, PlaceArgs, SkippedArgs, SourceArgs, SplitArgs};
use super::super::args::value;
use super::super::environment::Environment;
use super::connection::source_only;
use super::pick::Picker;
use super::{SPLIT_BYTES_DEFAULT, dir};
use crate::error::{Error, Result};
use crate::inspect::{Choice, Places, SplitChoice};

/// The connection string. Errors (`BadArgs`): there is none.
pub(in crate::cli) fn source(args: &SourceArgs, environment: &Environment) -> Result<String> {
    source_only(args.source.as_ref(), args.source_file.as_ref(), environment)
}

/// The work directory, and whether it is to be left alone.
pub(in crate::cli) fn places(args: &PlaceArgs, environment: &Environment) -> Places {
    Places {
        dir: dir(args.dir.dir.as_ref(), environment),
        anew: args.force,
        choice: Choice::default(),
    }
}

/// What is listed. Errors: `BadArgs`, and `BadConfig` for what the filters file says.
pub(in crate::cli) fn choice(filter: &FilterArgs, skipped: Option<&SkippedArgs>) -> Result<Choice> {
    let left_out = skipped.is_some_and(|skipped| skipped.list_skipped);
    let rules = super::filters(filter.filters.as_deref(), false)?;
    if left_out && rules.is_none() {
        return Err(
            Error::bad_args("option --list-skipped needs option --filters, too")
                .hint("Give the filters file whose effect is to be listed."),
        );
    }
    Ok(Choice { rules, left_out })
}

/// How tables would be split; without arguments, for lists that do not tell. Errors (`BadArgs`): a bad
/// variable.
pub(in crate::cli) fn split(
    args: Option<&SplitArgs>,
    skip_ctid: bool,
    environment: &Environment,
) -> Result<SplitChoice> {
    let mut choice = SplitChoice {
        bytes: None,
        default_bytes: SPLIT_BYTES_DEFAULT,
        max_parts: None,
        skip_ctid,
        estimate: false,
    };
    let Some(args) = args else {
        return Ok(choice);
    };
    let mut picker = Picker::new(environment);
    choice.bytes = picker.value(
        "--split-tables-larger-than",
        Some("PGCOPYDB_SPLIT_TABLES_LARGER_THAN"),
        args.split_tables_larger_than,
        value::bytes,
    )?;
    choice.max_parts = picker.value(
        "--split-max-parts",
        Some("PGCOPYDB_SPLIT_MAX_PARTS"),
        args.split_max_parts,
        value::parts,
    )?;
    choice.estimate = picker.switch(
        "--estimate-table-sizes",
        "PGCOPYDB_ESTIMATE_TABLE_SIZES",
        args.estimate_table_sizes,
    )?;
    Ok(choice)
}

/// Whether the environment forbids splits by ctid. Errors (`BadArgs`): a bad variable.
pub(in crate::cli) fn skip_ctid(environment: &Environment) -> Result<bool> {
    let mut picker = Picker::new(environment);
    picker.switch("--skip-split-by-ctid", "PGCOPYDB_SKIP_CTID_SPLIT", false)
}
