//! The commands of `pgcopydb`, one file each: from arguments to a run and its printed result.
//!
//! Runs in the main program.

pub(super) mod check;
pub(super) mod clone;
pub(super) mod compare;
pub(super) mod completions;
pub(super) mod config;
mod constraints;
pub(super) mod cutover;
pub(super) mod follow;
pub(super) mod help;
pub(super) mod list;
mod list_progress;
pub(super) mod ping;
mod sentinel;
pub(super) mod status;
pub(super) mod steps;
pub(super) mod stream;
pub(super) mod stream_apply;
pub(super) mod version;
mod work_dir;
