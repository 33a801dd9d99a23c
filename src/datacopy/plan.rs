//! The plan: what is copied, how, and everything that stands in the way.
//!
//! Runs in the process that plans before the question, and again in the guard, inside the snapshot. Reads the
//! catalogs of both sides; writes `s_*` rows of a ledger, which before the question lives in memory. Changes
//! nothing on either server.

use super::compare::{self, Findings};
use super::facts::{self, Column, Relation, Relations};
use super::plan_keys;
use super::select;
use super::sequences::{self, Pairing};
use super::settings::CopySettings;
use super::surroundings;
use crate::catalog::{DataPlan, Ledger, PLAN_FORMAT, PlanSide, PlanTable, sqlite_error};
use crate::error::{Context, Result};
use crate::fkey::discover::{Key, Mode, Selection, Trigger};
use crate::pg::{PgSession, quote};
use crate::schema::copy_format::{self, Format, FormatFacts, FormatPolicy};
use crate::schema::select_list;
use crate::schema::server::ServerFacts;
use crate::schema::split::{PlanOptions, plan_all};
use crate::schema::{FetchOptions, fetch_attributes, fetch_tables};
use crate::units::Oid;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// Both sides, as the planner needs them.
pub(super) struct Sides<'s> {
    pub(super) source: (&'s mut PgSession, &'s ServerFacts, PlanSide),
    pub(super) target: (&'s mut PgSession, &'s ServerFacts, PlanSide),
}

/// How a table is emptied before its rows arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Emptying {
    /// TRUNCATE in the transaction of its rows.
    Own,
    /// DELETE in the transaction of its rows.
    Delete,
    /// Beforehand, by a statement of the guard.
    Before,
}

impl Emptying {
    /// The word in the ledger.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Delete => "delete",
            Self::Before => "before",
        }
    }
}

/// A table as it will be copied.
#[derive(Clone, Debug)]
pub(super) struct TableCopy {
    /// On the source.
    pub(super) oid: Oid,
    /// On the target.
    pub(super) target_oid: Oid,
    pub(super) qname: String,
    /// Quoted, comma-separated.
    pub(super) columns: String,
    /// What the source is asked for; `None`: the columns.
    pub(super) select_list: Option<String>,
    pub(super) format: Format,
    pub(super) emptying: Emptying,
    pub(super) parts: u32,
    /// Emptied together with these, by position in [`Drawn::groups`].
    pub(super) group: Option<usize>,
}

/// Tables that one TRUNCATE names.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) sql: String,
    /// On the source.
    pub(super) tables: Vec<Oid>,
}

/// A plan with what the run needs beside it.
#[derive(Clone, Debug, Default)]
pub(super) struct Drawn {
    pub(super) plan: DataPlan,
    pub(super) faults: Vec<String>,
    /// How many of these faults mode keep would not have, and how many keys it would not check.
    pub(super) keys_to_keep: Option<(usize, usize)>,
    pub(super) mode: Option<Mode>,
    pub(super) copies: Vec<TableCopy>,
    pub(super) groups: Vec<Group>,
    /// Keys of the target.
    pub(super) keys: Vec<Key>,
    /// Keys that stay and are not checked while rows arrive; at the end of planning, those to check after it.
    pub(super) unchecked: Vec<Oid>,
    /// Roots of the keys that are removed.
    pub(super) removed: BTreeSet<Oid>,
    /// Triggers that are switched off.
    pub(super) triggers: Vec<Trigger>,
    /// Tables and those that must be complete before; oids of the source.
    pub(super) copy_after: Vec<(Oid, Oid)>,
    pub(super) sequences: Vec<Pairing>,
}

/// One selected table on both sides.
struct Twin<'r> {
    from: &'r Relation,
    to: &'r Relation,
}

