//! Arguments of the commands that do a clone step by step: which of the options of `clone` each of them
//! has.
//!
//! Runs in the main program before any work. The options themselves are declared once, for `clone`; a
//! command here gets copies of those that it takes, so that all others are unknown to it.

use super::clone::CloneArgs;
use super::{HELP_TEMPLATE, ModeArg};
use crate::clone::Goal;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, Parser};
use std::ffi::OsString;
use std::path::PathBuf;

/// What a command runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum StepRun {
    /// Parts of a clone.
    Goal(Goal),
    /// A snapshot that is held for others.
    Snapshot,
    /// The list of an archive.
    ParseList,
    /// What a copy of rows alone has taken away.
    Constraints,
}

/// A command and its options, long names without dashes.
#[derive(Debug)]
pub(in crate::cli) struct StepCommand {
    /// The command that it stands below; empty: the program.
    group: &'static str,
    name: &'static str,
    about: &'static str,
    /// What it runs.
    pub(in crate::cli) run: StepRun,
    /// Options that must be given, or their variables.
    needs: &'static [&'static str],
    takes: &'static [&'static str],
    /// Options that are accepted for the sake of old scripts, and have no effect.
    hidden: &'static [&'static str],
}

/// All of them.
const COMMANDS: [StepCommand; 18] = [
    StepCommand {
        group: "",
        name: "snapshot",
        about: "Export a snapshot of the source and hold it for other commands",
        run: StepRun::Snapshot,
        needs: &["source"],
        takes: &[
            "dir",
            "filters",
            "restart",
            "resume",
            "follow",
            "plugin",
            "wal2json-numeric-as-string",
            "publication",
            "allow-no-identity",
            "slot-name",
            "json",
        ],
        hidden: &[],
    },
    StepCommand {
        group: "copy",
        name: "roles",
        about: "Copy the roles from source to target",
        run: StepRun::Goal(Goal::CopyRoles),
        needs: &["source", "target"],
        takes: &["dir", "no-role-passwords"],
        hidden: &[],
    },
    StepCommand {
        group: "copy",
        name: "extensions",
        about: "Copy the extensions and their configuration tables",
        run: StepRun::Goal(Goal::CopyExtensions),
        needs: &["source", "target"],
        takes: &[
            "dir",
            "requirements",
            "filters",
            "restart",
            "resume",
            "not-consistent",
            "snapshot",
        ],
        hidden: &[],
    },
    StepCommand {
        group: "copy",
        name: "schema",
        about: "Copy the schema, without any data",
        run: StepRun::Goal(Goal::CopySchema),
        needs: &["source", "target"],
        takes: &[
            "dir",
            "restore-jobs",
            "drop-if-exists",
            "no-owner",
            "no-acl",
            "no-comments",
            "no-tablespaces",
            "skip-extensions",
            "skip-ext-comments",
            "skip-collations",
            "skip-db-properties",
            "requirements",
            "filters",
            "restart",
            "resume",
            "not-consistent",
            "snapshot",
        ],
        hidden: &[],
    },
    StepCommand {
        group: "copy",
        name: "data",
        about: "Copy the data into a schema that is there",
        run: StepRun::Goal(Goal::CopyData),
        needs: &["source", "target"],
        takes: &[
            "dir",
            "table-jobs",
            "index-jobs",
            "restore-jobs",
            "large-objects-jobs",
            "split-tables-larger-than",
            "split-max-parts",
            "estimate-table-sizes",
            "skip-split-by-ctid",
            "drop-if-exists",
            "skip-large-objects",
            "skip-vacuum",
            "skip-analyze",
            "filters",
            "fail-fast",
            "use-copy-binary",
            "restart",
            "resume",
            "not-consistent",
            "snapshot",
            "json",
            "copy-format",
        ],
        hidden: &[],
    },
    StepCommand {
        group: "copy",
        name: "table-data",
        about: "Copy the rows of tables, without indexes and constraints",
        run: StepRun::Goal(Goal::CopyTableData),
        needs: &["source", "target"],
        takes: &[
            "dir",
            "table-jobs",
            "split-tables-larger-than",
            "split-max-parts",
            "estimate-table-sizes",
            "skip-split-by-ctid",
            "skip-analyze",
            "filters",
            "fail-fast",
            "use-copy-binary",
            "restart",
            "resume",
            "not-consistent",
            "snapshot",
            "json",
            "copy-format",
        ],
        hidden: &[],
    },
    StepCommand {
        group: "copy",
        name: "blobs",
        about: "Copy the large objects",
        run: StepRun::Goal(Goal::CopyBlobs),
        needs: &["source", "target"],
        takes: &[
            "dir",
            "large-objects-jobs",
            "drop-if-exists",
            "fail-fast",
            "restart",
            "resume",
            "not-consistent",
            "snapshot",
        ],
        hidden: &[],
    },
    StepCommand {
        group: "copy",
        name: "sequences",
        about: "Copy the current values of sequences",
        run: StepRun::Goal(Goal::CopySequences),
        needs: &["source", "target"],
        takes: &[
            "dir",
            "filters",
            "restart",
            "resume",
            "not-consistent",
            "snapshot",
        ],
        hidden: &[],
    },
    StepCommand {
        group: "copy",
        name: "indexes",
        about: "Create the indexes of the source on the target",
        run: StepRun::Goal(Goal::CopyIndexes),
        needs: &["source", "target"],
        takes: &[
            "dir",
            "index-jobs",
            "filters",
            "fail-fast",
            "restart",
            "resume",
            "not-consistent",
            "snapshot",
        ],
        hidden: &["restore-jobs"],
    },
    StepCommand {
        group: "copy",
        name: "constraints",
        about: "Create the constraints that indexes back",
        run: StepRun::Goal(Goal::CopyConstraints),
        needs: &["source", "target"],
        takes: &[
            "dir",
            "index-jobs",
            "filters",
            "fail-fast",
            "restart",
            "resume",
            "not-consistent",
            "snapshot",
        ],
        hidden: &[],
    },
    StepCommand {
        group: "dump",
        name: "schema",
        about: "Dump the schema of the source into the work directory",
        run: StepRun::Goal(Goal::DumpSchema),
        needs: &["source"],
        takes: &[
            "dir",
            "skip-extensions",
            "filters",
            "restart",
            "resume",
            "not-consistent",
            "snapshot",
        ],
        hidden: &["target"],
    },
    StepCommand {
        group: "dump",
        name: "roles",
        about: "Dump the roles of the source into the work directory",
        run: StepRun::Goal(Goal::DumpRoles),
        needs: &["source"],
        takes: &["dir", "no-role-passwords", "restart", "resume"],
        hidden: &["target", "not-consistent"],
    },
    StepCommand {
        group: "restore",
        name: "schema",
        about: "Restore all of the dumped schema",
        run: StepRun::Goal(Goal::RestoreSchema),
        needs: &["target"],
        takes: &[
            "source",
            "dir",
            "restore-jobs",
            "drop-if-exists",
            "no-owner",
            "no-acl",
            "no-comments",
            "no-tablespaces",
            "skip-extensions",
            "skip-ext-comments",
            "filters",
            "restart",
            "resume",
            "skip-db-properties",
        ],
        hidden: &["not-consistent", "snapshot"],
    },
    StepCommand {
        group: "restore",
        name: "pre-data",
        about: "Restore what comes before the data",
        run: StepRun::Goal(Goal::RestorePreData),
        needs: &["target"],
        takes: &[
            "source",
            "dir",
            "restore-jobs",
            "drop-if-exists",
            "no-owner",
            "no-acl",
            "no-comments",
            "no-tablespaces",
            "skip-extensions",
            "skip-ext-comments",
            "filters",
            "restart",
            "resume",
            "skip-db-properties",
        ],
        hidden: &["not-consistent", "snapshot"],
    },
    StepCommand {
        group: "restore",
        name: "post-data",
        about: "Restore what comes after the data: whatever remains",
        run: StepRun::Goal(Goal::RestorePostData),
        needs: &["target"],
        takes: &[
            "source",
            "dir",
            "restore-jobs",
            "no-owner",
            "no-acl",
            "no-comments",
            "no-tablespaces",
            "skip-extensions",
            "skip-ext-comments",
            "filters",
            "restart",
            "resume",
        ],
        hidden: &["not-consistent", "snapshot"],
    },
    StepCommand {
        group: "restore",
        name: "roles",
        about: "Restore the dumped roles",
        run: StepRun::Goal(Goal::RestoreRoles),
        needs: &["target"],
        takes: &["dir"],
        hidden: &[
            "source",
            "restore-jobs",
            "restart",
            "resume",
            "not-consistent",
        ],
    },
    StepCommand {
        group: "restore",
        name: "constraints",
        about: "Put back foreign keys and triggers that a copy of rows took away",
        run: StepRun::Constraints,
        needs: &["target"],
        takes: &["dir", "index-jobs", "dry-run"],
        hidden: &[],
    },
    StepCommand {
        group: "restore",
        name: "parse-list",
        about: "Print the list of the dumped schema as it would be restored",
        run: StepRun::ParseList,
        needs: &[],
        takes: &[
            "source",
            "target",
            "dir",
            "skip-extensions",
            "skip-ext-comments",
            "filters",
        ],
        hidden: &["restart", "resume", "not-consistent", "snapshot"],
    },
];

