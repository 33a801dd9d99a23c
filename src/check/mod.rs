//! What is looked at before a run begins, and refused while nothing has been changed.
//!
//! Runs in the prepare process and in `ping`. Reads both servers, writes nothing. Every refusal says
//! what an administrator can do about it.

mod identity;
mod ping;
mod preflight;
mod target;

pub use identity::{identity, not_the_same_database, versions};
pub use ping::ping;
pub use preflight::{Choices, Found, refuse_hopeless};
pub use target::{nothing_else_is_dropped, target_is_empty};
