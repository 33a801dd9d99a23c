//! Cancel requests: a connection of their own that names a backend and its key.
//!
//! Runs in the canceller thread of a leaf worker. Connects to the pinned endpoint with the session's
//! TLS rules, sends `CancelRequest`, and waits for the server to close, by which time the signal has
//! been sent. There is no answer. It must go through while the stop flag is set.

use super::message::Trouble;
use super::startup::Endpoint;
use crate::error::{Error, Result};
use crate::units::Side;
use bytes::BytesMut;
use postgres_protocol::message::frontend;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Limit of one cancel request.
const CANCEL_LIMIT: Duration = Duration::from_secs(5);

/// What cancels the statement that runs on one session.
#[derive(Clone)]
pub struct CancelToken {
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) side: Side,
    pub(super) backend_pid: i32,
    pub(super) key: i32,
}

impl fmt::Debug for CancelToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelToken")
            .field("backend_pid", &self.backend_pid)
            .finish_non_exhaustive()
    }
}

impl CancelToken {
    /// Asks the server to cancel what the session runs. Blocks up to five seconds.
    pub fn cancel(&self) -> Result<()> {
        let deadline = Instant::now() + CANCEL_LIMIT;
        let mut out = BytesMut::new();
        frontend::cancel_request(self.backend_pid, self.key, &mut out);
        let mut link = self
            .endpoint
            .open_for_cancel(deadline)
            .map_err(|error| error.context("sending a cancel request"))?;
        let failed = |trouble: &Trouble| -> Error {
            trouble
                .to_error(self.side, self.backend_pid)
                .context("sending a cancel request")
        };
        link.write(&[], &out).map_err(|trouble| failed(&trouble))?;
        match link.fill() {
            Ok(()) | Err(Trouble::Closed | Trouble::Io(_)) => Ok(()),
            Err(trouble) => Err(failed(&trouble)),
        }
    }
}
