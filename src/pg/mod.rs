//! Sessions of the `postgres` crate and what all sessions share: settings, retry, cancel, quoting.
//!
//! Runs in leaf workers. The only user of the `postgres` crate. It must not fork, and knows nothing
//! of what its callers copy.
