//! `check` and `--dry-run`: what a clone would do, found out without a change on either side or in the work
//! directory.
//!
//! Runs in the main program, which does not fork for this. Reads both servers; the ledger is in
//! memory.

use super::prepare::Connected;
use super::settings::CloneSettings;
use super::survey::{self, Survey};
use crate::catalog::{Ledger, sqlite_error};
use crate::check::{Findings, FollowChoices};
use crate::conninfo::ConnInfo;
use crate::error::{Context, Result};
use crate::filter::{self, Explained, Selection, What};
use crate::schema::split::{PlanOptions, plan_all};
use crate::schema::{FetchCounts, FetchOptions, fetch_all};
use crate::units::{pretty_bytes, pretty_count};

/// One table of the plan.
#[derive(serde::Serialize)]
struct PlannedTable {
    qname: String,
    bytes: i64,
    parts: i64,
}

/// What a run would be like: what was found, and what it would copy.
#[derive(Debug, Default)]
pub struct Preview {
    /// What stands in its way, and what to know.
    pub findings: Findings,
    /// What is known about the sides and the copy; as text and as JSON.
    about: (String, serde_json::Value),
}

impl Preview {
    /// What was found, and what is known for programs.
    pub(super) fn of(findings: Findings, about: serde_json::Value) -> Self {
        let about = (String::new(), about);
        Self { findings, about }
    }

    /// For people.
    pub fn text(&self) -> String {
        format!("{}{}", self.about.0, self.findings.text())
    }

    /// For programs.
    pub fn json(&self) -> String {
        let mut document = serde_json::json!({
            "format": 1, "verdict": self.findings.verdict().word(),
        });
        if let (Some(all), Some(about)) = (document.as_object_mut(), self.about.1.as_object()) {
            all.extend(about.clone());
        }
        document["findings"] = self.findings.json();
        format!("{document:#}\n")
    }
}

/// Looks at both sides, and at nothing but what stands in the way.
pub(super) fn check(
    settings: &CloneSettings,
    (source, target): (&ConnInfo, &ConnInfo),
    follow: Option<&FollowChoices>,
) -> Result<Preview> {
    let survey = survey::survey(settings, source, target, follow)?;
    let about = about_sides(&survey);
    Ok(Preview {
        findings: survey.findings,
        about: (calls_text(&survey.calls), about),
    })
}

/// Looks at both sides, and plans the copy if they can work together.
pub(super) fn plan(
    settings: &CloneSettings,
    source: &ConnInfo,
    target: &ConnInfo,
) -> Result<Preview> {
    let mut survey = survey::survey(settings, source, target, None)?;
    let mut about = about_sides(&survey);
    let mut shown = String::new();
    if let Some((source, target)) = &mut survey.sides {
        let mut ledger = Ledger::in_memory()?;
        filter::store(ledger.connection(), &survey.selection.explained)?;
        // Tables that may not be read cannot be planned; that is a finding already.
        if let Some(counts) = survey
            .findings
            .take(fetch(settings, source, target, &mut ledger))
        {
            let tables = tables(&ledger)?;
            shown = filters_text(&survey.selection)
                + &calls_text(&survey.calls)
                + &text(&tables, &counts);
            about["filters"] = filters_json(&survey.selection);
            about["tables"] = serde_json::to_value(&tables).unwrap_or_default();
            about["indexes"] = counts.indexes.into();
            about["constraints"] = counts.constraints.into();
            about["foreign-keys"] = counts.foreign_keys.into();
            about["sequences"] = counts.sequences.into();
            about["large-objects"] = counts.has_large_objects.into();
        }
    }
    Ok(Preview {
        findings: survey.findings,
        about: (shown, about),
    })
}

fn about_sides(survey: &Survey) -> serde_json::Value {
    let Some((source, target)) = &survey.sides else {
        return serde_json::json!({});
    };
    let tools = survey.tools.as_ref();
    serde_json::json!({
        "source": {
            "version": source.facts.version.to_string(), "in-recovery": source.facts.in_recovery,
        },
        "target": { "version": target.facts.version.to_string() },
        "tools": tools.map(|tools| {
            serde_json::json!({ "dir": tools.dir, "version": tools.version.to_string() })
        }),
        "calls": survey.calls,
    })
}

