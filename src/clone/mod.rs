//! A clone: ten steps over leaf processes, from two connection strings to an equal database.
//!
//! [`stages`] says what follows what and is pure; [`context`] holds what processes are given;
//! [`host`] starts them. Runs in the supervisor.

mod stages;

pub use stages::{Choices, Stages};
