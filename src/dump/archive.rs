//! The schema's archive: written by `pg_dump`, listed, turned into SQL text, restored.
//!
//! Runs in the processes dump, restore and roles. Writes the files of `schema/` in the work directory,
//! all with mode 0600, as an archive can hold connection strings and passwords; reads them back. Runs
//! tools against source or target. Must not decide what is restored: lists come from `list_plan`.

use crate::conninfo::ToolSettings;
use crate::dump::archive_list::{Entry, Section, assign_sections, parse, parse_dump_ids};
use crate::dump::run::{StdoutTo, ToolOutcome, ToolRun};
use crate::dump::said::check;
use crate::dump::tools::Tools;
use crate::error::{Error, Kind, Result};
use crate::pg::quote;
use crate::units::Side;
use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long `pg_dump` waits for the lock of a table before it gives up.
const LOCK_WAIT: Duration = Duration::from_secs(30);
/// How often a dump is tried when a table's lock is not to be had.
const LOCK_TRIES: u32 = 5;

/// The folder `schema/` of a work directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaDir {
    dir: PathBuf,
}

impl SchemaDir {
    /// Removes the lists of an archive that is replaced.
    fn forget_lists(&self) {
        let lists = [
            self.out_list(Section::PreData),
            self.out_list(Section::PostData),
        ];
        for list in lists.iter().chain([&self.dir.join("toc-out.list")]) {
            let _gone = std::fs::remove_file(list);
        }
    }

    /// Takes the path of the folder, which must exist.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// The archive.
    pub fn archive(&self) -> PathBuf {
        self.dir.join("schema.dump")
    }

    /// The list of a section as `pg_restore` printed it: `pre-out.list`, `post-out.list`.
    pub fn out_list(&self, section: Section) -> PathBuf {
        self.dir.join(match section {
            Section::PreData => "pre-out.list",
            Section::PostData => "post-out.list",
        })
    }

    /// The list of a section as it is restored: `pre-filtered.list`, `post-filtered.list`.
    pub fn filtered_list(&self, section: Section) -> PathBuf {
        self.dir.join(match section {
            Section::PreData => "pre-filtered.list",
            Section::PostData => "post-filtered.list",
        })
    }

    /// The list of schemas alone.
    pub fn schemas_list(&self) -> PathBuf {
        self.dir.join("schemas-only.list")
    }

    /// The list of what must be restored one after the other, before the rest of post-data.
    pub fn serial_list(&self) -> PathBuf {
        self.dir.join("post-serial.list")
    }

    /// The list of what is restored after everything else.
    pub fn last_list(&self) -> PathBuf {
        self.dir.join("post-last.list")
    }

    /// The list of entries whose SQL the workers run.
    pub fn script_list(&self) -> PathBuf {
        self.dir.join("script.list")
    }

    /// The roles of the source.
    pub fn roles(&self) -> PathBuf {
        self.dir.join("roles.sql")
    }

    /// Writes a file that only the next tool reads, and that is written again before any other does.
    pub fn write_for_now(&self, path: &Path, text: &str) -> Result<()> {
        private_file(path)?
            .write_all(text.as_bytes())
            .map_err(|error| failed("write", path, &error))
    }

    /// Writes a file of this folder as a whole: under another name first, then renamed.
    pub fn write(&self, path: &Path, text: &str) -> Result<()> {
        let unfinished = unfinished_name(path);
        let mut file = private_file(&unfinished)?;
        file.write_all(text.as_bytes())
            .map_err(|error| failed("write", &unfinished, &error))?;
        drop(file);
        self.keep(&unfinished, path)
    }

    /// Makes a finished file durable under its own name.
    fn keep(&self, unfinished: &Path, path: &Path) -> Result<()> {
        let sync = |path: &Path| File::open(path).and_then(|file| file.sync_all());
        sync(unfinished).map_err(|error| failed("write", unfinished, &error))?;
        std::fs::rename(unfinished, path).map_err(|error| failed("rename", unfinished, &error))?;
        sync(&self.dir).map_err(|error| failed("write", &self.dir, &error))
    }
}

fn unfinished_name(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    PathBuf::from(name)
}

fn failed(verb: &str, path: &Path, error: &std::io::Error) -> Error {
    Error::new(
        Kind::BadState,
        format!("could not {verb} \"{}\": {error}", path.display()),
    )
}