fn fetch(
    settings: &CloneSettings,
    source: &mut Connected,
    target: &Connected,
    ledger: &mut Ledger,
) -> Result<FetchCounts> {
    source
        .session
        .batch_execute("begin isolation level repeatable read, read only")?;
    let version = source.facts.version;
    let options = FetchOptions {
        version,
        estimate_sizes: settings.switches.estimate_sizes,
        encodings_differ: source.facts.database.encoding != target.facts.database.encoding,
    };
    let plan = PlanOptions {
        version,
        part_bytes: settings.split_bytes,
        max_parts: u64::from(settings.split_max_parts),
        skip_by_ctid: settings.switches.skip_ctid_split,
    };
    let client = &mut source.session.client;
    ledger.write(|tx| {
        let counts = fetch_all(client, tx, &options)
            .context(|| "fetching the catalogs of the source".to_owned())?;
        plan_all(tx, client, &plan)?;
        super::read::whole_tables(tx)?;
        Ok(counts)
    })
}

fn tables(ledger: &Ledger) -> Result<Vec<PlannedTable>> {
    let read = || -> rusqlite::Result<Vec<PlannedTable>> {
        ledger
            .connection()
            .prepare(
                "select qname, bytes, (select count(*) from s_part p where p.table_oid = t.oid)
                   from s_table t where is_extension = 0 and exclude_data = 0 order by bytes desc, qname",
            )?
            .query_map([], |row| {
                let parts: i64 = row.get(2)?;
                Ok(PlannedTable {
                    qname: row.get(0)?,
                    bytes: row.get(1)?,
                    parts: parts.max(1),
                })
            })?
            .collect()
    };
    read().map_err(|error| sqlite_error("read", &error))
}

/// What filters leave out and keep, with reasons; parts are not told one by one.
fn filters_json(selection: &Selection) -> serde_json::Value {
    let of = |what: What| -> Vec<serde_json::Value> {
        let told = selection.explained.iter().filter(|e| e.what == what);
        told.map(|e| {
            serde_json::json!({
                "catalog": e.id.0, "oid": e.id.1, "type": e.kind, "identity": e.name,
                "reason": e.reason, "hanging": e.is_hanging,
            })
        })
        .collect()
    };
    serde_json::json!({
        "left-out": of(What::Object), "without-rows": of(What::Rows), "kept": of(What::Kept),
        "warnings": selection.warnings,
    })
}

/// What is called on the target for extensions of the source.
fn calls_text(calls: &[String]) -> String {
    let lines = calls.iter().flat_map(|call| [call.as_str(), "\n"]);
    lines.collect()
}

fn filters_text(selection: &Selection) -> String {
    let line = |e: &Explained| {
        let (kind, name, reason) = (&e.kind, &e.name, &e.reason);
        match e.what {
            What::Object => format!("LEAVE OUT {kind} {name}: {reason}\n"),
            What::Rows => format!("WITHOUT ROWS {kind} {name}: {reason}\n"),
            What::Kept => format!("KEEP {kind} {name}: {reason}\n"),
            What::Part => String::new(),
        }
    };
    selection.explained.iter().map(line).collect()
}

fn text(tables: &[PlannedTable], counts: &FetchCounts) -> String {
    /// Tables that are listed by name; the rest is counted.
    const LISTED_MAX: usize = 50;
    let bytes = |value: i64| pretty_bytes(u64::try_from(value).unwrap_or(0));
    let mut lines: Vec<String> = tables
        .iter()
        .take(LISTED_MAX)
        .map(|table| match table.parts {
            1 => format!("COPY {} ({})", table.qname, bytes(table.bytes)),
            parts => format!(
                "COPY {} ({}) in {parts} parts",
                table.qname,
                bytes(table.bytes)
            ),
        })
        .collect();
    if tables.len() > LISTED_MAX {
        lines.push(format!(
            "... and {} smaller tables",
            tables.len() - LISTED_MAX
        ));
    }
    lines.push(format!(
        "{} tables with {}, {} indexes, {} constraints, {} foreign keys, {} sequences, {}",
        pretty_count(tables.len() as u64),
        bytes(tables.iter().map(|table| table.bytes).sum()),
        pretty_count(counts.indexes),
        pretty_count(counts.constraints),
        pretty_count(counts.foreign_keys),
        pretty_count(counts.sequences),
        if counts.has_large_objects {
            "large objects"
        } else {
            "no large objects"
        }
    ));
    lines.push("Nothing was changed, per --dry-run".to_owned());
    lines.join("\n") + "\n"
}