/// Draws the plan. Both sessions are in a transaction, the source's in the snapshot where there is one. Blocks.
pub(super) fn draw(
    sides: &mut Sides<'_>,
    ledger: &mut Ledger,
    settings: &CopySettings,
) -> Result<Drawn> {
    let source = facts::read_relations(sides.source.0)
        .context(|| "reading the source's tables".to_owned())?;
    let target = facts::read_relations(sides.target.0)
        .context(|| "reading the target's tables".to_owned())?;
    let selected = select::select(&source, &settings.choice);
    let mut findings = Findings {
        faults: selected.faults,
        warnings: selected.warnings,
    };
    let mut twins: Vec<Twin<'_>> = Vec::new();
    for from in &selected.tables {
        if let Some(to) = compare::relation((&source, from), &target, &mut findings) {
            twins.push(Twin { from, to });
        }
    }
    if selected.tables.is_empty() && findings.faults.is_empty() {
        findings.faults.push("no table is selected".to_owned());
    }
    twins.sort_by(|a, b| {
        let key = |t: &Twin<'_>| {
            (
                std::cmp::Reverse(t.from.bytes),
                t.from.schema.clone(),
                t.from.name.clone(),
            )
        };
        key(a).cmp(&key(b))
    });
    let columns = read_columns(sides, &twins, &mut findings)?;
    let mut drawn = Drawn::default();
    let selection = selection_of(&target, &twins);
    plan_keys::handle_keys(
        sides,
        (&target, &selection),
        settings,
        (&mut drawn, &mut findings),
    )?;
    fetch(sides, ledger, settings, &twins)?;
    let parts = parts_of(ledger)?;
    plan_tables(
        sides,
        (&twins, &columns),
        &parts,
        (settings, &mut drawn, &mut findings),
    )?;
    sequences::plan(
        sides,
        settings,
        &twins_of(&twins, &source),
        (&mut drawn, &mut findings),
    )?;
    drawn.plan.left_out = selected.left_out;
    surroundings::warn_of_surroundings(sides, settings, &drawn, &mut findings)?;
    let names = surroundings::Names {
        copied: twins.iter().map(|twin| twin.from.shown()).collect(),
        touched: twins_of(&twins, &source)
            .iter()
            .map(|(schema, name)| format!("{schema}.{name}"))
            .collect(),
    };
    surroundings::compare_keys(sides, (settings, &names), &mut drawn, &mut findings)?;
    Ok(finish(sides, settings, drawn, findings))
}

