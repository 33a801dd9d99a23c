//! From what was typed to what was meant: arguments, then environment, then defaults.
//!
//! Runs in the main program, with logging set up and nothing connected. Reads the environment and the
//! files of connection strings. A bad value of a variable is an error even where an option overrides
//! it, as the next command without the option would get it.

mod check;
mod compare;
mod connection;
pub(super) mod follow;
mod list;
mod pick;

use super::args::clone::FormatArg;
use super::args::value;
use super::args::{CloneArgs, StepArgs, StepCommand, StepRun};
use super::environment::Environment;
use crate::clone::{CloneSettings, FormatChoice, Goal, Requirement, Switches};
use crate::error::{Error, Result};
use crate::filter::Rules;
use crate::workdir::Intent;
use pick::Picker;
use std::path::{Path, PathBuf};

pub(super) use check::check;
pub(super) use compare::{compare_data, compare_rows, compare_schema};
pub(super) use connection::{Connections, connections};
pub(super) use list::{choice, places, skip_ctid, source, split};
pub(super) use pick::{Choice, bad_variable};

/// Workers of one kind without any setting.
const JOBS_DEFAULT: u32 = 4;
/// Size from which on tables are split without any setting, bytes.
const SPLIT_BYTES_DEFAULT: u64 = 1 << 30;

/// What does not stand in the arguments of the command itself.
pub(super) struct Surroundings<'a> {
    /// Where variables are looked up.
    pub(super) environment: &'a Environment,
    /// `--json` was given.
    pub(super) json: bool,
    /// A progress line can be shown.
    pub(super) progress: bool,
    /// The command line, already without secrets.
    pub(super) cmdline: String,
}

/// Settings, and what to log about them.
#[derive(Debug)]
pub(super) struct Resolved {
    /// The settings.
    pub(super) settings: CloneSettings,
    /// Where each of them comes from.
    pub(super) choices: Vec<Choice>,
    /// Options without effect.
    pub(super) warnings: Vec<String>,
}

/// Resolves the settings of a clone. Errors are of kind `BadArgs`.
pub(super) fn clone(args: &CloneArgs, around: &Surroundings<'_>) -> Result<Resolved> {
    resolve(args, None, around)
}

/// Resolves the settings of a command that does some parts of a clone, or of another one that takes
/// some of its options. Errors are of kind `BadArgs`.
pub(super) fn step(step: &StepArgs, around: &Surroundings<'_>) -> Result<Resolved> {
    resolve(&step.args, Some(step.command), around)
}

/// Both connection strings, of a command that may do without one: empty then.
fn both_sides(
    args: &CloneArgs,
    command: Option<&StepCommand>,
    environment: &Environment,
) -> Result<Connections> {
    let Some(command) = command else {
        return connections(&args.connections, environment);
    };
    if command.needs("source") && command.needs("target") {
        return connections(&args.connections, environment);
    }
    let taken = (command.takes("source"), command.takes("target"));
    let (source, target) = connection::sides(&args.connections, environment, taken)?;
    let missing = [
        ("source", "PGCOPYDB_SOURCE_PGURI", source.is_none()),
        ("target", "PGCOPYDB_TARGET_PGURI", target.is_none()),
    ];
    for (side, variable, is_missing) in missing {
        if is_missing && command.needs(side) {
            return Err(connection::missing_side(&format!("--{side}"), variable));
        }
    }
    Ok(Connections {
        source: source.unwrap_or_default(),
        target: target.unwrap_or_default(),
    })
}

fn resolve(
    args: &CloneArgs,
    command: Option<&StepCommand>,
    around: &Surroundings<'_>,
) -> Result<Resolved> {
    let takes = |option: &str| command.is_none_or(|command| command.takes(option));
    let goal = match command.map(|command| command.run) {
        Some(StepRun::Goal(goal)) => goal,
        // The list of an archive is that of both sections.
        Some(StepRun::ParseList) => Goal::RestoreSchema,
        Some(StepRun::Constraints) => Goal::CopyTableData,
        Some(StepRun::Snapshot) | None => Goal::Clone,
    };
    let is_snapshot = command.is_some_and(|command| command.run == StepRun::Snapshot);
    let mut picker = Picker::limited(around.environment, &takes);
    let mut jobs = jobs(args, &mut picker)?;
    if !takes("--index-jobs") {
        jobs.index = jobs.restore;
    }
    let split_bytes = picker.value(
        "--split-tables-larger-than",
        Some("PGCOPYDB_SPLIT_TABLES_LARGER_THAN"),
        args.work.split_tables_larger_than,
        value::bytes,
    )?;
    let split_max_parts = picker.value(
        "--split-max-parts",
        Some("PGCOPYDB_SPLIT_MAX_PARTS"),
        args.work.split_max_parts,
        value::parts,
    )?;
    let binary = picker.switch(
        "--use-copy-binary",
        "PGCOPYDB_USE_COPY_BINARY",
        args.work.use_copy_binary,
    )?;
    let switches = switches(args, around, &mut picker)?;
    let snapshot = picker.text(
        "--snapshot",
        "PGCOPYDB_SNAPSHOT",
        args.run.snapshot.as_deref(),
    );
    let Connections { source, target } = both_sides(args, command, around.environment)?;
    let dir = args.run.dir.clone();
    let filters = filters(args.what.filters.as_deref(), switches.skip_extensions)?;
    let at = (dir.as_ref(), filters.as_ref());
    let mut along = follow::along(&args.along, at, intent(args), around.environment)?;
    if let (Some(along), false) = (&mut along, is_snapshot) {
        along.listen = follow::listen(&args.along.listen, around.environment)?;
    }
    let settings = CloneSettings {
        goal,
        source,
        target,
        follow: along,
        dir: dir.unwrap_or_else(|| default_dir(around.environment)),
        intent: intent(args),
        snapshot,
        table_jobs: jobs.table,
        index_jobs: jobs.index,
        restore_jobs: jobs.restore,
        blob_jobs: jobs.blob,
        split_bytes: split_bytes.unwrap_or(SPLIT_BYTES_DEFAULT),
        split_max_parts: split_max_parts.unwrap_or(0),
        requirements: requirements(args.what.requirements.as_deref(), switches.skip_extensions)?,
        filters,
        copy_format: copy_format(args, binary)?,
        switches,
        cmdline: around.cmdline.clone(),
    };
    check_all_databases(&settings)?;
    check_follow(&settings)?;
    let mut warnings = warnings(&settings, &takes);
    warnings.extend(of_restore_jobs(args, goal, &takes));
    warnings.extend(follow::without_effect(&args.along));
    warnings.extend(of_filters(&settings, is_snapshot));
    Ok(Resolved {
        settings,
        choices: picker.choices,
        warnings,
    })
}

