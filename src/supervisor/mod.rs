//! The supervisor: starts leaf processes, reads their reports, replaces the dead, stops them all.
//!
//! One thread, no database handle, no ledger until the last child is reaped. What to do next is
//! decided by a [`Machine`], which is pure: events in, orders out.

mod leaf;
mod report;
mod role;
mod run;

pub use leaf::{Leaf, spawn};
pub use report::{ClassLoad, Report};
pub use role::Role;
pub use run::{End, Event, Host, Machine, Order, run};
