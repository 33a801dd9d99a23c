//! Finding one installation of PostgreSQL's client tools that fits both servers.
//!
//! Runs in the leaf process that prepares a run. Reads the environment and directories, runs
//! `pg_config --bindir` and `--version` of the tools found. Must not mix tools of two installations:
//! an archive is read by the `pg_restore` beside the `pg_dump` that wrote it.

use crate::dump::run::{Running, StdoutTo, ToolRun};
use crate::error::{Error, Kind, Result};
use crate::units::PgVersion;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Newest major version of client tools that is tried when only the source is known.
const MAJOR_MAX: u32 = 30;
/// Major version that made the right MAINTAIN, which "all rights" of an older archive contain.
const MAINTAIN_SINCE: u32 = 17;
/// Longest wait for a tool to print its version.
const VERSION_WAIT_MAX: Duration = Duration::from_secs(10);

/// Folders of the distributions that hold one directory for each major version, with what follows
/// the version's directory.
const VERSIONED_ROOTS: [(&str, &str, &str); 6] = [
    ("/usr/lib/postgresql", "", "bin"),
    ("/usr", "pgsql-", "bin"),
    ("/opt/homebrew/opt", "postgresql@", "bin"),
    ("/usr/local/opt", "postgresql@", "bin"),
    ("/Library/PostgreSQL", "", "bin"),
    ("/usr/lib64", "postgresql", "bin"),
];

/// Folders that hold the tools themselves.
const PLAIN_ROOTS: [&str; 4] = [
    "/usr/local/pgsql/bin",
    "/opt/homebrew/bin",
    "/opt/homebrew/opt/libpq/bin",
    "/usr/local/bin",
];

/// First minor of each major whose `pg_dump` is known to leave `pg_attver` out. Other majors got that
/// change in minors not known yet, so their tools count as not knowing it.
const ATTVER_KNOWN_FROM: [PgVersion; 2] = [PgVersion(150_020), PgVersion(170_012)];

/// An installation of the client tools: `pg_dump`, `pg_restore` and their companions in one folder.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Tools {
    /// The folder.
    pub dir: PathBuf,
    /// Version of `pg_dump` and `pg_restore`.
    pub version: PgVersion,
    /// Whether `pg_dumpall` is there, which `--roles` needs.
    pub has_dumpall: bool,
    /// Whether `psql` is there.
    pub has_psql: bool,
}

