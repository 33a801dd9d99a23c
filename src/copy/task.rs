//! What a unit of copying needs to know: names, columns, format, range; read from the ledger.
//!
//! Runs in copy workers.

use crate::catalog::unit::Unit;
use crate::catalog::{Ledger, sqlite_error};
use crate::error::{Error, Result};
use crate::schema::plan::{PartKind, PartPlan, predicate};
use rusqlite::{OptionalExtension, params};

/// Tables from this size on are emptied and frozen in the transaction of their COPY: that saves the
/// server a later rewrite, and costs a new file, which small tables do not repay.
const FREEZE_FROM_BYTES: i64 = 1 << 20;

/// How the target's table is emptied before its rows arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Emptying {
    /// This run has made it; only a second try has to empty it.
    New,
    /// The same, and citus keeps its rows on other servers.
    Spread,
    /// By TRUNCATE in the transaction of its rows; before the parts of a split table, beforehand.
    Own,
    /// Beforehand, with others; a second try deletes its rows.
    Before,
    /// By DELETE in the transaction of its rows.
    Delete,
}

impl Emptying {
    fn parse(word: &str) -> Self {
        match word {
            "spread" => Self::Spread,
            "own" => Self::Own,
            "before" => Self::Before,
            "delete" => Self::Delete,
            _ => Self::New,
        }
    }
}

/// One unit of copying with all its facts.
#[derive(Clone, Debug)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "independent facts of a table, no states"
)]
pub(super) struct Task {
    pub(super) unit: Unit,
    /// Quoted name on the source.
    pub(super) qname: String,
    /// Quoted name of the table to write: itself, or a partitioned ancestor that routes the rows.
    pub(super) target_qname: String,
    /// Quoted column names, comma-separated; empty: no column to copy.
    pub(super) columns: String,
    /// What the source is asked for, where that is not the columns as they are.
    select_list: Option<String>,
    /// Numbers of these columns when the catalogs were read.
    pub(super) attnums: Vec<u16>,
    /// Binary COPY on both sides.
    pub(super) is_binary: bool,
    /// File of the source table when the catalogs were read, 0: unknown.
    pub(super) filenode: i64,
    /// Size of the source table when the catalogs were read.
    pub(super) bytes: i64,
    /// Condition of a part; `None`: the whole table.
    pub(super) condition: Option<String>,
    /// Number of parts, for titles.
    pub(super) part_count: u32,
    /// Rows arrive through an ancestor.
    pub(super) is_routed: bool,
    target_is_partitioned: bool,
    is_unlogged: bool,
    emptying: Emptying,
}

impl Task {
    /// Reads the facts of a unit. Errors: a ledger without them ([`Error::internal`]).
    pub(super) fn read(ledger: &Ledger, unit: &Unit) -> Result<Self> {
        let read = || -> rusqlite::Result<Option<Self>> {
            ledger
                .connection()
                .prepare_cached(
                    "select t.qname, coalesce(t.route_qname, t.qname), coalesce(c.columns, ''),
                            coalesce(c.format, 'text'), t.filenode, t.bytes,
                            coalesce(t.part_key, ''), t.route_qname is not null,
                            coalesce(c.target_kind, 'r'), t.persistence = 'u',
                            (select count(*) from s_part p
                              where p.table_oid = t.oid and p.plan = ?2),
                            coalesce(c.emptying, 'new'), c.select_list
                       from s_table t left join s_copy c on c.table_oid = t.oid
                      where t.oid = ?1",
                )?
                .query_row(params![unit.table_oid, unit.plan], |row| {
                    let format: String = row.get(3)?;
                    let kind: String = row.get(8)?;
                    Ok(Self {
                        qname: row.get(0)?,
                        target_qname: row.get(1)?,
                        columns: row.get(2)?,
                        attnums: attnums(ledger, unit)?,
                        is_binary: format == "binary",
                        filenode: row.get(4)?,
                        bytes: row.get(5)?,
                        condition: part_condition(ledger, unit, &row.get::<_, String>(6)?)?,
                        is_routed: row.get(7)?,
                        target_is_partitioned: kind == "p",
                        is_unlogged: row.get(9)?,
                        part_count: row.get(10)?,
                        emptying: Emptying::parse(&row.get::<_, String>(11)?),
                        select_list: row.get(12)?,
                        unit: unit.clone(),
                    })
                })
                .optional()
        };
        read()
            .map_err(|error| sqlite_error("read", &error))?
            .ok_or_else(|| {
                Error::internal(format!(
                    "unit {} copies table {}, which the ledger lacks",
                    unit.id, unit.table_oid
                ))
            })
    }

    /// Title for `ps` and `pg_stat_activity`.
    pub(super) fn title(&self) -> String {
        if self.unit.object == 0 {
            format!("copy {}", self.qname)
        } else {
            format!(
                "copy {} [{}/{}]",
                self.qname, self.unit.object, self.part_count
            )
        }
    }

    /// True when a row on the target says whether this unit took place, because its table is not
    /// emptied in the same transaction.
    pub(super) fn leaves_progress(&self) -> bool {
        self.emptying == Emptying::New && (self.unit.object != 0 || self.is_routed)
    }

