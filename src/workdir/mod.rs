//! The work directory: its paths, who may use it, what an earlier run left there.
//!
//! Runs in the supervisor before its first fork, and in commands that only [`Look`]; leaves only use
//! [`Layout`]. Never opens the ledger
//! and never removes a file that is not ours.

mod claim;
mod layout;
mod look;
mod remains;
mod service;

pub use claim::{Claim, Intent, Marker};
pub use layout::Layout;
pub use look::{Holder, Holds, Look, Sizes};
pub use remains::Remains;
pub use service::{ServiceClaim, is_service_alive};
