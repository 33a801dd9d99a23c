//! The integration tests: the program against servers of our own. See tests/README.md.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    missing_docs,
    unreachable_pub,
    reason = "test support may fail loudly, and nobody links against it"
)]
#![allow(dead_code, reason = "support offers more than the tests of today use")]

mod all_databases;
mod check;
mod cli;
mod clone;
mod compare;
mod cutover;
mod drift;
mod effects;
mod filters;
mod filters_random;
mod follow_apply;
mod follow_clone;
mod follow_faults;
mod follow_filters;
mod follow_large;
mod follow_live;
mod follow_loss;
mod follow_ops;
mod follow_random;
mod follow_receive;
mod follow_remote;
mod follow_seam;
mod follow_setup;
mod follow_shape;
mod follow_standby;
mod follow_table;
mod held;
mod hooks;
mod large;
mod list;
mod looking;
mod lost;
mod matrix;
mod pgcopy;
mod pgcopy_doubt;
mod pgcopy_keys;
mod pgcopy_output;
mod refuse;
mod resume;
mod roles;
mod secrets;
mod signal;
mod steps;
mod support;
mod versions;
