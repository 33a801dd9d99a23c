//! The lines on a pipe or on standard output, too: read from the files, so that a slow reader never
//! holds up receiving, and sees exactly what the files hold.
//!
//! A thread of the receive process. It follows the place up to which lines were handed to the system.

use crate::error::{Error, Result};
use crate::follow::files::{CdcDir, SegmentName};
use crate::follow::json_line::{Action, Join, JsonLine};
use crate::follow::txn_index::Place;
use crate::units::Lsn;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Bytes passed on at once.
const CHUNK_BYTES: usize = 256 * 1024;
/// Longest wait before the state is looked at again.
const WAIT: Duration = Duration::from_millis(200);

#[derive(Debug, Default)]
struct Shared {
    /// Up to here files may be read.
    until: Option<Place>,
    /// Nothing more will come.
    is_closed: bool,
    /// The reader is gone.
    is_broken: bool,
}

type Signal = Arc<(Mutex<Shared>, Condvar)>;

/// The thread and what it is told.
#[derive(Debug)]
pub(super) struct Outlet {
    signal: Signal,
    thread: Option<JoinHandle<()>>,
}

fn lock(signal: &Signal) -> std::sync::MutexGuard<'_, Shared> {
    signal.0.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Outlet {
    /// Starts behind `from`, the end of the files as they are; none: with the first file there will
    /// be. `join` describes that place.
    pub(super) fn start(
        cdc: CdcDir,
        from: Option<Place>,
        join: (Lsn, Join),
        out: Box<dyn Write + Send>,
    ) -> Result<Self> {
        let signal = Signal::default();
        let shared = Arc::clone(&signal);
        let thread = std::thread::Builder::new()
            .name("outlet".to_owned())
            .spawn(move || {
                let mut feeder = Feeder {
                    cdc,
                    out,
                    file: None,
                    at: from,
                };
                if let Err(error) = feeder.run(&shared, join) {
                    log::debug!("The reader of the received lines is gone: {error}");
                    lock(&shared).is_broken = true;
                }
            })
            .map_err(|error| Error::internal(format!("could not start a thread: {error}")))?;
        Ok(Self {
            signal,
            thread: Some(thread),
        })
    }

    /// Lines up to here may be passed on.
    pub(super) fn allow(&self, until: Option<Place>) {
        if until.is_some() {
            lock(&self.signal).until = until;
            self.signal.1.notify_one();
        }
    }

    /// Whether the reader is gone.
    pub(super) fn is_broken(&self) -> bool {
        lock(&self.signal).is_broken
    }

    /// Passes on what is left, as long as the reader takes it and `stop` does not say otherwise.
    pub(super) fn finish(mut self, stop: &dyn Fn() -> bool) {
        lock(&self.signal).is_closed = true;
        self.signal.1.notify_one();
        if let Some(thread) = self.thread.take() {
            while !thread.is_finished() && !stop() {
                crate::sys::clock::nap(Duration::from_millis(20));
            }
        }
    }
}

/// What the thread works with.
struct Feeder {
    cdc: CdcDir,
    out: Box<dyn Write + Send>,
    file: Option<(SegmentName, File)>,
    at: Option<Place>,
}

impl Feeder {
    fn run(&mut self, signal: &Signal, join: (Lsn, Join)) -> std::io::Result<()> {
        let mut line = Vec::new();
        JsonLine {
            join: Some(join.1),
            ..JsonLine::mark(Action::Join, join.0)
        }
        .write(&mut line);
        self.out.write_all(&line)?;
        self.out.flush()?;
        loop {
            let (until, is_closed) = {
                let mut shared = lock(signal);
                if shared.until == self.at && !shared.is_closed {
                    let waited = signal.1.wait_timeout(shared, WAIT);
                    shared = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
                (shared.until, shared.is_closed)
            };
            if let Some(until) = until {
                self.pass_on(until)?;
            }
            if is_closed && (until.is_none() || until == self.at) {
                return self.out.flush();
            }
        }
    }

    /// Passes on all up to `until`.
    fn pass_on(&mut self, until: Place) -> std::io::Result<()> {
        let mut chunk = vec![0; CHUNK_BYTES];
        while self.at != Some(until) {
            let at = match self.at {
                Some(at) => at,
                None => self.first_file(until)?,
            };
            let limit = if at.segment == until.segment {
                until.offset.saturating_sub(at.offset)
            } else {
                u64::MAX
            };
            let count = if limit == 0 {
                0
            } else {
                self.read(at, limit, &mut chunk)?
            };
            if count > 0 {
                self.out.write_all(chunk.get(..count).unwrap_or_default())?;
                self.at = Some(Place {
                    offset: at.offset + count as u64,
                    ..at
                });
            } else if at.segment < until.segment {
                self.at = Some(self.next_file(at.segment)?);
            } else {
                break;
            }
        }
        self.out.flush()
    }

    fn read(&mut self, at: Place, limit: u64, chunk: &mut [u8]) -> std::io::Result<usize> {
        if self
            .file
            .as_ref()
            .is_none_or(|(name, _)| *name != at.segment)
        {
            let partial = File::open(self.cdc.json_partial(at.segment));
            let mut file = partial.or_else(|_| File::open(self.cdc.json(at.segment)))?;
            file.seek(SeekFrom::Start(at.offset))?;
            self.file = Some((at.segment, file));
        }
        let Some((_, file)) = &mut self.file else {
            return Ok(0);
        };
        let most = usize::try_from(limit)
            .unwrap_or(usize::MAX)
            .min(chunk.len());
        file.read(chunk.get_mut(..most).unwrap_or_default())
    }

    fn segments(&self) -> std::io::Result<Vec<SegmentName>> {
        let segments = self.cdc.segments().map_err(std::io::Error::other)?;
        Ok(segments.into_iter().map(|segment| segment.name).collect())
    }

    fn first_file(&self, until: Place) -> std::io::Result<Place> {
        let first = self.segments()?.first().copied().unwrap_or(until.segment);
        Ok(Place {
            segment: first,
            offset: 0,
        })
    }

    fn next_file(&self, after: SegmentName) -> std::io::Result<Place> {
        let next = self.segments()?.into_iter().find(|name| *name > after);
        next.map(|segment| Place { segment, offset: 0 })
            .ok_or_else(|| std::io::Error::other("the next file is gone"))
    }
}