/// Numbers of workers.
struct Jobs {
    table: u32,
    index: u32,
    restore: u32,
    blob: u32,
}

fn jobs(args: &CloneArgs, picker: &mut Picker<'_>) -> Result<Jobs> {
    let work = &args.work;
    let mut one =
        |option, variable, given| picker.value(option, Some(variable), given, value::jobs);
    let table = one("--table-jobs", "PGCOPYDB_TABLE_JOBS", work.table_jobs)?;
    let index = one("--index-jobs", "PGCOPYDB_INDEX_JOBS", work.index_jobs)?;
    let restore = one("--restore-jobs", "PGCOPYDB_RESTORE_JOBS", work.restore_jobs)?;
    let blob = one(
        "--large-objects-jobs",
        "PGCOPYDB_LARGE_OBJECTS_JOBS",
        work.large_objects_jobs,
    )?;
    let index = index.unwrap_or(JOBS_DEFAULT);
    Ok(Jobs {
        table: table.unwrap_or(JOBS_DEFAULT),
        index,
        restore: restore.unwrap_or(index),
        blob: blob.unwrap_or(JOBS_DEFAULT),
    })
}

fn switches(
    args: &CloneArgs,
    around: &Surroundings<'_>,
    picker: &mut Picker<'_>,
) -> Result<Switches> {
    let (run, work, what) = (&args.run, &args.work, &args.what);
    let mut either = |option, variable, given| picker.switch(option, variable, given);
    Ok(Switches {
        not_consistent: run.not_consistent,
        estimate_sizes: either(
            "--estimate-table-sizes",
            "PGCOPYDB_ESTIMATE_TABLE_SIZES",
            work.estimate_table_sizes,
        )?,
        skip_analyze: either("--skip-analyze", "PGCOPYDB_SKIP_ANALYZE", work.skip_analyze)?,
        skip_ctid_split: either(
            "--skip-split-by-ctid",
            "PGCOPYDB_SKIP_CTID_SPLIT",
            work.skip_split_by_ctid,
        )?,
        drop_if_exists: either(
            "--drop-if-exists",
            "PGCOPYDB_DROP_IF_EXISTS",
            what.drop_if_exists,
        )?,
        all_databases: what.all_databases,
        roles: what.roles,
        no_role_passwords: what.no_role_passwords,
        no_owner: what.no_owner,
        no_acl: what.no_acl,
        no_comments: what.no_comments,
        no_tablespaces: either(
            "--no-tablespaces",
            "PGCOPYDB_SKIP_TABLESPACES",
            what.no_tablespaces,
        )?,
        skip_blobs: what.skip_large_objects,
        skip_extensions: what.skip_extensions,
        skip_ext_comments: what.skip_ext_comments || what.skip_extensions,
        skip_collations: what.skip_collations,
        skip_vacuum: either("--skip-vacuum", "PGCOPYDB_SKIP_VACUUM", what.skip_vacuum)?,
        skip_db_properties: either(
            "--skip-db-properties",
            "PGCOPYDB_SKIP_DB_PROPERTIES",
            what.skip_db_properties,
        )?,
        fail_fast: either("--fail-fast", "PGCOPYDB_FAIL_FAST", work.fail_fast)?,
        json: around.json,
        dry_run: run.dry_run,
        progress: around.progress && !run.dry_run,
    })
}

fn intent(args: &CloneArgs) -> Intent {
    match (args.run.restart, args.run.resume) {
        (true, _) => Intent::Restart,
        (false, true) => Intent::Resume,
        (false, false) => Intent::Fresh,
    }
}

