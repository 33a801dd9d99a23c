//! Arguments of `list` and its commands, and of `status`.
//!
//! Runs in the main program before any work. Hidden spellings are those of the existing program.

use super::value;
use std::ffi::OsString;
use std::path::PathBuf;

/// Longest time between two looks of `--watch`, seconds.
const WATCH_MAX: u64 = 86_400;

/// Commands below `list` that can be used.
#[derive(Debug, clap::Subcommand)]
pub(in crate::cli) enum ListCommand {
    /// List the databases of the source's server
    #[command(help_template = super::HELP_TEMPLATE)]
    Databases(DatabasesArgs),
    /// List the extensions of the source, or those that it could have
    #[command(help_template = super::HELP_TEMPLATE)]
    Extensions(ExtensionsArgs),
    /// List the collations that objects of the source name
    #[command(help_template = super::HELP_TEMPLATE)]
    Collations(CollationsArgs),
    /// List the tables whose rows would be copied, largest first
    #[command(help_template = super::HELP_TEMPLATE)]
    Tables(TablesArgs),
    /// List the parts that a table would be copied in
    #[command(help_template = super::HELP_TEMPLATE)]
    TableParts(TablePartsArgs),
    /// List the sequences
    #[command(help_template = super::HELP_TEMPLATE)]
    Sequences(SequencesArgs),
    /// List the indexes, with the constraints that they back
    #[command(help_template = super::HELP_TEMPLATE)]
    Indexes(IndexesArgs),
    /// List what filters leave out because of a table that they leave out
    #[command(help_template = super::HELP_TEMPLATE)]
    Depends(DependsArgs),
    /// Print tables, indexes and sequences as JSON
    #[command(help_template = super::HELP_TEMPLATE)]
    Schema(SchemaArgs),
    /// Print the state of the run in a work directory
    #[command(help_template = super::HELP_TEMPLATE)]
    Progress(ProgressArgs),
}

/// Which database is looked at.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct SourceArgs {
    /// Connection string of the source database
    #[arg(short = 'S', long, value_name = "URI", value_parser = value::text)]
    pub(in crate::cli) source: Option<String>,
    /// File that holds the connection string of the source
    #[arg(long, value_name = "FILE", conflicts_with = "source")]
    pub(in crate::cli) source_file: Option<PathBuf>,
}

/// Where catalogs are taken from that a run has fetched already.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct PlaceArgs {
    #[command(flatten)]
    pub(in crate::cli) dir: DirArgs,
    /// Read the source anew, whatever the work directory has
    #[arg(long, short_alias = 'f')]
    pub(in crate::cli) force: bool,
}

/// How tables would be split.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct SplitArgs {
    /// Split tables from this size on; 0 for never
    #[arg(long, alias = "split-at", short_alias = 'L', value_name = "SIZE",
        value_parser = value::bytes)]
    pub(in crate::cli) split_tables_larger_than: Option<u64>,
    /// Most parts of one table
    #[arg(long, short_alias = 'u', value_name = "N", value_parser = value::parts)]
    pub(in crate::cli) split_max_parts: Option<u32>,
    /// Take table sizes from statistics instead of asking for each
    #[arg(long, short_alias = 'm')]
    pub(in crate::cli) estimate_table_sizes: bool,
}

/// What earlier programs took and never used.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct UnusedArgs {
    #[arg(long, short_alias = 'R', hide = true)]
    resume: bool,
    #[arg(long, short_alias = 'I', hide = true)]
    not_consistent: bool,
    #[arg(long, short_alias = 'N', value_name = "NAME", hide = true)]
    snapshot: Option<OsString>,
}

impl UnusedArgs {
    /// Those that were given.
    pub(in crate::cli) fn given(&self) -> Vec<&'static str> {
        [
            ("--resume", self.resume),
            ("--not-consistent", self.not_consistent),
            ("--snapshot", self.snapshot.is_some()),
        ]
        .into_iter()
        .filter_map(|(option, given)| given.then_some(option))
        .collect()
    }
}

/// What is listed at all.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct FilterArgs {
    /// List only what this filters file leaves, see pgcopydb-clone(1)
    #[arg(long, alias = "filter", short_alias = 'F', value_name = "FILE")]
    pub(in crate::cli) filters: Option<PathBuf>,
}

/// That which the filters leave out.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct SkippedArgs {
    /// List what the filters leave out instead
    #[arg(long, short_alias = 'x')]
    pub(in crate::cli) list_skipped: bool,
}

/// Arguments of `list databases`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct DatabasesArgs {
    #[command(flatten)]
    pub(in crate::cli) source: SourceArgs,
    /// Taken by earlier programs
    #[arg(short = 'D', long, value_name = "DIR", hide = true)]
    pub(in crate::cli) dir: Option<OsString>,
}

/// Arguments of `list extensions`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct ExtensionsArgs {
    #[command(flatten)]
    pub(in crate::cli) source: SourceArgs,
    #[command(flatten)]
    pub(in crate::cli) place: PlaceArgs,
    /// List the extensions that can be installed, with all their versions
    #[arg(long, short_alias = 'a', conflicts_with = "requirements")]
    pub(in crate::cli) available_versions: bool,
    /// List the extensions that can be installed, as `clone --requirements` takes them
    #[arg(long, short_alias = 'r')]
    pub(in crate::cli) requirements: bool,
}

/// Arguments of `list collations`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct CollationsArgs {
    #[command(flatten)]
    pub(in crate::cli) source: SourceArgs,
    #[command(flatten)]
    pub(in crate::cli) place: PlaceArgs,
}