/// Makes an empty file that only its owner reads; the tools then write into it as it is.
fn private_file(path: &Path) -> Result<File> {
    let opened = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path);
    let file = opened.map_err(|error| failed("create", path, &error))?;
    // The mode above holds for new files only.
    file.set_permissions(std::fs::Permissions::from_mode(0o600))
        .map_err(|error| failed("create", path, &error))?;
    Ok(file)
}

/// What a dump needs besides the connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DumpSettings {
    /// Snapshot to read with.
    pub snapshot: Option<String>,
    /// Encoding of the archive: `UTF8` but for a source of `SQL_ASCII`, which cannot convert.
    pub encoding: Option<String>,
    /// Schemas left out as a whole, exact names; the lists leave out what else must be.
    pub exclude_schemas: Vec<String>,
    /// Tables left out, with what hangs on them: raw schema and name.
    pub exclude_tables: Vec<(String, String)>,
}

/// Choices of the user that `pg_restore` carries out itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RestoreFlag {
    /// `--drop-if-exists`.
    Clean,
    /// `--no-owner`.
    NoOwner,
    /// `--no-acl`.
    NoAcl,
    /// `--no-comments`.
    NoComments,
    /// `--no-tablespaces`.
    NoTablespaces,
}

impl RestoreFlag {
    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Clean => &["--clean", "--if-exists"],
            Self::NoOwner => &["--no-owner"],
            Self::NoAcl => &["--no-acl"],
            Self::NoComments => &["--no-comments"],
            Self::NoTablespaces => &["--no-tablespaces"],
        }
    }
}

/// How `pg_restore` groups its work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RestoreMode {
    /// All or nothing.
    #[default]
    SingleTransaction,
    /// This many connections, each entry for itself.
    Jobs(u32),
}

/// How a list is restored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RestoreOptions {
    /// One transaction, or several connections.
    pub mode: RestoreMode,
    /// Choices of the user.
    pub flags: BTreeSet<RestoreFlag>,
}

/// Whether passwords of roles are dumped; only superusers can read them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RolePasswords {
    /// With their passwords.
    Keep,
    /// Without.
    LeaveOut,
}

/// The tools, a server, a folder, and whether to stop: what every run of a tool needs.
pub struct ArchiveRun<'a> {
    /// The installation of the run.
    pub tools: &'a Tools,
    /// The server: the source for dumps, the target for restores.
    pub settings: &'a ToolSettings,
    /// The folder `schema/`.
    pub dir: &'a SchemaDir,
    /// Looked at ten times a second.
    pub stop: &'a dyn Fn() -> bool,
}