    /// True for a part that leaves no record on the target: the number of its transaction is kept instead.
    pub(super) fn is_proven_by_number(&self) -> bool {
        self.emptying != Emptying::New && self.unit.object != 0
    }

    /// True for such a part that was tried before, and may be there.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.is_proven_by_number() && self.unit.attempts > 1
    }

    /// True when the target table must be emptied first. `fresh`: this run's own pre-data step
    /// created it. Only its first claim in such a run finds it empty for certain: a COMMIT whose
    /// answer or mark was lost would double the table.
    pub(super) fn must_truncate(&self, fresh: bool) -> bool {
        let is_whole = self.unit.object == 0;
        match self.emptying {
            Emptying::New | Emptying::Spread => {
                let is_new = fresh && self.unit.claims == 1 && self.unit.plan == 0;
                !self.leaves_progress() && !is_new
            }
            Emptying::Own | Emptying::Delete => is_whole,
            Emptying::Before => is_whole && (self.unit.attempts > 1 || self.unit.plan > 0),
        }
    }

    /// True when the rows are frozen as they arrive, which needs the table to be emptied in the same
    /// transaction.
    pub(super) fn freezes(&self, fresh: bool) -> bool {
        !self.leaves_progress()
            && !self.target_is_partitioned
            && !self.is_unlogged
            && match self.emptying {
                Emptying::New => self.must_truncate(fresh) || self.bytes >= FREEZE_FROM_BYTES,
                Emptying::Own => self.must_truncate(fresh),
                Emptying::Spread | Emptying::Before | Emptying::Delete => false,
            }
    }

    /// True for a table whose rows citus keeps on other servers: a scan of the table ONLY would be one of its own
    /// file, which is empty.
    pub(super) fn is_spread(&self) -> bool {
        self.emptying == Emptying::Spread
    }

    /// What a query reads.
    pub(super) fn read_from(&self) -> String {
        let only = if self.is_spread() { "" } else { "only " };
        format!("{only}{}", self.qname)
    }

    /// `COPY ... TO STDOUT` for the source.
    pub(super) fn copy_out_sql(&self) -> String {
        let format = if self.is_binary {
            " with (format binary)"
        } else {
            ""
        };
        let is_plain = self.select_list.is_none() && !self.columns.is_empty() && !self.is_spread();
        if is_plain && self.condition.is_none() {
            return format!("copy {} ({}) to stdout{format}", self.qname, self.columns);
        }
        let list = self.select_list.as_ref().unwrap_or(&self.columns);
        let condition = match &self.condition {
            Some(condition) => format!(" where {condition}"),
            None => String::new(),
        };
        format!(
            "copy (select {list} from {}{condition}) to stdout{format}",
            self.read_from()
        )
    }

    /// `COPY ... FROM STDIN` for the target.
    pub(super) fn copy_in_sql(&self, fresh: bool) -> String {
        let mut options = Vec::new();
        if self.is_binary {
            options.push("format binary");
        }
        if self.freezes(fresh) {
            options.push("freeze true");
        }
        let options = if options.is_empty() {
            String::new()
        } else {
            format!(" with ({})", options.join(", "))
        };
        let columns = if self.columns.is_empty() {
            String::new()
        } else {
            format!(" ({})", self.columns)
        };
        format!("copy {}{columns} from stdin{options}", self.target_qname)
    }

    /// What empties the target's table. An unlogged one may have to be copied again after a crash of
    /// the target, when foreign keys that refer to it forbid TRUNCATE.
    pub(super) fn truncate_sql(&self) -> String {
        let by_delete = match self.emptying {
            Emptying::New => self.is_unlogged,
            Emptying::Spread | Emptying::Own => false,
            Emptying::Before | Emptying::Delete => true,
        };
        if by_delete {
            return format!("delete from only {}", self.target_qname);
        }
        let only = if self.target_is_partitioned || self.is_spread() {
            ""
        } else {
            "only "
        };
        format!("truncate {only}{}", self.target_qname)
    }
}

/// Numbers of the columns that are copied, in the order of their names.
fn attnums(ledger: &Ledger, unit: &Unit) -> rusqlite::Result<Vec<u16>> {
    ledger
        .connection()
        .prepare_cached(
            "select attnum from s_attr where table_oid = ?1 and generated = 0 order by attnum",
        )?
        .query_map([unit.table_oid], |row| row.get(0))?
        .collect()
}

/// The condition of a part; `None` for a whole table.
fn part_condition(ledger: &Ledger, unit: &Unit, key: &str) -> rusqlite::Result<Option<String>> {
    if unit.object == 0 || unit.kind != crate::catalog::unit::Kind::Copy {
        return Ok(None);
    }
    ledger
        .connection()
        .prepare_cached(
            "select kind, low, high, with_null from s_part
              where table_oid = ?1 and plan = ?2 and part = ?3",
        )?
        .query_row(params![unit.table_oid, unit.plan, unit.object], |row| {
            let kind: String = row.get(0)?;
            let part = PartPlan {
                part: unit.object,
                kind: PartKind::parse(&kind).ok_or(rusqlite::Error::InvalidQuery)?,
                low: row.get(1)?,
                high: row.get(2)?,
                with_null: row.get(3)?,
            };
            Ok(Some(predicate(&part, key)))
        })
}