/// The format to copy in; an option beats the variable, two options must not contradict each other.
fn copy_format(args: &CloneArgs, binary: bool) -> Result<FormatChoice> {
    match args.work.copy_format {
        Some(FormatArg::Text) if args.work.use_copy_binary => Err(Error::bad_args(
            "options --use-copy-binary and --copy-format text contradict each other",
        )
        .hint("Give only one of them.")),
        Some(FormatArg::Text) => Ok(FormatChoice::Text),
        Some(FormatArg::Binary) => Ok(FormatChoice::Binary),
        Some(FormatArg::Auto) if !args.work.use_copy_binary => Ok(FormatChoice::Auto),
        _ if binary => Ok(FormatChoice::Binary),
        _ => Ok(FormatChoice::Auto),
    }
}

/// The work directory of a command that only looks.
pub(super) fn dir(given: Option<&PathBuf>, environment: &Environment) -> PathBuf {
    given.map_or_else(|| default_dir(environment), PathBuf::clone)
}

/// `${TMPDIR:-/tmp}/pgcopydb`.
pub(super) fn default_dir(environment: &Environment) -> PathBuf {
    let temporary = environment
        .get_os("TMPDIR")
        .filter(|value| !value.is_empty());
    temporary
        .map_or_else(|| PathBuf::from("/tmp"), PathBuf::from)
        .join("pgcopydb")
}

/// Refuses options that are about one database.
fn check_all_databases(settings: &CloneSettings) -> Result<()> {
    let switches = &settings.switches;
    let given = [
        ("--snapshot", settings.snapshot.is_some()),
        ("--dry-run", switches.dry_run),
        ("--follow", settings.follow.is_some()),
    ];
    for (option, given) in given {
        if given && switches.all_databases {
            return Err(Error::bad_args(format!(
                "option {option} cannot be used with --all-databases"
            ))
            .hint(format!(
                "Leave {option} out, or copy one database at a time."
            )));
        }
    }
    Ok(())
}

/// Refuses to copy rows that changes do not fit.
fn check_follow(settings: &CloneSettings) -> Result<()> {
    if settings.follow.is_none()
        || !settings.switches.not_consistent
        || settings.intent == Intent::Resume
    {
        return Ok(());
    }
    Err(
        Error::bad_args("option --not-consistent cannot be used with --follow")
            .hint("Changes follow on one snapshot: leave --not-consistent out."),
    )
}

/// What `--requirements` says; a file without effect is not read.
fn requirements(path: Option<&Path>, skip_extensions: bool) -> Result<Option<Vec<Requirement>>> {
    match path {
        Some(path) if skip_extensions && path.exists() => Ok(Some(Vec::new())),
        path => path.map(crate::clone::read_requirements).transpose(),
    }
}

/// The rules of `--filters`. Errors: `BadArgs` for a file that cannot be read, `BadConfig` for what it
/// says.
pub(in crate::cli) fn filters(path: Option<&Path>, skip_extensions: bool) -> Result<Option<Rules>> {
    let Some(path) = path else {
        return Ok(None);
    };
    let mut rules = crate::filter::read(path)?;
    if skip_extensions {
        rules.check_skip_extensions()?;
    }
    Ok(Some(rules))
}

/// A snapshot shows all tables; filters choose what is followed from it.
fn of_filters(settings: &CloneSettings, is_snapshot: bool) -> Option<String> {
    let in_vain = is_snapshot && settings.filters.is_some() && settings.follow.is_none();
    in_vain.then(|| "Option --filters has no effect without --follow".to_owned())
}

/// The tool's processes, where it does nothing that several of them could.
fn of_restore_jobs(args: &CloneArgs, goal: Goal, takes: &dyn Fn(&str) -> bool) -> Option<String> {
    let is_given = args.work.restore_jobs.is_some() && takes("--restore-jobs");
    let what = "Option --restore-jobs has no effect: only post-data is restored by several";
    (is_given && !goal.restores_post_data()).then(|| what.to_owned())
}

/// What was given and has no effect.
fn warnings(settings: &CloneSettings, takes: &dyn Fn(&str) -> bool) -> Vec<String> {
    let switches = &settings.switches;
    let cases = [
        (
            settings.split_bytes == 0 && settings.split_max_parts > 0,
            "Option --split-max-parts has no effect, as tables are not split",
        ),
        (
            switches.skip_analyze && !switches.estimate_sizes,
            "Option --skip-analyze has no effect without --estimate-table-sizes",
        ),
        (
            switches.not_consistent && settings.snapshot.is_some(),
            "The snapshot is not used, per --not-consistent",
        ),
        (
            switches.skip_extensions && settings.requirements.is_some(),
            "Option --requirements has no effect, per --skip-extensions",
        ),
        (
            switches.no_role_passwords && !switches.roles && takes("--roles"),
            "Option --no-role-passwords has no effect without --roles",
        ),
    ];
    cases
        .into_iter()
        .filter(|(given, _)| *given)
        .map(|(_, text)| text.to_owned())
        .collect()
}

#[cfg(test)]
mod tests;
