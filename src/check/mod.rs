//! What is looked at before a run begins, and refused while nothing has been changed.
//!
//! Runs in the prepare process, in the main program for `check` and `--dry-run`, and in `ping`. Reads both
//! servers, writes nothing. Every finding says what an administrator can do about it.

mod connect;
mod extensions;
mod finding;
mod health;
mod hooks;
mod host;
mod identity;
mod leftover;
mod look;
mod machine;
mod ping;
mod preflight;
mod privileges;
mod rights;
mod roles;
mod spread;
mod stream;
mod target;

pub use connect::{Connected, connect};
pub use extensions::Hooks;
pub use finding::{Finding, Findings, Level, Verdict};
pub use hooks::refuse_hypertables;
pub use host::look_at_host;
pub use identity::{identity, not_the_same_database, versions};
pub use look::{look, look_at_new};
pub use machine::{Workers, look_at_machine};
pub use ping::ping;
pub use preflight::{Choices, Found, look_at_source, look_at_target, refuse_missing_roles};
pub use stream::FollowChoices;
pub use target::{
    no_large_object_clashes, no_relation_clashes, nothing_else_is_dropped, refuse_relations,
    target_is_empty,
};