impl ArchiveRun<'_> {
    /// Dumps both sections of the schema into `schema.dump`, which appears only when complete. Large
    /// objects are left out. Blocks; a table whose lock is not to be had is waited for five times.
    pub fn dump(&self, dump: &DumpSettings) -> Result<()> {
        let unfinished = unfinished_name(&self.dir.archive());
        let mut tries = 1;
        loop {
            // Truncates what an earlier try left.
            drop(private_file(&unfinished)?);
            let started = Instant::now();
            let outcome = self.run("pg_dump", dump_arguments(dump, &unfinished, self.settings))?;
            let waited = started.elapsed() >= LOCK_WAIT;
            if outcome.exit_code != 0 && waited && tries < LOCK_TRIES && wanted_lock(&outcome) {
                log::warn!("pg_dump waited in vain for the lock of a table, trying again");
                tries += 1;
                continue;
            }
            check(outcome, "pg_dump", Side::Source)?;
            self.dir.forget_lists();
            return self.dir.keep(&unfinished, &self.dir.archive());
        }
    }

    /// The entries of the archive with dependencies and sections, from the lists that an earlier call
    /// left in the folder, else from `pg_restore`, which leaves them there. `--verbose` alone tells
    /// dependencies, but ignores `--section`, so `pg_restore` is asked three times.
    pub fn list(&self) -> Result<Vec<Entry>> {
        let of_section = |section: Section| {
            (
                self.dir.out_list(section),
                format!("--section={}", section.name()),
            )
        };
        let [whole, pre, post] = self.lists(&[
            (self.dir.dir.join("toc-out.list"), "--verbose".to_owned()),
            of_section(Section::PreData),
            of_section(Section::PostData),
        ])?;
        let mut entries = parse(&whole)?;
        assign_sections(
            &mut entries,
            &parse_dump_ids(&pre)?,
            &parse_dump_ids(&post)?,
        );
        Ok(entries)
    }

    /// The texts of lists, each made with one option unless it is there already; all at once, as a
    /// tool's start takes longer than its work. Only dump ids and what stands beside them are read
    /// from a list, so damaged names do no harm.
    fn lists<const N: usize>(&self, wanted: &[(PathBuf, String); N]) -> Result<[String; N]> {
        let mut runs = Vec::new();
        for (path, option) in wanted.iter().filter(|(path, _)| !path.exists()) {
            let arguments = vec!["--list".to_owned(), option.clone()];
            runs.push((path, self.to_write(path, arguments)?));
        }
        let started: Vec<_> = runs
            .iter()
            .map(|(path, run)| run.start().map(|running| (*path, running)))
            .collect::<Result<_>>()?;
        for (path, running) in started {
            keep_written(path, running.wait(self.stop)?)?;
        }
        let mut texts = [const { String::new() }; N];
        for (text, (path, _)) in texts.iter_mut().zip(wanted) {
            let bytes = std::fs::read(path).map_err(|error| failed("read", path, &error))?;
            *text = String::from_utf8_lossy(&bytes).into_owned();
        }
        Ok(texts)
    }

    /// The SQL text of the entries that a list keeps, for `script::split`. Bytes, as names may not be
    /// UTF-8. Flags that change the text must be the same as for the restore.
    pub fn script(&self, list: &Path, flags: &BTreeSet<RestoreFlag>) -> Result<Vec<u8>> {
        let mut arguments = vec!["--verbose".to_owned()];
        arguments.push(format!("--use-list={}", list.display()));
        let kept = flags.iter().filter(|flag| **flag != RestoreFlag::Clean);
        arguments.extend(
            kept.flat_map(|flag| flag.arguments())
                .map(|a| (*a).to_owned()),
        );
        let path = self.dir.dir.join("script.sql");
        let text = self.written_by_restore(&path, arguments)?;
        std::fs::remove_file(&path).map_err(|error| failed("remove", &path, &error))?;
        Ok(text)
    }

    /// Lets `pg_restore` write into a file of the folder, and reads that file.
    fn written_by_restore(&self, path: &Path, arguments: Vec<String>) -> Result<Vec<u8>> {
        let outcome = self.to_write(path, arguments)?.run(self.stop)?;
        keep_written(path, outcome)?;
        std::fs::read(path).map_err(|error| failed("read", path, &error))
    }

    /// A `pg_restore` that will write the unfinished form of a file.
    fn to_write(&self, path: &Path, mut arguments: Vec<String>) -> Result<ToolRun> {
        let unfinished = unfinished_name(path);
        drop(private_file(&unfinished)?);
        arguments.push(format!("--file={}", unfinished.display()));
        arguments.push(self.dir.archive().display().to_string());
        Ok(self.tool("pg_restore", arguments))
    }

    /// Restores the entries that a list keeps, in the list's order. Fails when any entry fails.
    pub fn restore(&self, list: &Path, options: &RestoreOptions) -> Result<ToolOutcome> {
        check(self.try_restore(list, options)?, "pg_restore", Side::Target)
    }

    /// Restores as [`ArchiveRun::restore`] does, and leaves it to the caller to judge the outcome: with
    /// `said::failed_entries` it can be read which entries failed.
    pub fn try_restore(&self, list: &Path, options: &RestoreOptions) -> Result<ToolOutcome> {
        // No --section: the list says it all, and a comment counts as of the section of whatever
        // stands before it in the list.
        let mut arguments = vec![
            format!("--dbname={}", self.settings.uri),
            "--verbose".to_owned(),
            format!("--use-list={}", list.display()),
        ];
        arguments.push(match options.mode {
            RestoreMode::SingleTransaction => "--single-transaction".to_owned(),
            RestoreMode::Jobs(jobs) => format!("--jobs={}", jobs.max(1)),
        });
        let flags = options.flags.iter().flat_map(|flag| flag.arguments());
        arguments.extend(flags.map(|argument| (*argument).to_owned()));
        arguments.push(self.dir.archive().display().to_string());
        self.run("pg_restore", arguments)
    }

    /// Dumps the roles of the source's cluster into `roles.sql` and gives the text.
    pub fn dump_roles(&self, passwords: RolePasswords) -> Result<String> {
        if !self.tools.has_dumpall {
            let dir = self.tools.dir.display();
            return Err(
                Error::new(Kind::Tool, format!("there is no pg_dumpall in \"{dir}\""))
                    .hint("Install the whole client package, or leave out --roles."),
            );
        }
        let path = self.dir.roles();
        let unfinished = unfinished_name(&path);
        drop(private_file(&unfinished)?);
        let mut arguments = vec!["--roles-only".to_owned(), "--no-sync".to_owned()];
        if passwords == RolePasswords::LeaveOut {
            arguments.push("--no-role-passwords".to_owned());
        }
        arguments.push(format!("--file={}", unfinished.display()));
        arguments.push(format!("--dbname={}", self.settings.uri));
        check(
            self.run("pg_dumpall", arguments)?,
            "pg_dumpall",
            Side::Source,
        )?;
        self.dir.keep(&unfinished, &path)?;
        std::fs::read_to_string(&path).map_err(|error| failed("read", &path, &error))
    }

    fn run(&self, tool: &str, args: Vec<String>) -> Result<ToolOutcome> {
        self.tool(tool, args).run(self.stop)
    }

    fn tool(&self, tool: &str, args: Vec<String>) -> ToolRun {
        let mut run = ToolRun::new(&self.tools.program(tool), args);
        run.settings = self.settings.clone();
        run.stdout = StdoutTo::Log;
        run
    }
}