/// The option of `copy data` that `clone` has not.
const CONSTRAINTS: &str = "constraints";

/// Groups that hold nothing else, with their one line.
const GROUPS: [(&str, &str); 2] = [
    ("dump", "Dump the schema or the roles of the source"),
    ("restore", "Restore what was dumped on the target"),
];

/// A command of these as it was typed.
#[derive(Debug)]
pub(in crate::cli) struct StepArgs {
    /// Which.
    pub(in crate::cli) command: &'static StepCommand,
    /// Its options, in the words of `clone`.
    pub(in crate::cli) args: Box<CloneArgs>,
    /// The file of `restore parse-list`.
    pub(in crate::cli) file: Option<PathBuf>,
    /// `copy data --constraints`: rows alone, into tables with keys.
    pub(in crate::cli) constraints: Option<ModeArg>,
    /// Options that were typed, long names without dashes.
    pub(in crate::cli) typed: Vec<String>,
    /// Options that have no effect, with their dashes.
    pub(in crate::cli) without_effect: Vec<String>,
}

/// The options of `clone` on their own.
#[derive(Debug, Parser)]
#[command(no_binary_name = true)]
struct Alone {
    #[command(flatten)]
    args: CloneArgs,
}

impl StepCommand {
    /// The command as it is typed after the program's name.
    pub(in crate::cli) fn path(&self) -> String {
        format!("{} {}", self.group, self.name)
            .trim_start()
            .to_owned()
    }

