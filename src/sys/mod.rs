//! The operating system: the only place with unsafe code, forks, queues and waiting.
//!
//! Runs in every process. Layer 1: uses only `error`, `logging` and `units`.
#![allow(
    unsafe_code,
    reason = "fork, System V queues and process titles have no safe interface"
)]

pub mod clock;
pub mod fork;
pub mod lock;
pub mod notify;
pub mod proc;
pub mod reap;
pub mod signal;
pub mod sysv;
pub mod tcp;
pub mod terminal;
pub mod title;
pub mod tool;
