//! The plan of a copy of rows: what is shown before the question, kept in the ledger and as `plan.json`.
//!
//! Written by the process that plans; read by whoever shows it or reports on the run. The names of fields are
//! those of the JSON document, which people's scripts read.

use super::open::{Ledger, sqlite_error};
use super::run::Run;
use crate::error::{Error, Result};
use rusqlite::{OptionalExtension, params};

/// Mark of a run that has removed keys and switched triggers off: rows can come.
pub const KEYS_REMOVED: &str = "keys-removed";
/// The format number of the document.
pub const PLAN_FORMAT: u32 = 1;

/// One side.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PlanSide {
    /// Connection string without secrets.
    pub uri: String,
    /// `host:port/database` for short lines.
    pub place: String,
    /// Server version.
    pub version: String,
    /// Where the connection string was given.
    pub from: String,
}

/// A table to copy.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PlanTable {
    /// Raw name.
    pub schema: String,
    /// Raw name.
    pub table: String,
    /// Rows; `None`: not known.
    pub rows: Option<u64>,
    /// Whether they were counted.
    pub rows_exact: bool,
    /// Bytes on the source, indexes included.
    pub bytes: u64,
    /// Parts that it is copied in.
    pub parts: u32,
    /// What is done, for people.
    pub how: String,
    /// Columns that are copied, raw names.
    pub columns: Vec<String>,
}

/// A foreign key that touches the selection.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PlanKey {
    /// `schema.table` that has it.
    pub child: String,
    /// Raw name.
    pub name: String,
    /// `schema.table` that it refers to.
    pub parent: String,
    /// `remove` or `stay`.
    pub action: String,
    /// What is done, for people.
    pub how: String,
    /// Its definition.
    pub definition: String,
}

/// A trigger that is switched off.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PlanTrigger {
    /// `schema.table`.
    pub table: String,
    /// Raw name.
    pub name: String,
    /// State that it gets back: `enabled`, `always`, `replica`.
    pub state: String,
}

/// Something that is not copied.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct LeftOut {
    /// `schema.table`.
    pub name: String,
    /// Why.
    pub why: String,
}

/// The plan.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct DataPlan {
    /// [`PLAN_FORMAT`].
    pub format: u32,
    /// The side that is read.
    pub source: PlanSide,
    /// The side that is written.
    pub target: PlanSide,
    /// `none`, `replica`, `drop`, `keep`.
    pub mode: String,
    /// Why this mode.
    pub why: String,
    /// Copy workers.
    pub workers: u32,
    /// All tables are read in one snapshot.
    pub one_snapshot: bool,
    /// Rows in one INSERT; `None`: COPY.
    pub insert: Option<u32>,
    /// Tables, in the order of the copy.
    pub tables: Vec<PlanTable>,
    /// Foreign keys.
    pub keys: Vec<PlanKey>,
    /// Triggers.
    pub triggers: Vec<PlanTrigger>,
    /// Sequences that are set, `schema.name`.
    pub sequences: Vec<String>,
    /// Not copied.
    pub left_out: Vec<LeftOut>,
    /// What a person should know.
    pub warnings: Vec<String>,
}

impl DataPlan {
    /// What must not change between the question and the copy: everything but figures and warnings.
    #[must_use]
    pub fn essence(&self) -> Self {
        let mut bare = self.clone();
        for table in &mut bare.tables {
            (table.rows, table.bytes, table.parts) = (None, 0, 0);
            table.how.clear();
        }
        bare.tables
            .sort_by(|a, b| (&a.schema, &a.table).cmp(&(&b.schema, &b.table)));
        bare.warnings.clear();
        bare.left_out.clear();
        bare.source = PlanSide::default();
        bare.target = PlanSide::default();
        bare
    }

    /// Tables, keys and triggers that one plan has and the other has not, for people.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let lines = |plan: &Self| -> std::collections::BTreeSet<String> {
            let plan = plan.essence();
            let tables = plan
                .tables
                .iter()
                .map(|t| format!("table {}.{} ({})", t.schema, t.table, t.columns.join(", ")));
            let keys = plan.keys.iter().map(|k| {
                format!(
                    "foreign key {}.{} {} ({})",
                    k.child, k.name, k.definition, k.action
                )
            });
            let triggers = plan
                .triggers
                .iter()
                .map(|t| format!("trigger {}.{} ({})", t.table, t.name, t.state));
            tables
                .chain(keys)
                .chain(triggers)
                .chain([format!("mode {}", plan.mode)])
                .collect()
        };
        let (ours, theirs) = (lines(self), lines(other));
        let gone = ours
            .difference(&theirs)
            .map(|line| format!("before: {line}"));
        let new = theirs.difference(&ours).map(|line| format!("now: {line}"));
        gone.chain(new).collect()
    }

    /// Keys that are removed and put back.
    pub fn removed_keys(&self) -> usize {
        self.keys
            .iter()
            .filter(|key| key.action == "remove")
            .count()
    }

    /// The document.
    pub fn json(&self) -> Result<String> {
        serde_json::to_string_pretty(self)
            .map(|text| text + "\n")
            .map_err(|error| Error::internal(format!("could not write the plan: {error}")))
    }

    /// Reads a document.
    pub fn parse(text: &str) -> Result<Self> {
        serde_json::from_str(text)
            .map_err(|error| Error::internal(format!("could not read the plan: {error}")))
    }

    /// Keeps the plan of a run.
    pub fn write(&self, connection: &rusqlite::Connection, run: Run) -> Result<()> {
        connection
            .execute(
                "insert or replace into data_plan (id, run_id, document) values (1, ?1, ?2)",
                params![run.id, self.json()?],
            )
            .map(|_| ())
            .map_err(|error| sqlite_error("write", &error))
    }

    /// The plan of the last run; `None`: there is none.
    pub fn read(ledger: &Ledger) -> Result<Option<Self>> {
        let text: Option<String> = ledger
            .connection()
            .query_row("select document from data_plan", [], |row| row.get(0))
            .optional()
            .map_err(|error| sqlite_error("read", &error))?;
        text.map(|text| Self::parse(&text)).transpose()
    }
}
