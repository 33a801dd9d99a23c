//! The password file: which of its lines belongs to a connection.
//!
//! Runs in the supervisor. Reads the file that `passfile`, `PGPASSFILE` or the home directory names.
//! Writes a warning if the file is not usable. Must not put a line of it anywhere else.

use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;

/// Largest password file, bytes.
const FILE_MAX: u64 = 4 << 20;

/// The content of a password file; `None` if there is none, or if others may read it. May block.
pub(super) fn read(path: &str) -> Option<Vec<u8>> {
    if path.is_empty() {
        return None;
    }
    let metadata = std::fs::metadata(Path::new(path)).ok()?;
    if let Some(problem) = problem(&metadata) {
        log::warn!("ignoring password file \"{path}\": {problem}");
        return None;
    }
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(FILE_MAX).read_to_end(&mut bytes));
    if let Err(error) = read {
        log::warn!("could not read password file \"{path}\": {error}");
        return None;
    }
    Some(bytes)
}

/// Why a file is not used.
fn problem(metadata: &Metadata) -> Option<&'static str> {
    let kind = metadata.file_type();
    if !kind.is_file() || kind.is_fifo() {
        return Some("it is not a plain file");
    }
    if metadata.permissions().mode() & 0o077 != 0 {
        return Some("it has group or world access; permissions should be u=rw (0600) or less");
    }
    None
}

/// What a line must match.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a> {
    /// Host name as given, address, or `localhost` for the local socket.
    pub(super) host: &'a str,
    pub(super) port: u16,
    pub(super) dbname: &'a str,
    pub(super) user: &'a str,
}

/// The password of the first line that matches. Lines are `host:port:database:user:password`, `*`
/// matches all, a backslash takes the next byte as it is.
pub(super) fn find(file: &[u8], wanted: Wanted<'_>) -> Option<String> {
    let port = wanted.port.to_string();
    for line in file.split(|byte| *byte == b'\n') {
        if line.first() == Some(&b'#') {
            continue;
        }
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let password = after_match(line, wanted.host)
            .and_then(|rest| after_match(rest, &port))
            .and_then(|rest| after_match(rest, wanted.dbname))
            .and_then(|rest| after_match(rest, wanted.user));
        if let Some(password) = password {
            return String::from_utf8(unescape(password))
                .ok()
                .filter(|text| !text.is_empty());
        }
    }
    None
}

/// What follows a field and its colon, if the field is `*` or stands for the token. A colon that is
/// part of the token, as in `::1`, needs no backslash.
fn after_match<'a>(field: &'a [u8], token: &str) -> Option<&'a [u8]> {
    if let Some(rest) = field.strip_prefix(b"*:") {
        return Some(rest);
    }
    let mut rest = field;
    for byte in token.bytes() {
        rest = rest.strip_prefix(b"\\").unwrap_or(rest);
        rest = rest.strip_prefix(&[byte])?;
    }
    rest.strip_prefix(b":")
}

/// The last field without its backslashes; a bare colon ends it.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut password = Vec::with_capacity(field.len());
    let mut bytes = field.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            b':' => break,
            b'\\' => password.push(bytes.next().unwrap_or(b'\\')),
            _ => password.push(byte),
        }
    }
    password
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &[u8] = b"# comment\nh:5432:d:u:one\n#*:*:*:*:no\nh:*:d\\:x:u\\\\:two\\:\\\\x:more\n\
        ::1:5432:*:u:three\n\\:\\:2:5432:*:u:four\nlocalhost:*:*:u:caf\xc3\xa9\r\n*:*:*:bad:\xff\n*:*:*:empty:\n\
        *:6000:*:*:last";

    #[test]
    fn the_first_line_that_matches_counts() {
        for (host, port, dbname, user, expected) in [
            ("h", 5432, "d", "u", Some("one")),
            ("h", 5432, "d2", "u", None),
            ("h", 1, "d:x", "u\\", Some("two:\\x")),
            ("::1", 5432, "d", "u", Some("three")),
            ("::2", 5432, "d", "u", Some("four")),
            ("localhost", 9, "d", "u", Some("café")),
            ("h", 9, "d", "bad", None),
            ("h", 9, "d", "empty", None),
            ("zz", 6000, "d", "v", Some("last")),
            ("hh", 5432, "d", "u", None),
        ] {
            let wanted = Wanted {
                host,
                port,
                dbname,
                user,
            };
            assert_eq!(
                find(FILE, wanted).as_deref(),
                expected,
                "{host} {port} {dbname} {user}"
            );
        }
    }

    #[test]
    fn no_truncation_of_a_file_makes_it_panic() {
        let wanted = Wanted {
            host: "h",
            port: 1,
            dbname: "d:x",
            user: "u\\",
        };
        for end in 0..FILE.len() {
            find(&FILE[..end], wanted);
        }
    }

    #[test]
    fn a_file_that_others_may_read_is_ignored() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("pgpass");
        std::fs::write(&path, "x").expect("file");
        let name = path.display().to_string();
        for (mode, expected) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false)] {
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).expect("mode");
            assert_eq!(read(&name).is_some(), expected, "{mode:o}");
        }
        assert_eq!(read(&directory.path().display().to_string()), None);
        assert_eq!(read("/nosuch/file"), None);
    }
}
