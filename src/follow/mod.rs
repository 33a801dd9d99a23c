//! Change data capture: what the source commits after the snapshot, received, transformed, applied.
//!
//! ```text
//! source -> receive -> <segment>.json -> transform -> <segment>.sql -> apply -> target
//! ```
//! The order of arrival is the order; a transaction is known by its end LSN. Received is what stands
//! on disk in the JSON files; applied is what the target says, in a replication origin or a row of a
//! table; all else is a cache that can be made again.

pub mod applied;
pub mod apply;
pub mod change;
pub mod cleanup;
pub mod decode;
pub mod drift;
pub mod endpos;
pub mod files;
pub mod json_line;
pub mod origin;
pub mod prune;
pub mod publication;
pub mod receive;
pub mod remote;
pub mod run;
pub mod selection;
pub mod setup;
pub mod slot;
pub mod source;
pub mod source_table;
pub mod transform;
pub mod txn_index;