    /// True when the command has this option, named with its dashes or without.
    pub(in crate::cli) fn takes(&self, option: &str) -> bool {
        let name = option.trim_start_matches('-');
        self.needs(name) || self.takes.contains(&name)
    }

    /// True when the command cannot do without this option.
    pub(in crate::cli) fn needs(&self, option: &str) -> bool {
        self.needs.contains(&option.trim_start_matches('-'))
    }

    /// The form of an option of `clone` for this command; `None`: it has none.
    fn option(&self, arg: &Arg) -> Option<Arg> {
        let long = arg.get_long()?;
        let of_file = long.strip_suffix("-file");
        if self.takes(long) || of_file.is_some_and(|side| self.takes(side)) {
            Some(arg.clone())
        } else if self.hidden.contains(&long) {
            // Without the other forms of the same option, which it may be declared to conflict with.
            Some(arg.clone().hide(true))
        } else {
            None
        }
    }

    fn takes_constraints(&self) -> bool {
        self.run == StepRun::Goal(Goal::CopyData)
    }

    fn command(&self) -> Command {
        let all = Alone::command_of_options();
        let mut command = Command::new(self.name)
            .about(self.about)
            .help_template(HELP_TEMPLATE)
            .args(all.get_arguments().filter_map(|arg| self.option(arg)));
        if self.group == "restore" {
            command = with_letters_of_restore(command);
        }
        if self.takes_constraints() {
            let mode = Arg::new(CONSTRAINTS)
                .long(CONSTRAINTS)
                .value_name("MODE")
                .help("Replace the rows of tables that have foreign keys, which are handled so")
                .value_parser(clap::value_parser!(ModeArg));
            command = command.arg(mode);
        }
        if self.run == StepRun::ParseList {
            let file = Arg::new("file")
                .value_name("FILE")
                .help("A list of pg_restore --list, to be printed entry by entry")
                .value_parser(clap::value_parser!(PathBuf));
            command = command.arg(file);
        }
        command
    }
}

