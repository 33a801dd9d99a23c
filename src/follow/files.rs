//! The files of the CDC directory: their names, their order, and the small ones that describe them.
//!
//! Runs in every process of a follow. `receive` alone writes `.json` files, `transform` alone `.sql`
//! files, setup the file `slot`, `receive` `tli` and `wal_segment_size`.
//!
//! ```text
//! <24 hex>.json            closed: changes of one WAL segment, lines of json_line.rs
//! <24 hex>.json.partial    being written; beside a closed file of that name it counts if not shorter
//! <24 hex>.sql[.partial]   the transformed counterpart
//! latest                   symbolic link to the JSON file written last
//! cuts                     symbolic link to nothing: how often a JSON file was cut
//! txn.idx                  what is complete and on disk (txn_index.rs)
//! slot origin tli wal_segment_size <8 hex>.history boot_id conflicts.jsonl <xid>.json rt
//! ```
//!
//! A segment's name is timeline, then number of the WAL segment. `receive` never goes back to a file
//! before the newest one, so **the order of names is the order of lines**, and a missing file is seen
//! by the X line of the one before: the file after it is [`SegmentName::of`] that line's LSN.

use crate::error::{Error, Kind, Result};
use crate::units::{Lsn, Tli};
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The output plugins that we read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Plugin {
    /// Built in, text.
    #[serde(rename = "test_decoding")]
    TestDecoding,
    /// An extension, JSON.
    #[serde(rename = "wal2json")]
    Wal2json,
    /// Built in, binary, needs publications.
    #[serde(rename = "pgoutput")]
    Pgoutput,
}

/// All of them, with the names of the server.
pub const PLUGINS: [(Plugin, &str); 3] = [
    (Plugin::TestDecoding, "test_decoding"),
    (Plugin::Wal2json, "wal2json"),
    (Plugin::Pgoutput, "pgoutput"),
];

impl Plugin {
    /// Its name on the server.
    pub fn name(self) -> &'static str {
        PLUGINS
            .iter()
            .find(|(plugin, _)| *plugin == self)
            .map_or("?", |(_, name)| name)
    }

    /// The plugin of a name.
    pub fn of_name(name: &str) -> Option<Self> {
        PLUGINS
            .iter()
            .find(|(_, known)| *known == name)
            .map(|(plugin, _)| *plugin)
    }
}

/// The 24 hexadecimal digits that name the files of one WAL segment. Ordered as the files are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SegmentName {
    /// Timeline.
    pub tli: Tli,
    high: u32,
    low: u32,
}

impl SegmentName {
    /// The segment that holds a position.
    pub fn of(tli: Tli, lsn: Lsn, segment_size: u64) -> Self {
        let size = segment_size.max(1);
        let number = lsn.0 / size;
        let per_id = (0x1_0000_0000 / size).max(1);
        Self {
            tli,
            high: u32::try_from(number / per_id).unwrap_or(u32::MAX),
            low: u32::try_from(number % per_id).unwrap_or(u32::MAX),
        }
    }

    /// Reads 24 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != 24 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let part = |from: usize| u32::from_str_radix(text.get(from..from + 8)?, 16).ok();
        Some(Self {
            tli: part(0)?,
            high: part(8)?,
            low: part(16)?,
        })
    }

    /// `high << 32 | low` of the name, without its timeline.
    pub fn number(self) -> u64 {
        u64::from(self.high) << 32 | u64::from(self.low)
    }

    /// The name of a number.
    pub fn of_number(tli: Tli, number: u64) -> Self {
        let half = |bits: u64| u32::try_from(bits & 0xFFFF_FFFF).unwrap_or(0);
        Self {
            tli,
            high: half(number >> 32),
            low: half(number),
        }
    }

    /// The first position of the segment.
    pub fn first_lsn(self, segment_size: u64) -> Lsn {
        Lsn(u64::from(self.high) << 32 | u64::from(self.low).saturating_mul(segment_size))
    }
}

impl fmt::Display for SegmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08X}{:08X}{:08X}", self.tli, self.high, self.low)
    }
}