/// Names of selected tables and of the partitioned tables above them.
fn twins_of(twins: &[Twin<'_>], source: &Relations) -> HashSet<(String, String)> {
    twins
        .iter()
        .flat_map(|twin| std::iter::once(twin.from).chain(source.ancestors(twin.from)))
        .map(|relation| (relation.schema.clone(), relation.name.clone()))
        .collect()
}

fn finish(
    sides: &Sides<'_>,
    settings: &CopySettings,
    mut drawn: Drawn,
    findings: Findings,
) -> Drawn {
    let plan = &mut drawn.plan;
    plan.format = PLAN_FORMAT;
    plan.source = sides.source.2.clone();
    plan.target = sides.target.2.clone();
    plan.workers = settings.jobs;
    plan.one_snapshot = !settings.switches.no_snapshot;
    plan.insert = settings.insert;
    plan.warnings = findings.warnings;
    drawn.faults = findings.faults;
    drawn
}

/// Columns of both sides by the oid of the source's table.
type BothColumns = BTreeMap<Oid, (Vec<Column>, Vec<Column>)>;

fn read_columns(
    sides: &mut Sides<'_>,
    twins: &[Twin<'_>],
    findings: &mut Findings,
) -> Result<BothColumns> {
    let ours: Vec<Oid> = twins.iter().map(|twin| twin.from.oid).collect();
    let theirs: Vec<Oid> = twins.iter().map(|twin| twin.to.oid).collect();
    let mut from = facts::read_columns(sides.source.0, &ours)?;
    let mut to = facts::read_columns(sides.target.0, &theirs)?;
    let mut both = BTreeMap::new();
    for twin in twins {
        let ours = from.remove(&twin.from.oid).unwrap_or_default();
        let theirs = to.remove(&twin.to.oid).unwrap_or_default();
        compare::columns(&twin.from.shown(), &ours, &theirs, findings);
        compare::privileges((twin.from, &ours), twin.to, findings);
        both.insert(twin.from.oid, (ours, theirs));
    }
    Ok(both)
}

/// The selected tables of the target, and the partitioned ones above them.
fn selection_of(target: &Relations, twins: &[Twin<'_>]) -> Selection {
    let leaves: BTreeSet<Oid> = twins.iter().map(|twin| twin.to.oid).collect();
    let mut partly = BTreeSet::new();
    let mut not_wholly = BTreeSet::new();
    for relation in target.all.iter().filter(|relation| relation.kind != "p") {
        for above in target.ancestors(relation) {
            if leaves.contains(&relation.oid) {
                partly.insert(above.oid);
            } else {
                not_wholly.insert(above.oid);
            }
        }
    }
    let wholly = partly.difference(&not_wholly).copied().collect();
    Selection {
        leaves,
        partly,
        wholly,
    }
}

/// Fills the ledger's rows of the selected tables, and plans parts.
fn fetch(
    sides: &mut Sides<'_>,
    ledger: &mut Ledger,
    settings: &CopySettings,
    twins: &[Twin<'_>],
) -> Result<()> {
    let (session, from, _) = &mut sides.source;
    let options = FetchOptions {
        version: from.version,
        estimate_sizes: false,
        encodings_differ: false,
    };
    let split = PlanOptions {
        version: from.version,
        part_bytes: if settings.switches.no_snapshot {
            0
        } else {
            settings.split_bytes
        },
        max_parts: 0,
        skip_by_ctid: false,
    };
    let oids: Vec<Oid> = twins.iter().map(|twin| twin.from.oid).collect();
    let list = serde_json::json!(oids).to_string();
    ledger.write(|tx| {
        fetch_tables(&mut session.client, tx, &options)?;
        tx.execute(
            "delete from s_table where oid not in (select value from json_each(?1))",
            [&list],
        )
        .map_err(|error| sqlite_error("write", &error))?;
        fetch_attributes(&mut session.client, tx, from.version)?;
        plan_all(tx, &mut session.client, &split)?;
        // A crash of the target empties unlogged tables, and parts that arrive later would hide that.
        tx.execute(
            "delete from s_part where table_oid in (select oid from s_table where persistence = 'u')",
            [],
        )
        .map(|_| ())
        .map_err(|error| sqlite_error("write", &error))
    })
}

fn parts_of(ledger: &Ledger) -> Result<HashMap<Oid, u32>> {
    let read = || -> rusqlite::Result<HashMap<Oid, u32>> {
        ledger
            .connection()
            .prepare("select table_oid, count(*) from s_part group by table_oid")?
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect()
    };
    read().map_err(|error| sqlite_error("read", &error))
}

/// Settles how each table is emptied and copied.
fn plan_tables(
    sides: &mut Sides<'_>,
    (twins, columns): (&[Twin<'_>], &BothColumns),
    parts: &HashMap<Oid, u32>,
    (settings, drawn, findings): (&CopySettings, &mut Drawn, &mut Findings),
) -> Result<()> {
    let facts = FormatFacts {
        same_datetimes: sides.source.1.integer_datetimes == sides.target.1.integer_datetimes,
        target_version: sides.target.1.version,
        source_types: HashMap::new(),
        target_types: HashMap::new(),
    };
    let whole: HashSet<Oid> = drawn
        .copies
        .iter()
        .filter(|copy| copy.parts == 1)
        .map(|copy| copy.target_oid)
        .collect();
    let of_source: HashMap<Oid, Oid> = twins.iter().map(|t| (t.to.oid, t.from.oid)).collect();
    drawn.copies.clear();
    for twin in twins {
        let group = drawn
            .groups
            .iter()
            .position(|group| group.tables.contains(&twin.to.oid));
        let parts = match parts.get(&twin.from.oid) {
            Some(parts) if !whole.contains(&twin.to.oid) => *parts,
            _ => 1,
        };
        let emptying = emptying_of(twin.to, group.is_some() || parts > 1, findings);
        if settings.insert.is_some() && twin.to.has_rule {
            findings.faults.push(format!(
                "target: table {} has an INSERT rule, which --insert would obey and COPY does not",
                twin.to.shown()
            ));
        }
        if emptying != Emptying::Own && twin.to.has_delete_rule {
            findings.faults.push(format!(
                "target: table {} may have to be emptied by DELETE, and has a rule that would do something else; \
                 run there: grant truncate on {} to the role, or drop the rule",
                twin.to.shown(),
                twin.to.qname()
            ));
        }
        let linked = group
            .and_then(|at| drawn.groups.get(at))
            .map_or(0, |g| g.tables.len());
        let (ours, theirs) = columns.get(&twin.from.oid).cloned().unwrap_or_default();
        let (rows, rows_exact) = rows_of(sides, settings, twin.from)?;
        drawn.plan.tables.push(PlanTable {
            schema: twin.from.schema.clone(),
            table: twin.from.name.clone(),
            rows,
            rows_exact,
            bytes: twin.from.bytes,
            parts,
            how: how_of(emptying, parts, linked, settings),
            columns: copied(&ours).map(|column| column.name.clone()).collect(),
        });
        let (ours_typed, theirs_typed) = (typed(&ours), typed(&theirs));
        let format = if settings.insert.is_some() {
            Format::Text
        } else {
            copy_format::copy_format(&ours_typed, &theirs_typed, FormatPolicy::Auto, &facts)
        };
        let names: Vec<String> = copied(&ours).map(|c| quote::ident(&c.name)).collect();
        drawn.copies.push(TableCopy {
            oid: twin.from.oid,
            target_oid: twin.to.oid,
            qname: twin.to.qname(),
            columns: names.join(", "),
            select_list: select_list::select_list(&ours_typed, &theirs_typed),
            format,
            emptying,
            parts,
            group,
        });
    }
    for oid in drawn.groups.iter_mut().flat_map(|group| &mut group.tables) {
        *oid = of_source.get(oid).copied().unwrap_or(0);
    }
    for (child, parent) in &mut drawn.copy_after {
        *child = of_source.get(child).copied().unwrap_or(0);
        *parent = of_source.get(parent).copied().unwrap_or(0);
    }
    Ok(())
}

fn copied(columns: &[Column]) -> impl Iterator<Item = &Column> {
    columns.iter().filter(|column| column.generated.is_empty())
}

fn typed(columns: &[Column]) -> Vec<copy_format::Column> {
    copied(columns)
        .map(|column| copy_format::Column {
            attname: quote::ident(&column.name),
            type_oid: column.type_oid,
            typmod: column.typmod,
        })
        .collect()
}

fn emptying_of(to: &Relation, before: bool, findings: &mut Findings) -> Emptying {
    match (to.can_truncate, to.can_delete) {
        (true, _) if before => Emptying::Before,
        (true, _) => Emptying::Own,
        (false, true) if !before => Emptying::Delete,
        (false, true) => {
            findings.faults.push(format!(
                "target: no TRUNCATE on {}, which is emptied before its rows arrive; run there: grant \
                 truncate on {} to the role",
                to.shown(),
                to.qname()
            ));
            Emptying::Before
        }
        (false, false) => {
            findings.faults.push(format!(
                "target: neither TRUNCATE nor DELETE on {}; run there: grant truncate on {} to the role",
                to.shown(),
                to.qname()
            ));
            Emptying::Own
        }
    }
}

fn how_of(emptying: Emptying, parts: u32, linked: usize, settings: &CopySettings) -> String {
    let verb = if settings.insert.is_some() {
        "INSERT"
    } else {
        "COPY"
    };
    match (emptying, parts, linked) {
        (Emptying::Own, ..) => format!("TRUNCATE and {verb} in one"),
        (Emptying::Delete, ..) => format!("DELETE and {verb} in one"),
        (Emptying::Before, 1, linked) => format!("TRUNCATE of {linked} linked tables, then {verb}"),
        (Emptying::Before, _, 0) => format!("TRUNCATE, then {verb} in parts"),
        (Emptying::Before, _, linked) => {
            format!("TRUNCATE of {linked} linked tables, then {verb} in parts")
        }
    }
}

fn rows_of(
    sides: &mut Sides<'_>,
    settings: &CopySettings,
    from: &Relation,
) -> Result<(Option<u64>, bool)> {
    if !settings.switches.exact_rows {
        return Ok((from.rows, false));
    }
    let count: i64 = sides
        .source
        .0
        .query_one(&format!("select count(*) from only {}", from.qname()), &[])
        .context(|| format!("counting the rows of {}", from.shown()))?
        .get(0);
    Ok((u64::try_from(count).ok(), true))
}