/// Gives a file its name once `pg_restore` wrote it without a complaint.
fn keep_written(path: &Path, outcome: ToolOutcome) -> Result<()> {
    check(outcome, "pg_restore", Side::Target).map_err(|error| error.with_kind(Kind::Tool))?;
    let unfinished = unfinished_name(path);
    std::fs::rename(&unfinished, path).map_err(|e| failed("rename", &unfinished, &e))
}

fn dump_arguments(dump: &DumpSettings, file: &Path, settings: &ToolSettings) -> Vec<String> {
    // -B is --no-blobs up to 15 and --no-large-objects from 16 on.
    let fixed = [
        "-Fc",
        "-B",
        "--section=pre-data",
        "--section=post-data",
        "--no-sync",
    ];
    let mut arguments: Vec<String> = fixed.map(str::to_owned).into_iter().collect();
    arguments.push(format!("--lock-wait-timeout={}s", LOCK_WAIT.as_secs()));
    arguments.extend(
        dump.snapshot
            .iter()
            .map(|snapshot| format!("--snapshot={snapshot}")),
    );
    arguments.extend(
        dump.encoding
            .iter()
            .map(|encoding| format!("--encoding={encoding}")),
    );
    // In double quotes a name is no pattern, whatever it holds.
    let schemas = dump.exclude_schemas.iter().map(|name| quote::ident(name));
    arguments.extend(schemas.map(|name| format!("--exclude-schema={name}")));
    let tables = dump.exclude_tables.iter();
    let tables = tables.map(|(nspname, relname)| quote::qualified(nspname, relname));
    arguments.extend(tables.map(|name| format!("--exclude-table={name}")));
    arguments.push(format!("--file={}", file.display()));
    arguments.push(format!("--dbname={}", settings.uri));
    arguments
}

/// Whether the statement that failed is the one that locks tables. The server's own words for a timeout
/// come in its language; that the wait was long enough tells as much.
fn wanted_lock(outcome: &ToolOutcome) -> bool {
    outcome
        .stderr
        .iter()
        .any(|line| line.contains("uery was: LOCK TABLE "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dump_leaves_large_objects_out_and_reads_the_snapshot() {
        let dump = DumpSettings {
            snapshot: Some("00000003-1".to_owned()),
            encoding: Some("UTF8".to_owned()),
            exclude_schemas: vec!["a\"b*".to_owned()],
            exclude_tables: vec![("s.x".to_owned(), "t".to_owned())],
        };
        let settings = ToolSettings {
            uri: "postgres://h/d".to_owned(),
            ..Default::default()
        };
        let arguments = dump_arguments(&dump, Path::new("/w/schema.dump.tmp"), &settings).join(" ");
        assert_eq!(
            arguments,
            "-Fc -B --section=pre-data --section=post-data --no-sync --lock-wait-timeout=30s \
             --snapshot=00000003-1 --encoding=UTF8 --exclude-schema=\"a\"\"b*\" \
             --exclude-table=\"s.x\".\"t\" \
             --file=/w/schema.dump.tmp --dbname=postgres://h/d"
        );
    }

    #[test]
    fn files_are_private_and_replaced_as_a_whole() {
        let place = tempfile::tempdir().unwrap();
        let dir = SchemaDir::new(place.path());
        let path = dir.filtered_list(Section::PreData);
        std::fs::write(unfinished_name(&path), "left over").unwrap();
        dir.write(&path, "one\n").unwrap();
        dir.write(&path, "two\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "two\n");
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(
            (mode & 0o777, path.file_name().unwrap().to_str()),
            (0o600, Some("pre-filtered.list"))
        );
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 1);
    }
}