/// What exists of one segment's JSON files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Its name.
    pub name: SegmentName,
    /// Bytes of `<name>.json`.
    pub closed: Option<u64>,
    /// Bytes of `<name>.json.partial`.
    pub partial: Option<u64>,
}

impl Segment {
    /// Whether the `.partial` is the one that counts.
    pub fn is_partial(&self) -> bool {
        match (self.partial, self.closed) {
            (Some(partial), Some(closed)) => partial >= closed,
            (partial, _) => partial.is_some(),
        }
    }
}

/// The folder of change data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CdcDir {
    top: PathBuf,
}

/// The file `slot`: what the stream was set up with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotFile {
    /// Name of the replication slot.
    pub slot: String,
    /// Its consistent point: what the snapshot holds ends here.
    pub lsn: Lsn,
    /// The exported snapshot.
    pub snapshot: String,
    /// Output plugin.
    pub plugin: Plugin,
    /// wal2json: numbers come as strings.
    pub numeric_as_string: bool,
    /// pgoutput: publications, ours or given.
    pub publications: Vec<String>,
    /// Timeline when it was made; 0 in files of the existing program.
    pub tli: Tli,
}

impl CdcDir {
    /// The folder of that path.
    pub fn new(top: PathBuf) -> Self {
        Self { top }
    }

    /// Where change data goes: below `--dir` when that was given, else below `XDG_DATA_HOME`, else
    /// below `HOME`.
    pub fn locate(
        dir: Option<&Path>,
        xdg_data_home: Option<OsString>,
        home: Option<OsString>,
    ) -> Result<Self> {
        let set =
            |value: Option<OsString>| value.filter(|text| !text.is_empty()).map(PathBuf::from);
        let top = match (dir, set(xdg_data_home), set(home)) {
            (Some(dir), _, _) => dir.join("cdc"),
            (None, Some(xdg), _) => xdg.join("pgcopydb"),
            (None, None, Some(home)) => home.join(".local/share/pgcopydb"),
            (None, None, None) => {
                return Err(
                    Error::bad_args("there is no place for the files of change data")
                        .detail("Neither --dir is given, nor is XDG_DATA_HOME or HOME set.")
                        .hint("Give a work directory with --dir."),
                );
            }
        };
        Ok(Self { top })
    }

    /// The folder itself.
    pub fn top(&self) -> &Path {
        &self.top
    }