impl Alone {
    fn command_of_options() -> Command {
        use clap::CommandFactory;
        Self::command()
    }
}

/// The letter that stands for this option in the restore commands alone.
fn with_letters_of_restore(command: Command) -> Command {
    let has = |name: &str| command.get_arguments().any(|arg| arg.get_id() == name);
    if !has("skip_ext_comments") {
        return command;
    }
    command.mut_arg("skip_ext_comments", |arg| arg.short_alias('E'))
}

/// Adds the commands to the tree.
pub(in crate::cli) fn add_to(tree: Command) -> Command {
    let mut tree = tree;
    for (name, about) in GROUPS {
        let group = Command::new(name)
            .about(about)
            .help_template(HELP_TEMPLATE)
            .disable_help_subcommand(true);
        tree = tree.subcommand(group);
    }
    for step in &COMMANDS {
        let command = step.command();
        tree = if step.group.is_empty() {
            tree.subcommand(command)
        } else {
            tree.mut_subcommand(step.group, |group| group.subcommand(command))
        };
    }
    tree
}

/// The one of these commands that was typed. Errors: those of the parser.
pub(in crate::cli) fn typed(matches: &ArgMatches) -> Result<Option<StepArgs>, clap::Error> {
    let Some((command, given)) = find(matches) else {
        return Ok(None);
    };
    let mut without_effect = Vec::new();
    let mut names = Vec::new();
    let mut words: Vec<OsString> = Vec::new();
    for arg in command.command().get_arguments() {
        let Some(long) = arg.get_long() else { continue };
        let id = arg.get_id().as_str();
        if given.value_source(id) != Some(ValueSource::CommandLine) {
            continue;
        }
        names.push(long.to_owned());
        if id == CONSTRAINTS {
            continue;
        }
        if command.hidden.contains(&long) {
            without_effect.push(format!("--{long}"));
            continue;
        }
        if matches!(arg.get_action(), ArgAction::SetTrue) {
            words.push(format!("--{long}").into());
            continue;
        }
        for value in given.get_raw(id).into_iter().flatten() {
            let mut word = OsString::from(format!("--{long}="));
            word.push(value);
            words.push(word);
        }
    }
    let file = match command.run {
        StepRun::ParseList => given.get_one::<PathBuf>("file").cloned(),
        _ => None,
    };
    let constraints = command
        .takes_constraints()
        .then(|| given.get_one::<ModeArg>(CONSTRAINTS).copied())
        .flatten();
    let args = Alone::try_parse_from(words)?.args;
    Ok(Some(StepArgs {
        command,
        args: Box::new(args),
        file,
        constraints,
        typed: names,
        without_effect,
    }))
}

/// True when one of the groups was typed without a command.
pub(in crate::cli) fn is_group_alone(matches: &ArgMatches) -> bool {
    matches.subcommand().is_some_and(|(name, below)| {
        below.subcommand().is_none() && GROUPS.iter().any(|(group, _)| *group == name)
    })
}

fn find(matches: &ArgMatches) -> Option<(&'static StepCommand, &ArgMatches)> {
    let (first, below) = matches.subcommand()?;
    let one = |group: &str, name: &str| {
        COMMANDS
            .iter()
            .find(|step| step.group == group && step.name == name)
    };
    if let Some(found) = one("", first) {
        return Some((found, below));
    }
    let (second, given) = below.subcommand()?;
    Some((one(first, second)?, given))
}
