//! Sessions of the `postgres` crate and what all sessions share: settings, retry, cancel, quoting.
//!
//! Runs in leaf workers. The only user of the `postgres` crate. It must not fork, and knows nothing
//! of what its callers copy.

pub mod both;
pub mod cancel;
pub mod endpoint;
pub mod link;
pub mod profile;
pub mod quote;
pub mod relay;
pub mod retry;
pub mod session;

pub use both::at_once;
pub use cancel::{Canceller, Registration, Token};
pub use link::{BackendId, Link, WireSession, application_name};
pub use profile::Profile;
pub use retry::Retry;
pub use session::{PgSession, connect};
