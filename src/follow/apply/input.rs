//! Lines of a file or of a pipe.
//!
//! Runs in the apply process. A line may be as long as a row is. A last line without its end was not
//! written whole: it is left out.

use crate::error::{Error, Result};
use crate::follow::files::trouble;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Bytes that are read at a time.
const BUFFER_BYTES: usize = 256 * 1024;
/// Memory that a long line leaves behind at most.
const LINE_BYTES_KEPT: usize = 4 << 20;

/// What a look for the next line brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Got {
    Line,
    /// There is none yet.
    Wait,
    /// There will be none.
    End,
}

enum From {
    File(BufReader<File>),
    /// A file that transform is writing, or was.
    Growing {
        file: BufReader<File>,
        /// The beginning of a line that is not written whole yet.
        pending: Vec<u8>,
    },
    Pipe {
        descriptor: File,
        pending: Vec<u8>,
        start: usize,
        ended: bool,
    },
}

/// Where lines come from.
pub(super) struct Input {
    from: From,
    /// For reports.
    pub(super) name: String,
    /// Number of the last line read.
    pub(super) number: u64,
}

impl Input {
    /// A file.
    pub(super) fn file(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|error| trouble("open", path, &error))?;
        Ok(Self {
            from: From::File(BufReader::with_capacity(BUFFER_BYTES, file)),
            name: path.display().to_string(),
            number: 0,
        })
    }

    /// A file to which lines may be added.
    pub(super) fn growing(path: &Path) -> Result<Self> {
        let mut input = Self::file(path)?;
        if let From::File(file) = input.from {
            input.from = From::Growing {
                file,
                pending: Vec::new(),
            };
        }
        Ok(input)
    }

    /// Whether this is the file that stands there.
    pub(super) fn is_at(&self, path: &Path) -> bool {
        let From::Growing { file, .. } = &self.from else {
            return false;
        };
        match (file.get_ref().metadata(), std::fs::metadata(path)) {
            (Ok(own), Ok(there)) => (own.dev(), own.ino()) == (there.dev(), there.ino()),
            _ => false,
        }
    }

    /// A pipe, such as standard input.
    pub(super) fn pipe(descriptor: OwnedFd) -> Self {
        Self {
            from: From::Pipe {
                descriptor: File::from(descriptor),
                pending: Vec::new(),
                start: 0,
                ended: false,
            },
            name: "standard input".to_owned(),
            number: 0,
        }
    }

    /// Whether lines may come later.
    pub(super) fn may_grow(&self) -> bool {
        !matches!(self.from, From::File(_))
    }

    fn unreadable(&self, error: &std::io::Error) -> Error {
        Error::bad_state(format!("could not read \"{}\": {error}", self.name))
    }

    /// Reads the next line without its end.
    pub(super) fn next(&mut self, line: &mut Vec<u8>) -> Result<Got> {
        line.clear();
        line.shrink_to(LINE_BYTES_KEPT);
        let got = match &mut self.from {
            From::File(file) => file.read_until(b'\n', line).map(|_| {
                if line.pop() == Some(b'\n') {
                    Got::Line
                } else {
                    Got::End
                }
            }),
            From::Growing { file, pending } => file.read_until(b'\n', pending).map(|_| {
                if pending.last() != Some(&b'\n') {
                    return Got::Wait;
                }
                std::mem::swap(line, pending);
                line.pop();
                Got::Line
            }),
            From::Pipe {
                descriptor,
                pending,
                start,
                ended,
            } => next_of_pipe(descriptor, (pending, start, ended), line),
        };
        match got {
            Ok(got) => {
                self.number += u64::from(got == Got::Line);
                Ok(got)
            }
            Err(error) => Err(self.unreadable(&error)),
        }
    }

    /// Waits until there is something to read, at most so long.
    pub(super) fn wait(&self, millis: u16) {
        if let From::Pipe { descriptor, .. } = &self.from {
            let mut fds = [PollFd::new(descriptor.as_fd(), PollFlags::POLLIN)];
            // A signal ends the wait, as it should.
            let _ready = poll(&mut fds, PollTimeout::from(millis));
        }
    }
}

fn next_of_pipe(
    descriptor: &mut File,
    (pending, start, ended): (&mut Vec<u8>, &mut usize, &mut bool),
    line: &mut Vec<u8>,
) -> std::io::Result<Got> {
    let mut looked = *start;
    loop {
        let unread = pending.get(looked..).unwrap_or_default();
        if let Some(at) = unread.iter().position(|byte| *byte == b'\n') {
            line.extend_from_slice(pending.get(*start..looked + at).unwrap_or_default());
            *start = looked + at + 1;
            return Ok(Got::Line);
        }
        if *ended {
            return Ok(Got::End);
        }
        if *start > 0 {
            pending.drain(..*start);
            pending.shrink_to(LINE_BYTES_KEPT);
            *start = 0;
        }
        looked = pending.len();
        let mut fds = [PollFd::new(descriptor.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, PollTimeout::ZERO) {
            Ok(0) | Err(nix::errno::Errno::EINTR) => return Ok(Got::Wait),
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        let room = pending.len();
        pending.resize(room + BUFFER_BYTES, 0);
        let read = descriptor.read(pending.get_mut(room..).unwrap_or_default());
        pending.truncate(room + read.as_ref().map_or(0, |count| *count));
        match read {
            Ok(0) => *ended = true,
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
