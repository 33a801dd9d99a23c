//! The schema's way through PostgreSQL's own tools: find them, run them, edit what they restore.
//!
//! Runs in the leaf processes dump, restore and roles; the pure parts (lists, scripts, roles) also in
//! whoever plans them. Reads and writes the files of `schema/` in the work directory and runs
//! `pg_dump`, `pg_restore`, `pg_dumpall`. Must not connect to a server itself: what it needs to know
//! of one is passed in.

pub mod archive;
pub mod archive_list;
pub mod lexer;
pub mod list_plan;
pub mod roles;
pub mod run;
pub mod said;
pub mod script;
pub mod tools;

pub use archive::{
    ArchiveRun, DumpSettings, RestoreFlag, RestoreMode, RestoreOptions, RolePasswords, SchemaDir,
};
pub use archive_list::{Entry, Section};
pub use run::{ToolOutcome, ToolRun};
pub use tools::{Installed, SearchPlaces, Tools};
