//! Copying rows: COPY out of the source straight into COPY of the target.
//!
//! Runs in copy workers. Reads the source in the run's snapshot, writes the target in one transaction
//! for each unit (many units where tables are small), then marks the ledger. Never trusts a mark
//! alone: a part says in the target's own transaction that it is there.

mod insert;
mod proof;
mod read;
mod task;
mod worker;
mod write;

pub use worker::{CopyFacts, KINDS, run};