    /// Makes the folder when it is absent, mode 0700.
    pub fn make(&self) -> Result<()> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.top)
            .map_err(|error| trouble("create", &self.top, &error))
    }

    /// A closed JSON file.
    pub fn json(&self, name: SegmentName) -> PathBuf {
        self.top.join(format!("{name}.json"))
    }

    /// A JSON file that is being written.
    pub fn json_partial(&self, name: SegmentName) -> PathBuf {
        self.top.join(format!("{name}.json.partial"))
    }

    /// A closed SQL file.
    pub fn sql(&self, name: SegmentName) -> PathBuf {
        self.top.join(format!("{name}.sql"))
    }

    /// An SQL file that is being written.
    pub fn sql_partial(&self, name: SegmentName) -> PathBuf {
        self.top.join(format!("{name}.sql.partial"))
    }

    /// What is told of a transaction that goes on in a later file.
    pub fn xid_metadata(&self, xid: u32) -> PathBuf {
        self.top.join(format!("{xid}.json"))
    }

    /// The link to the JSON file written last.
    pub fn latest(&self) -> PathBuf {
        self.top.join("latest")
    }

    /// What changes each time a file is cut: after that, other bytes may come where a reader has been already.
    pub fn cuts(&self) -> PathBuf {
        std::fs::read_link(self.top.join("cuts")).unwrap_or_default()
    }

    /// Tells readers that a file was cut. A link takes no room on a disk that is full.
    pub fn note_cut(&self) -> Result<()> {
        let count: u64 = self.cuts().to_str().unwrap_or("").parse().unwrap_or(0);
        let (path, temporary) = (self.top.join("cuts"), self.top.join("cuts.tmp"));
        let _gone = std::fs::remove_file(&temporary);
        std::os::unix::fs::symlink((count + 1).to_string(), &temporary)
            .and_then(|()| std::fs::rename(&temporary, &path))
            .map_err(|error| trouble("write", &path, &error))
    }

    /// The transaction index.
    pub fn txn_index(&self) -> PathBuf {
        self.top.join("txn.idx")
    }

    /// The file `slot`.
    pub fn slot(&self) -> PathBuf {
        self.top.join("slot")
    }

    /// The name of the origin on the target.
    pub fn origin(&self) -> PathBuf {
        self.top.join("origin")
    }

    /// The current timeline.
    pub fn tli(&self) -> PathBuf {
        self.top.join("tli")
    }

    /// Bytes of a WAL segment.
    pub fn wal_segment_size(&self) -> PathBuf {
        self.top.join("wal_segment_size")
    }

    /// The history of a timeline, as the server sends it.
    pub fn history(&self, tli: Tli) -> PathBuf {
        self.top.join(format!("{tli:08X}.history"))
    }

    /// The boot of the machine in which `receive` wrote last.
    pub fn boot_id(&self) -> PathBuf {
        self.top.join("boot_id")
    }

    /// Reports of changes that could not be applied.
    pub fn conflicts(&self) -> PathBuf {
        self.top.join("conflicts.jsonl")
    }

    /// The named pipe from receive to transform.
    pub fn live_pipe(&self) -> PathBuf {
        self.top.join("rt")
    }

    /// The lock of the process that writes JSON files.
    pub fn receive_lock(&self) -> PathBuf {
        self.top.join("receive.lock")
    }

    /// Removes SQL files that were not finished: all of them are made again.
    pub fn remove_unfinished_sql(&self) -> Result<()> {
        let entries = match std::fs::read_dir(&self.top) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(trouble("read", &self.top, &error)),
        };
        for path in entries.flatten().map(|entry| entry.path()) {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if !name.ends_with(".sql.partial") {
                continue;
            }
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(trouble("remove", &path, &error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// All JSON files, first to last. A folder that is absent has none.
    pub fn segments(&self) -> Result<Vec<Segment>> {
        let entries = match std::fs::read_dir(&self.top) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(trouble("read", &self.top, &error)),
        };
        let mut found: std::collections::BTreeMap<SegmentName, Segment> =
            std::collections::BTreeMap::new();
        for entry in entries {
            let entry = entry.map_err(|error| trouble("read", &self.top, &error))?;
            let file_name = entry.file_name();
            let Some((stem, end)) = file_name.to_str().and_then(|name| name.split_once('.')) else {
                continue;
            };
            let Some(name) = SegmentName::parse(stem).filter(|_| end.starts_with("json")) else {
                continue;
            };
            // Gone since the folder was read: renamed or pruned, and so not to be counted.
            let Ok(bytes) = entry.metadata().map(|metadata| metadata.len()) else {
                continue;
            };
            let segment = found.entry(name).or_insert(Segment {
                name,
                closed: None,
                partial: None,
            });
            match end {
                "json" => segment.closed = Some(bytes),
                "json.partial" => segment.partial = Some(bytes),
                _ => {}
            }
        }
        Ok(found
            .into_values()
            .filter(|segment| segment.closed.is_some() || segment.partial.is_some())
            .collect())
    }

    /// The path under which a segment's JSON is to be read.
    pub fn readable(&self, segment: &Segment) -> PathBuf {
        if segment.is_partial() {
            self.json_partial(segment.name)
        } else {
            self.json(segment.name)
        }
    }

    /// Reads `tli` and `wal_segment_size`; none before `receive` has connected.
    pub fn naming(&self) -> Result<Option<(Tli, u64)>> {
        let read = |path: PathBuf| -> Result<Option<u64>> {
            let Some(text) = read_small(&path)? else {
                return Ok(None);
            };
            text.trim()
                .parse()
                .map(Some)
                .map_err(|_| malformed(&path, "it is no number"))
        };
        let tli = read(self.tli())?.and_then(|tli| Tli::try_from(tli).ok());
        Ok(tli.zip(read(self.wal_segment_size())?))
    }

    /// Writes `tli` and `wal_segment_size`.
    pub fn write_naming(&self, tli: Tli, segment_size: u64) -> Result<()> {
        self.write_whole(&self.wal_segment_size(), &format!("{segment_size}\n"))?;
        self.write_whole(&self.tli(), &format!("{tli}\n"))
    }

    /// Reads the file `slot`, of five lines or more; none when it is absent.
    pub fn read_slot(&self) -> Result<Option<SlotFile>> {
        let path = self.slot();
        let Some(text) = read_small(&path)? else {
            return Ok(None);
        };
        let lines: Vec<&str> = text.lines().collect();
        let [slot, lsn, snapshot, plugin, numeric, rest @ ..] = lines.as_slice() else {
            return Err(malformed(&path, "it has less than five lines"));
        };
        let publications = rest.first().copied().unwrap_or("");
        Ok(Some(SlotFile {
            slot: (*slot).to_owned(),
            lsn: lsn.parse().map_err(|why: String| malformed(&path, &why))?,
            snapshot: (*snapshot).to_owned(),
            plugin: Plugin::of_name(plugin)
                .ok_or_else(|| malformed(&path, &format!("\"{plugin}\" is no output plugin")))?,
            numeric_as_string: *numeric == "true",
            publications: publications
                .split(',')
                .filter(|name| !name.is_empty())
                .map(str::to_owned)
                .collect(),
            tli: rest.get(1).and_then(|tli| tli.parse().ok()).unwrap_or(0),
        }))
    }

    /// Writes the file `slot` durably.
    pub fn write_slot(&self, slot: &SlotFile) -> Result<()> {
        let text = format!(
            "{}\n{}\n{}\n{}\n{}\n{}\n{}\n",
            slot.slot,
            slot.lsn,
            slot.snapshot,
            slot.plugin.name(),
            slot.numeric_as_string,
            slot.publications.join(","),
            slot.tli
        );
        self.write_whole(&self.slot(), &text)
    }

    /// Reads the recorded name of the origin.
    pub fn read_origin(&self) -> Result<Option<String>> {
        Ok(read_small(&self.origin())?.map(|text| text.trim_end().to_owned()))
    }

    /// Writes a small file whole or not at all, on disk when it returns; mode 0600.
    pub fn write_whole(&self, path: &Path, text: &str) -> Result<()> {
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(".tmp");
        let temporary = PathBuf::from(temporary);
        let write = || -> std::io::Result<()> {
            let mut file = std::fs::OpenOptions::new()
                .create(true)
                .truncate(true)
                .write(true)
                .mode(0o600)
                .open(&temporary)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&temporary, path)
        };
        write().map_err(|error| trouble("write", path, &error))?;
        self.sync()
    }

    /// Puts names on disk: files made, renamed and removed in the folder.
    pub fn sync(&self) -> Result<()> {
        File::open(&self.top)
            .and_then(|folder| folder.sync_all())
            .map_err(|error| trouble("write", &self.top, &error))
    }
}

