//! `check --all-databases`: what stands in the way of a clone of all databases, one after the other.
//!
//! Runs in the main program, which does not fork for this. Reads both servers; changes nothing.

use super::databases::{self, Database};
use super::dry_run::Preview;
use super::instance::refuse_missing_tablespaces;
use super::settings::CloneSettings;
use super::survey;
use crate::check::{self, Connected, Findings, connect};
use crate::conninfo::ConnInfo;
use crate::error::{Error, Kind, Result};
use crate::pg::quote;
use crate::units::Side;

/// Looks at each database of the source, and at that of its name on the target where there is one.
pub(super) fn check_all(
    settings: &CloneSettings,
    (source, target): (&ConnInfo, &ConnInfo),
) -> Result<Preview> {
    let mut findings = Findings::default();
    check::look_at_host(&settings.dir, &mut findings);
    let from = findings.take(connect("check", source, Side::Source));
    let to = findings.take(connect("check", target, Side::Target));
    let (Some(mut from), Some(mut to)) = (from, to) else {
        return Ok(Preview::of(findings, serde_json::json!({})));
    };
    let together = check::versions(&from.facts, &to.facts, &mut findings).and_then(|()| {
        check::not_the_same_database(
            (&mut from.session, &from.facts),
            (&mut to.session, &to.facts),
        )
    });
    let workers = survey::workers(settings);
    check::look_at_machine(workers, (&mut from, &mut to), &mut findings)?;
    let mut names = Vec::new();
    if findings.take(together).is_some() {
        let all = databases::list(&mut from.session)?;
        if !settings.switches.no_tablespaces {
            findings.take(refuse_missing_tablespaces(&mut to, &all));
        }
        let one = One {
            settings: &of_one(settings),
            sides: (source, target),
        };
        let there = names_on(&mut to)?;
        let lacking: Vec<&Database> = all.iter().filter(|d| !there.contains(&d.name)).collect();
        findings.take(refuse_to_create(&to, &lacking));
        for database in &all {
            log::info!("Looking at database \"{}\"", database.name);
            let about = one.look(database, there.contains(&database.name), &mut to)?;
            findings.append_about(&database.name, about);
            names.push(database.name.clone());
        }
    }
    let about = serde_json::json!({
        "source": { "version": from.facts.version.to_string() },
        "target": { "version": to.facts.version.to_string() },
        "databases": names,
    });
    Ok(Preview::of(findings, about))
}

/// Settings as for each database: roles are copied before.
fn of_one(settings: &CloneSettings) -> CloneSettings {
    let mut settings = settings.clone();
    settings.switches.all_databases = false;
    settings.switches.roles = true;
    settings
}

struct One<'a> {
    settings: &'a CloneSettings,
    sides: (&'a ConnInfo, &'a ConnInfo),
}

impl One<'_> {
    fn look(&self, database: &Database, is_there: bool, to: &mut Connected) -> Result<Findings> {
        let name = &database.name;
        let source = self.sides.0.with_dbname(name);
        if is_there {
            let target = self.sides.1.with_dbname(name);
            let survey = survey::survey_sides(self.settings, &source, &target, None)?;
            return Ok(survey.findings);
        }
        let mut findings = Findings::default();
        let Some(mut from) = findings.take(connect("check", &source, Side::Source)) else {
            return Ok(findings);
        };
        let Some(selection) =
            findings.take(survey::selection(self.settings, &mut from, None, None))
        else {
            return Ok(findings);
        };
        let choices = survey::choices(self.settings, selection.left_out);
        let found = check::look_at_new(
            (&mut from.session, &from.facts),
            (&mut to.session, &to.facts),
            &choices,
        )?;
        findings.append(found);
        Ok(findings)
    }
}

fn names_on(target: &mut Connected) -> Result<Vec<String>> {
    let rows = target
        .session
        .query("select datname::text from pg_catalog.pg_database", &[])?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

fn refuse_to_create(target: &Connected, lacking: &[&Database]) -> Result<()> {
    if lacking.is_empty() || target.facts.role.can_create_db {
        return Ok(());
    }
    let me = quote::ident(&target.facts.role.rolname);
    let names: Vec<String> = lacking.iter().map(|d| quote::ident(&d.name)).collect();
    Err(Error::new(
        Kind::Target,
        format!("role {me} may not create databases on the target"),
    )
    .with_sqlstate("42501")
    .detail(format!("The target lacks: {}.", names.join(", ")))
    .hint(format!(
        "Run on the target: alter role {me} createdb; or create them there."
    )))
}
