//! The token: who has it may change the sentinel of a follow that listens.
//!
//! A file of the work directory that only its owner may read, made by the process that listens and kept, so
//! that copies of it on other machines go on working. Never logged, never in the ledger.

use crate::error::{Error, Result};
use crate::logging;
use crate::workdir::Layout;
use std::fmt::Write;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

/// Bytes of randomness.
const RANDOM: usize = 32;
/// Length of the text.
const LENGTH: usize = 2 * RANDOM;

/// A token.
pub(super) struct Token(String);

impl Token {
    /// The token of this work directory, made when there is none that can be used.
    pub(super) fn of(layout: &Layout) -> Result<Self> {
        let path = layout.token();
        if path.symlink_metadata().is_ok() {
            match own(&path) {
                Ok(token) => return Ok(token.registered()),
                Err(why) => log::warn!("A new token is made, as \"{}\" {why}", path.display()),
            }
        }
        let mut random = [0; RANDOM];
        openssl::rand::rand_bytes(&mut random)
            .map_err(|error| Error::internal(format!("could not make a token: {error}")))?;
        let mut text = String::with_capacity(LENGTH);
        for byte in random {
            // Writing into memory cannot fail.
            let _infallible = write!(text, "{byte:02x}");
        }
        let token = Self(text).registered();
        layout.write_file_durably(&path, format!("{}\n", token.0).as_bytes())?;
        Ok(token)
    }

    /// The token of a file that the user has. Errors (`BadArgs`): others may read it, or it holds none.
    pub(super) fn read(path: &Path) -> Result<Self> {
        own(path).map(Self::registered).map_err(|why| {
            let shown = path.display();
            Error::bad_args(format!("token file \"{shown}\" {why}"))
                .hint("Copy \"pgcopydb.token\" of the follow's work directory with mode 0600, and name it by --token-file.")
        })
    }

    /// From now on it is blanked wherever it might be shown.
    fn registered(self) -> Self {
        logging::register_secret(&self.0);
        self
    }

    /// The text.
    pub(super) fn text(&self) -> &str {
        &self.0
    }

    /// Whether it is this one; how long that takes does not tell how much of it is right.
    pub(super) fn is(&self, given: &[u8]) -> bool {
        given.len() == self.0.len() && openssl::memcmp::eq(given, self.0.as_bytes())
    }
}

/// Reads a file that nobody else may read. Errors: what is wrong with it.
fn own(path: &Path) -> std::result::Result<Token, String> {
    let unreadable = |error: std::io::Error| format!("cannot be read: {error}");
    let mut file = std::fs::File::open(path).map_err(unreadable)?;
    let status = file.metadata().map_err(unreadable)?;
    if !status.is_file() {
        return Err("is no file".to_owned());
    }
    if status.uid() != nix::unistd::geteuid().as_raw() {
        return Err("belongs to another user".to_owned());
    }
    let mode = status.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(format!("has mode {mode:04o}: others may read it"));
    }
    let mut text = String::new();
    // A line end, and one byte more than fits.
    let most = u64::try_from(LENGTH + 2).unwrap_or(0);
    let read = file.by_ref().take(most).read_to_string(&mut text);
    let text = read.map(|_| text.trim_end()).unwrap_or_default();
    let is_token = text.len() == LENGTH && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_token {
        Ok(Token(text.to_owned()))
    } else {
        Err("holds no token".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_kept_and_one_that_others_could_read_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path().to_path_buf());
        let path = layout.token();
        let first = Token::of(&layout).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!((first.text().len(), mode(&path)), (LENGTH, 0o600));
        assert_eq!(Token::of(&layout).unwrap().text(), first.text());
        assert_eq!(Token::read(&path).unwrap().text(), first.text());
        assert!(first.is(first.text().as_bytes()));
        assert!(!first.is(b"") && !first.is(&[b'0'; LENGTH]));

        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let error = Token::read(&path).err().unwrap();
        assert!(error.message().contains("mode 0640"), "{error}");
        assert_eq!(error.kind().exit_code(), 1);
        let second = Token::of(&layout).unwrap();
        assert_ne!(second.text(), first.text());
        assert_eq!(mode(&path), 0o600);
        for content in ["", "short\n", &"x".repeat(LENGTH), &"a".repeat(LENGTH + 1)] {
            std::fs::write(&path, content).unwrap();
            let error = Token::read(&path).err().unwrap();
            assert!(error.message().contains("holds no token"), "{error}");
        }
    }
}
