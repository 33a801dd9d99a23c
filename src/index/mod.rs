//! Indexes, the constraints that use them, and foreign keys.
//!
//! Runs in index workers. All indexes of a table are built at the same time by different workers;
//! then one of them adds the table's constraints on top; foreign keys are added NOT VALID once both
//! tables are ready, and validated side by side. The statements are those of the archive, so that
//! nothing that hangs on an entry is lost. Whether something is there already is asked of the target.

mod existing;
mod worker;

pub use worker::{IndexFacts, VALIDATE_LATER, run};
