//! The seam between copy and changes: what a table's copy showed already is not applied to it.
//!
//! Runs in the apply process, after a base copy that was resumed with a later snapshot. A change of table T
//! is dropped in transactions that end up to where T's copy ends, whatever becomes of the other changes of
//! the transaction; so it depends on nothing but T and the end, and a crash changes nothing. Ends that
//! BEGIN does not tell stand in the transaction index, which goes beyond the seam before anything is applied.

use super::recognize::Truncate;
use crate::catalog::TableStarts;
use crate::error::{Error, Result};
use crate::follow::files::CdcDir;
use crate::follow::source_table::SourceTables;
use crate::follow::txn_index::TxnIndex;
use crate::units::Lsn;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

/// Schema and name.
type Name = (String, String);

/// What is known of the seam.
#[derive(Debug)]
pub(super) struct Seam {
    starts: TableStarts,
    /// Tables at the top of partitions, with those.
    roots: HashMap<Name, Vec<Name>>,
    /// Partitions without rows of their own: what is partitioned again.
    between: HashSet<Name>,
    index: Option<TxnIndex>,
}

impl Seam {
    /// The seam, none where all that is to come lies behind it.
    pub(super) fn open(
        starts: TableStarts,
        tables: &SourceTables,
        cdc: &CdcDir,
        progress: Lsn,
    ) -> Result<Option<Rc<Self>>> {
        if progress >= starts.last() {
            return Ok(None);
        }
        let mut roots: HashMap<Name, Vec<Name>> = HashMap::new();
        let mut between = HashSet::new();
        for table in tables.all() {
            let Some(root) = &table.root else {
                continue;
            };
            let name = (table.schema.clone(), table.name.clone());
            if starts.knows(&name.0, &name.1) {
                roots.entry(root.clone()).or_default().push(name);
            } else {
                between.insert(name);
            }
        }
        log::info!(
            "Tables were copied from several snapshots: up to {}, changes that a copy showed are left out",
            starts.last()
        );
        Ok(Some(Rc::new(Self {
            starts,
            roots,
            between,
            index: TxnIndex::open(cdc)?,
        })))
    }

    /// Where a transaction ends that began there; none: behind the seam.
    pub(super) fn end_of(&self, xid: u32, begin: Lsn) -> Result<Option<Lsn>> {
        let Some(index) = &self.index else {
            return Ok(None);
        };
        let mut at = index.first_after(begin)?;
        while let Some(record) = index.get(at)? {
            if record.end_lsn > self.starts.last() {
                break;
            }
            if !record.is_boundary && record.xid == xid {
                return Ok(Some(record.end_lsn));
            }
            at += 1;
        }
        Ok(None)
    }

    /// Whether a change of that table is in its copy. Errors: the table stands for partitions that were
    /// copied from several snapshots.
    pub(super) fn drops(&self, table: &Name, end: Lsn) -> Result<bool> {
        let start = |name: &Name| self.starts.of(&name.0, &name.1);
        let Some(leaves) = self.roots.get(table) else {
            return Ok(end <= start(table));
        };
        let mut dropped = leaves.iter().map(|leaf| end <= start(leaf));
        let first = dropped.next().unwrap_or(false);
        if dropped.all(|one| one == first) {
            return Ok(first);
        }
        Err(Error::bad_state(format!(
            "changes come under the name of table \"{}\".\"{}\", whose partitions were copied from several snapshots",
            table.0, table.1
        ))
        .hint("Begin anew with --restart, or with a publication whose publish_via_partition_root is off."))
    }

    /// What is left of a TRUNCATE. Where something goes, partitions stand for the tables above them.
    pub(super) fn truncate(&self, mut truncate: Truncate, end: Lsn) -> Option<Truncate> {
        let is_copied = |name: &Name| end <= self.starts.of(&name.0, &name.1);
        let tables = std::mem::take(&mut truncate.tables);
        let leaves = |name: &Name| self.roots.get(name).cloned();
        let concerned =
            |name: &Name| leaves(name).map_or(is_copied(name), |all| all.iter().any(is_copied));
        if !tables.iter().any(concerned) {
            truncate.tables = tables;
            return Some(truncate);
        }
        let mut left: Vec<Name> = Vec::new();
        for table in tables {
            for one in leaves(&table).unwrap_or_else(|| vec![table]) {
                if !self.between.contains(&one) && !is_copied(&one) && !left.contains(&one) {
                    left.push(one);
                }
            }
        }
        truncate.tables = left;
        (!truncate.tables.is_empty()).then_some(truncate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::follow::source_table::{Identity, SourceTable};

    fn name(name: &str) -> Name {
        ("s".to_owned(), name.to_owned())
    }

    fn seam() -> Rc<Seam> {
        let leaf = |leaf: &str| SourceTable {
            oid: 0,
            schema: "s".to_owned(),
            name: leaf.to_owned(),
            columns: Vec::new(),
            identity: Identity::Full,
            root: Some(name("root")),
            excluded: false,
            rewritten: None,
        };
        let tables: SourceTables = [leaf("p1"), leaf("p2"), leaf("between")]
            .into_iter()
            .collect();
        let slot = |table| (name(table), Lsn::UNSET);
        let starts = TableStarts::of_list([
            (name("t"), Lsn(50)),
            (name("p1"), Lsn(70)),
            slot("p2"),
            slot("other"),
        ]);
        let folder = tempfile::tempdir().unwrap();
        let cdc = CdcDir::new(folder.path().to_path_buf());
        assert!(
            Seam::open(starts.clone(), &tables, &cdc, Lsn(70))
                .unwrap()
                .is_none()
        );
        Seam::open(starts, &tables, &cdc, Lsn(10)).unwrap().unwrap()
    }

    #[test]
    fn a_change_is_dropped_up_to_the_end_of_its_tables_copy() {
        let seam = seam();
        for (table, end, dropped) in [
            ("t", 50, true),
            ("t", 51, false),
            ("p1", 70, true),
            ("p2", 20, false),
            ("other", 20, false),
            ("root", 71, false),
        ] {
            assert_eq!(
                seam.drops(&name(table), Lsn(end)).unwrap(),
                dropped,
                "{table}"
            );
        }
        assert!(seam.drops(&name("root"), Lsn(60)).is_err());
    }

    #[test]
    fn a_truncate_keeps_the_tables_that_were_copied_before_it() {
        let seam = seam();
        let truncate = |tables: &[&str], end| {
            let all = Truncate {
                tables: tables.iter().map(|table| name(table)).collect(),
                restart: true,
            };
            seam.truncate(all, Lsn(end)).map(|left| left.tables)
        };
        assert_eq!(truncate(&["t", "other"], 40), Some(vec![name("other")]));
        assert_eq!(
            truncate(&["root", "between", "p1", "p2"], 60),
            Some(vec![name("p2")])
        );
        assert_eq!(
            truncate(&["root", "p1"], 80),
            Some(vec![name("root"), name("p1")])
        );
        assert_eq!(truncate(&["t", "p1"], 50), None);
    }
}