/// Reads a small file; none when it is absent.
fn read_small(path: &Path) -> Result<Option<String>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(trouble("read", path, &error)),
    }
}

fn malformed(path: &Path, why: &str) -> Error {
    Error::bad_state(format!("could not read \"{}\": {why}", path.display()))
        .hint("The file was changed by hand or cut off; restore it, or begin anew.")
}

/// The error for a file of change data that the system refuses.
pub fn trouble(what: &str, path: &Path, error: &std::io::Error) -> Error {
    Error::new(
        Kind::BadState,
        format!("could not {what} \"{}\": {error}", path.display()),
    )
    .hint("Check space and permissions of the folder of change data.")
    .room_as_of(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_servers_segments() {
        const MB: u64 = 1 << 20;
        for (tli, lsn, size, name) in [
            (1, 0x5FF_F000, 16 * MB, "000000010000000000000005"),
            (2, 0x16_B374_D848, 16 * MB, "0000000200000016000000B3"),
            (1, 0x1_0800_0000, 64 * MB, "000000010000000100000002"),
            (1, 0x2_4000_0000, 1024 * MB, "000000010000000200000001"),
            (1, 0x1_0010_0000, MB, "000000010000000100000001"),
        ] {
            let segment = SegmentName::of(tli, Lsn(lsn), size);
            assert_eq!(segment.to_string(), name);
            assert_eq!(SegmentName::parse(name), Some(segment));
            assert_eq!(segment.first_lsn(size), Lsn(lsn / size * size));
        }
        assert_eq!(SegmentName::parse("latest"), None);
        assert_eq!(SegmentName::parse("00000001000000000000000g"), None);
    }

    #[test]
    fn the_slot_file_is_read_with_five_lines_and_with_seven() {
        let folder = tempfile::tempdir().unwrap();
        let cdc = CdcDir::new(folder.path().to_path_buf());
        assert_eq!(cdc.read_slot().unwrap(), None);
        let slot = SlotFile {
            slot: "pgcopydb".to_owned(),
            lsn: Lsn(0x24E_FEC8),
            snapshot: "00000003-00000001-1".to_owned(),
            plugin: Plugin::Pgoutput,
            numeric_as_string: false,
            publications: vec!["pgcopydb".to_owned(), "pgcopydb_noid".to_owned()],
            tli: 1,
        };
        cdc.write_slot(&slot).unwrap();
        assert_eq!(cdc.read_slot().unwrap(), Some(slot));
        std::fs::write(cdc.slot(), "s\n0/1\nx\nwal2json\ntrue\n").unwrap();
        let old = cdc.read_slot().unwrap().unwrap();
        assert_eq!(
            (old.numeric_as_string, old.tli, old.publications.len()),
            (true, 0, 0)
        );
        std::fs::write(cdc.slot(), "s\n0/1\n").unwrap();
        assert_eq!(cdc.read_slot().unwrap_err().kind().exit_code(), 3);
    }

    #[test]
    fn files_are_listed_in_the_order_of_their_lines() {
        let folder = tempfile::tempdir().unwrap();
        let cdc = CdcDir::new(folder.path().to_path_buf());
        for (name, text) in [
            ("000000020000000000000006.json.partial", "1"),
            ("000000010000000000000007.json", "12"),
            ("000000010000000000000006.json", "12"),
            ("000000010000000000000006.json.partial", "1"),
            ("000000010000000000000006.sql", ""),
            ("740.json", "{}"),
            ("latest", ""),
        ] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let segments = cdc.segments().unwrap();
        let paths: Vec<String> = segments
            .iter()
            .map(|segment| {
                let path = cdc.readable(segment);
                path.file_name().unwrap().to_str().unwrap().to_owned()
            })
            .collect();
        assert_eq!(
            paths,
            [
                "000000010000000000000006.json",
                "000000010000000000000007.json",
                "000000020000000000000006.json.partial"
            ]
        );
    }

    #[test]
    fn change_data_has_a_place_or_the_error_names_all_three() {
        let some = |text: &str| Some(OsString::from(text));
        let at = |dir: Option<&str>, xdg, home| {
            CdcDir::locate(dir.map(Path::new), xdg, home).map(|cdc| cdc.top)
        };
        assert_eq!(
            at(Some("/d"), some("/x"), some("/h")).unwrap(),
            Path::new("/d/cdc")
        );
        assert_eq!(
            at(None, some("/x"), some("/h")).unwrap(),
            Path::new("/x/pgcopydb")
        );
        assert_eq!(
            at(None, some(""), some("/h")).unwrap(),
            Path::new("/h/.local/share/pgcopydb")
        );
        let error = at(None, None, None).unwrap_err().to_string();
        assert!(
            ["--dir", "XDG_DATA_HOME", "HOME"]
                .iter()
                .all(|name| error.contains(name))
        );
    }
}
