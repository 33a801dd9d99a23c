//! The ledger: SQLite files in the work directory that say what there is to do and what is done.
//!
//! Leaf processes open it after their fork; the supervisor only after its last child is reaped. WAL
//! mode, a busy timeout of a minute, short write transactions begun at once as writers. Nobody sends
//! to a queue, waits for a server or runs a tool inside one.

mod data_plan;
mod lag;
mod open;
mod process;
mod run;
pub mod sentinel;
mod setup;
mod start;
mod step;
pub mod unit;
mod view;

pub use data_plan::{
    DataPlan, KEYS_REMOVED, LeftOut, PLAN_FORMAT, PlanKey, PlanSide, PlanTable, PlanTrigger,
};
pub use lag::{Lag, SourceLook};
pub use open::{Ledger, sqlite_error};
pub use process::{Activity, Backends};
pub use run::{LastRun, PastRun, Run};
pub use sentinel::{CdcSetup, CdcStatus, Sentinel};
pub use setup::{Setup, options_differ};
pub use start::TableStarts;
pub use step::{Step, Timing};