/// Arguments of `list tables`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct TablesArgs {
    #[command(flatten)]
    pub(in crate::cli) source: SourceArgs,
    #[command(flatten)]
    pub(in crate::cli) place: PlaceArgs,
    #[command(flatten)]
    pub(in crate::cli) split: SplitArgs,
    /// List only the tables without a primary key
    #[arg(long, short_alias = 'P')]
    pub(in crate::cli) without_pkey: bool,
    #[command(flatten)]
    pub(in crate::cli) filter: FilterArgs,
    #[command(flatten)]
    pub(in crate::cli) skipped: SkippedArgs,
    #[command(flatten)]
    pub(in crate::cli) unused: UnusedArgs,
}

/// Arguments of `list table-parts`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct TablePartsArgs {
    #[command(flatten)]
    pub(in crate::cli) source: SourceArgs,
    #[command(flatten)]
    pub(in crate::cli) place: PlaceArgs,
    #[command(flatten)]
    pub(in crate::cli) split: SplitArgs,
    /// Split tables by a key only, never by the place of rows
    #[arg(long, short_alias = 'k')]
    pub(in crate::cli) skip_split_by_ctid: bool,
    /// Schema of the table [default: public]
    #[arg(long, short_alias = 's', value_name = "NAME", value_parser = value::text)]
    pub(in crate::cli) schema_name: Option<String>,
    /// The table
    #[arg(long, short_alias = 't', value_name = "NAME", value_parser = value::text)]
    pub(in crate::cli) table_name: Option<String>,
    #[command(flatten)]
    pub(in crate::cli) unused: UnusedArgs,
}

/// Arguments of `list sequences`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct SequencesArgs {
    #[command(flatten)]
    pub(in crate::cli) source: SourceArgs,
    #[command(flatten)]
    pub(in crate::cli) place: PlaceArgs,
    #[command(flatten)]
    pub(in crate::cli) filter: FilterArgs,
    #[command(flatten)]
    pub(in crate::cli) skipped: SkippedArgs,
    #[command(flatten)]
    pub(in crate::cli) unused: UnusedArgs,
}

/// Arguments of `list indexes`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct IndexesArgs {
    #[command(flatten)]
    pub(in crate::cli) source: SourceArgs,
    #[command(flatten)]
    pub(in crate::cli) place: PlaceArgs,
    /// Schema of the table [default: public]
    #[arg(long, short_alias = 's', value_name = "NAME", value_parser = value::text)]
    pub(in crate::cli) schema_name: Option<String>,
    /// List only the indexes of this table
    #[arg(long, short_alias = 't', value_name = "NAME", value_parser = value::text)]
    pub(in crate::cli) table_name: Option<String>,
    #[command(flatten)]
    pub(in crate::cli) filter: FilterArgs,
    #[command(flatten)]
    pub(in crate::cli) skipped: SkippedArgs,
    #[command(flatten)]
    pub(in crate::cli) unused: UnusedArgs,
}

/// Arguments of `list depends`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct DependsArgs {
    #[command(flatten)]
    pub(in crate::cli) source: SourceArgs,
    #[command(flatten)]
    pub(in crate::cli) place: PlaceArgs,
    /// Schema of the table [default: public]
    #[arg(long, short_alias = 's', value_name = "NAME", value_parser = value::text)]
    pub(in crate::cli) schema_name: Option<String>,
    /// List only what hangs on this table
    #[arg(long, short_alias = 't', value_name = "NAME", value_parser = value::text)]
    pub(in crate::cli) table_name: Option<String>,
    #[command(flatten)]
    pub(in crate::cli) filter: FilterArgs,
    #[command(flatten)]
    pub(in crate::cli) skipped: SkippedArgs,
    #[command(flatten)]
    pub(in crate::cli) unused: UnusedArgs,
}

/// Arguments of `list schema`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct SchemaArgs {
    #[command(flatten)]
    pub(in crate::cli) source: SourceArgs,
    #[command(flatten)]
    pub(in crate::cli) place: PlaceArgs,
    #[command(flatten)]
    pub(in crate::cli) split: SplitArgs,
    /// Split tables by a key only, never by the place of rows
    #[arg(long, short_alias = 'k')]
    pub(in crate::cli) skip_split_by_ctid: bool,
    #[command(flatten)]
    pub(in crate::cli) filter: FilterArgs,
    #[command(flatten)]
    pub(in crate::cli) unused: UnusedArgs,
}

/// Arguments of `list progress`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct ProgressArgs {
    /// Connection string of the source that the work directory should be of; it is not connected to
    #[arg(short = 'S', long, value_name = "URI", value_parser = value::text)]
    pub(in crate::cli) source: Option<String>,
    #[command(flatten)]
    pub(in crate::cli) dir: DirArgs,
    /// Print how long each step took
    #[arg(long, short_alias = 'y')]
    pub(in crate::cli) summary: bool,
    /// Print again every so many seconds, 2 without a number, until the run has ended
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2",
        value_parser = clap::value_parser!(u64).range(1..=WATCH_MAX), conflicts_with = "summary")]
    pub(in crate::cli) watch: Option<u64>,
}

/// Which work directory is looked at.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct DirArgs {
    /// Work directory [default: ${TMPDIR:-/tmp}/pgcopydb]
    #[arg(short = 'D', long, value_name = "DIR")]
    pub(in crate::cli) dir: Option<PathBuf>,
}