impl Tools {
    /// Path of one of the tools.
    pub fn program(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

/// Where tools are looked for.
#[derive(Clone, Debug, Default)]
pub struct SearchPlaces {
    /// `PG_CONFIG`: the `pg_config` of the installation to prefer.
    pub pg_config: Option<PathBuf>,
    /// `PATH`.
    pub path: Option<OsString>,
    /// Whether the folders of the distributions are searched, too.
    pub system_folders: bool,
}

impl SearchPlaces {
    /// The places that the environment of this process names, and the system's.
    pub fn from_environment() -> Self {
        Self {
            pg_config: std::env::var_os("PG_CONFIG")
                .filter(|v| !v.is_empty())
                .map(PathBuf::from),
            path: std::env::var_os("PATH"),
            system_folders: true,
        }
    }
}

/// Parses what `--version` prints, such as `pg_dump (PostgreSQL) 15.20 (Debian 15.20-0+deb12u1)`.
pub fn parse_version(text: &str) -> Option<PgVersion> {
    let (_, after) = text.split_once(") ")?;
    let word = after.split_whitespace().next()?;
    let mut numbers = word.split('.').map(|part| {
        let end = part
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(part.len());
        part[..end]
            .parse::<u32>()
            .ok()
            .filter(|number| *number < 10_000)
    });
    let major = numbers.next()??;
    let second = numbers.next().flatten().unwrap_or(0);
    let third = numbers.next().flatten().unwrap_or(0);
    if !(6..1000).contains(&major) {
        return None;
    }
    if major >= 10 {
        return Some(PgVersion(major * 10_000 + second));
    }
    Some(PgVersion(
        major * 10_000 + second.min(99) * 100 + third.min(99),
    ))
}

/// The installations of a machine.
#[derive(Clone, Debug)]
pub struct Installed {
    /// Whether `PG_CONFIG` names one.
    is_preferred: bool,
    /// The folder that it names, when that can be told.
    preferred: Option<PathBuf>,
    /// All that are usable, the preferred one first.
    found: Vec<Tools>,
}

impl Installed {
    /// Looks for them. Runs tools that print their version; waits for them.
    pub fn find(places: &SearchPlaces) -> Self {
        let preferred = places.pg_config.as_deref().and_then(bindir_of);
        Self {
            is_preferred: places.pg_config.is_some(),
            found: installations(places, preferred.as_deref()),
            preferred,
        }
    }

    /// Chooses one for a run: `PG_CONFIG`'s when it fits, else the one with the largest major that is
    /// neither older than the source nor newer than the target, newest minor first. A source whose
    /// columns carry `pg_attver` also needs a `pg_dump` that leaves it out. Errors: there is none
    /// ([`Kind::Tool`]).
    pub fn choose(
        &self,
        source: PgVersion,
        target: PgVersion,
        source_has_attver: bool,
    ) -> Result<Tools> {
        let needs = Needs {
            source,
            target,
            source_has_attver,
        };
        if self.is_preferred {
            let mut found = self.found.iter();
            match found.find(|tools| Some(&tools.dir) == self.preferred.as_ref()) {
                Some(tools) if needs.met_by(tools.version) => return Ok(tools.clone()),
                Some(tools) => log::warn!(
                    "The tools that PG_CONFIG names are version {} and do not fit, looking elsewhere",
                    tools.version
                ),
                None => log::warn!("PG_CONFIG names no usable tools, looking elsewhere"),
            }
        }
        let tools = needs
            .pick(&self.found)
            .ok_or_else(|| needs.refusal(&self.found))?;
        if tools.version.major() < MAINTAIN_SINCE && target.major() >= MAINTAIN_SINCE {
            log::warn!(
                "pg_dump is of version {}, the target of {}: who has all rights of a table on the source gets MAINTAIN, \
                 too; pg_dump {MAINTAIN_SINCE} or later, if installed, writes the rights one by one",
                tools.version.major(),
                target.major()
            );
        }
        Ok(tools.clone())
    }

    /// Those for a source whose target is not known yet: as old as can be, as an archive is read by the
    /// same and by newer ones. Errors: there are none ([`Kind::Tool`]).
    pub fn oldest_that_fit(&self, from: PgVersion, has_attver: bool) -> Result<Tools> {
        let newest_of = |major: u32| PgVersion(major * 10_000 + 9_999);
        let mut first = self.choose(from, newest_of(from.major()), has_attver);
        for major in from.major() + 1..=MAJOR_MAX {
            if first.is_ok() {
                break;
            }
            if let Ok(tools) = self.choose(from, newest_of(major), has_attver) {
                first = Ok(tools);
            }
        }
        first
    }
}

/// What an installation must satisfy.
#[derive(Clone, Copy)]
struct Needs {
    source: PgVersion,
    target: PgVersion,
    source_has_attver: bool,
}

impl Needs {
    fn met_by(self, tools: PgVersion) -> bool {
        let major = tools.major();
        self.source.major() <= major
            && major <= self.target.major()
            && (!self.source_has_attver || self.leaves_attver_out(tools))
    }

    /// The source's very own version knows what the source does.
    fn leaves_attver_out(self, tools: PgVersion) -> bool {
        tools == self.source
            || ATTVER_KNOWN_FROM
                .iter()
                .any(|first| first.major() == tools.major() && tools >= *first)
    }

    /// The first of the best: the order of `found` decides between equals.
    fn pick(self, found: &[Tools]) -> Option<&Tools> {
        let fitting = found.iter().filter(|tools| self.met_by(tools.version));
        fitting.fold(None, |best: Option<&Tools>, tools| match best {
            Some(best) if best.version >= tools.version => Some(best),
            _ => Some(tools),
        })
    }

    fn refusal(self, found: &[Tools]) -> Error {
        let (low, high) = (self.source.major(), self.target.major());
        let listed: Vec<String> = found
            .iter()
            .map(|t| format!("{} in \"{}\"", t.version, t.dir.display()))
            .collect();
        let listed = if listed.is_empty() {
            "none".to_owned()
        } else {
            listed.join(", ")
        };
        let what = format!(
            "no installation of pg_dump and pg_restore fits source {} and target {}",
            self.source, self.target
        );
        let mut detail =
            format!("Needed is a major version from {low} to {high}.\nFound: {listed}.");
        let hint = if low > high {
            "Choose a target that is not older than the source.".to_owned()
        } else if self.source_has_attver {
            detail.push_str(
                "\nThe source keeps pg_attver in its column options, which older tools would copy.",
            );
            format!(
                "Install package postgresql-client-{low} at version {} or newer, or name its \
                 pg_config in PG_CONFIG.",
                self.source
            )
        } else {
            format!("Install package postgresql-client-{high}, or name its pg_config in PG_CONFIG.")
        };
        Error::new(Kind::Tool, what).detail(detail).hint(hint)
    }
}

/// Every usable installation, `preferred` first, each folder once.
fn installations(places: &SearchPlaces, preferred: Option<&Path>) -> Vec<Tools> {
    let mut dirs: Vec<PathBuf> = preferred.map(Path::to_path_buf).into_iter().collect();
    if let Some(path) = &places.path {
        dirs.extend(std::env::split_paths(path).filter(|dir| dir.is_absolute()));
    }
    if places.system_folders {
        dirs.extend(VERSIONED_ROOTS.iter().flat_map(versioned_dirs));
        dirs.extend(PLAIN_ROOTS.iter().map(PathBuf::from));
    }
    let mut seen = std::collections::BTreeSet::new();
    let mut found = Vec::new();
    for dir in dirs {
        let real = dir.canonicalize().unwrap_or_else(|_| dir.clone());
        if seen.insert(real)
            && let Some(tools) = installation(&dir)
        {
            found.push(tools);
        }
    }
    found
}

/// The folders `<root>/<prefix><version>/<last>`, in the order of their names.
fn versioned_dirs((root, prefix, last): &(&str, &str, &str)) -> Vec<PathBuf> {
    let Ok(listing) = std::fs::read_dir(root) else {
        return Vec::new();
    };
    let mut dirs: Vec<PathBuf> = listing
        .filter_map(|item| item.ok()?.file_name().into_string().ok())
        .filter(|name| {
            name.strip_prefix(prefix)
                .is_some_and(|v| v.starts_with(|c: char| c.is_ascii_digit()))
        })
        .map(|name| Path::new(root).join(name).join(last))
        .collect();
    dirs.sort();
    dirs
}

/// Looks at one folder. Debian's `/usr/bin/pg_dump` is a wrapper that takes another version each time
/// it thinks best; the installations behind it are found under `/usr/lib/postgresql`.
fn installation(dir: &Path) -> Option<Tools> {
    let dump = dir.join("pg_dump");
    let restore = dir.join("pg_restore");
    if !dump.is_file() || !restore.is_file() || is_wrapper(&dump) {
        return None;
    }
    let programs = [dump.as_path(), restore.as_path()];
    // One that was killed is asked again, so that it does not pass for one that is not there.
    let [version, of_restore] = versions_of(programs).or_else(|| versions_of(programs))?;
    if of_restore != version {
        log::debug!("Tools in \"{}\" are of several versions", dir.display());
        return None;
    }
    Some(Tools {
        dir: dir.to_path_buf(),
        version,
        has_dumpall: dir.join("pg_dumpall").is_file(),
        has_psql: dir.join("psql").is_file(),
    })
}

fn is_wrapper(program: &Path) -> bool {
    program
        .canonicalize()
        .is_ok_and(|real| real.file_name().is_some_and(|name| name == "pg_wrapper"))
}

fn bindir_of(pg_config: &Path) -> Option<PathBuf> {
    let text = printed(pg_config, "--bindir")?;
    let dir = text.trim_end_matches(['\n', '\r']);
    dir.starts_with('/').then(|| PathBuf::from(dir))
}

/// The versions that programs print, asked for at once.
fn versions_of<const N: usize>(programs: [&Path; N]) -> Option<[PgVersion; N]> {
    let runs = programs.map(|program| asking(program, "--version"));
    let started = runs.iter().map(|run| run.start().ok());
    // All are started before the first one is waited for.
    let started: Vec<_> = started.collect::<Option<_>>()?;
    let versions = started
        .into_iter()
        .map(|running| parse_version(&answer(running)?))
        .collect::<Option<Vec<PgVersion>>>()?;
    versions.try_into().ok()
}

/// What a program prints when called with one argument; `None` for any kind of failure.
fn printed(program: &Path, argument: &str) -> Option<String> {
    answer(asking(program, argument).start().ok()?)
}

fn asking(program: &Path, argument: &str) -> ToolRun {
    let mut run = ToolRun::new(program, vec![argument.to_owned()]);
    run.stdout = StdoutTo::Capture;
    run.announce = false;
    run.limit = Some(VERSION_WAIT_MAX);
    run
}

fn answer(running: Running<'_>) -> Option<String> {
    let outcome = running.wait(&|| false).ok()?;
    (outcome.exit_code == 0).then(|| String::from_utf8_lossy(&outcome.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tools(version: u32) -> Tools {
        Tools {
            dir: PathBuf::from(format!("/pg/{version}/bin")),
            version: PgVersion(version),
            has_dumpall: true,
            has_psql: true,
        }
    }

    #[test]
    fn versions_are_parsed_as_the_tools_print_them() {
        let cases = [
            (
                "pg_dump (PostgreSQL) 15.20 (Debian 15.20-0+deb12u1)\n",
                Some(150_020),
            ),
            ("pg_restore (PostgreSQL) 18.4", Some(180_004)),
            ("pg_dump (PostgreSQL) 9.6.24", Some(90_624)),
            ("pg_dump (PostgreSQL) 19beta2", Some(190_000)),
            ("pg_dump (PostgreSQL) 99999999999999", None),
            ("pg_dump (PostgreSQL) ", None),
            ("", None),
            (") .", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_version(text), expected.map(PgVersion), "{text}");
        }
    }

    #[test]
    fn the_largest_major_between_the_servers_is_taken() {
        let found: Vec<Tools> = [140_010, 150_018, 160_002, 160_009, 180_004]
            .map(tools)
            .into_iter()
            .collect();
        let needs = |source, target, source_has_attver| Needs {
            source: PgVersion(source),
            target: PgVersion(target),
            source_has_attver,
        };
        let picked = |n: Needs| n.pick(&found).map(|t| t.version.0);
        assert_eq!(picked(needs(120_001, 160_001, false)), Some(160_009));
        assert_eq!(picked(needs(120_001, 170_001, false)), Some(160_009));
        assert_eq!(picked(needs(120_001, 150_001, false)), Some(150_018));
        assert_eq!(picked(needs(170_001, 170_001, false)), None);
        assert_eq!(picked(needs(150_001, 140_001, false)), None);
        assert_eq!(picked(needs(150_020, 180_004, true)), None);
        assert_eq!(picked(needs(140_010, 180_004, true)), Some(140_010));
    }

    #[test]
    fn tools_that_leave_pg_attver_out_are_taken_for_a_source_that_has_it() {
        let found: Vec<Tools> = [150_018, 150_021, 170_011, 180_004]
            .map(tools)
            .into_iter()
            .collect();
        let needs = Needs {
            source: PgVersion(150_020),
            target: PgVersion(180_004),
            source_has_attver: true,
        };
        assert_eq!(needs.pick(&found).map(|t| t.version.0), Some(150_021));
        let refusal = needs.refusal(&found[2..]);
        assert_eq!(refusal.kind(), Kind::Tool);
        assert!(
            refusal
                .hint_text()
                .unwrap()
                .contains("postgresql-client-15 at version 15.20")
        );
    }

    #[test]
    fn a_folder_of_tools_is_recognised_and_others_are_named_in_the_refusal() {
        let place = tempfile::tempdir().unwrap();
        for (name, version) in [
            ("pg_dump", "16.9"),
            ("pg_restore", "16.9"),
            ("psql", "16.9"),
        ] {
            let file = place.path().join(name);
            std::fs::write(
                &file,
                format!("#!/bin/sh\necho '{name} (PostgreSQL) {version}'\n"),
            )
            .unwrap();
            std::os::unix::fs::symlink("/nonexistent", place.path().join(format!("{name}.x")))
                .unwrap();
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            std::fs::set_permissions(&file, mode).unwrap();
        }
        let places = SearchPlaces {
            pg_config: None,
            path: Some(place.path().as_os_str().to_owned()),
            system_folders: false,
        };
        let (old, new) = (PgVersion(140_001), PgVersion(160_001));
        let installed = Installed::find(&places);
        let chosen = installed.choose(old, new, false).unwrap();
        assert_eq!(
            (chosen.version, chosen.has_dumpall, chosen.has_psql),
            (PgVersion(160_009), false, true)
        );
        let (old, new) = (PgVersion(170_001), PgVersion(180_001));
        let refused = installed.choose(old, new, false).unwrap_err();
        assert!(
            refused.detail_text().unwrap().contains("16.9 in"),
            "{refused}"
        );
        assert!(
            refused
                .hint_text()
                .unwrap()
                .contains("postgresql-client-18")
        );
    }
}
