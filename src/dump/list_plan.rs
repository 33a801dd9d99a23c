//! Deciding which entries of an archive `pg_restore` restores, and which are left out, and why.
//!
//! Pure; runs in the restore process. Takes the whole list and what is known of both servers, gives
//! the lists of pre-data and post-data. The first reason that applies wins; the order of entries never
//! changes. An entry that is not understood is kept. It must not read names out of the list's text,
//! which quotes nothing: objects are known by catalog and oid, by what they depend on, or by equality
//! with text made from names.

use crate::dump::archive_list::{
    Entry, PG_COLLATION, PG_EXTENSION, PG_NAMESPACE, PG_PUBLICATION, Section, index_by_id, print,
};
use crate::units::Oid;
use std::collections::{BTreeMap, BTreeSet};

/// Rows `(desc, nspname, tag)` of what post-data objects the target has already.
pub const LIST_EXISTING: &str = include_str!("sql/list_existing.sql");
/// The same for schemas within publications, which servers have from PostgreSQL 15 on.
pub const LIST_EXISTING_PUBLICATION_SCHEMAS: &str =
    include_str!("sql/list_existing_publication_schemas.sql");

/// What the user leaves out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Skip {
    /// `--skip-extensions`: extensions, their comments, schemas that hold nothing else.
    Extensions,
    /// `--skip-ext-comments`: comments on extensions.
    ExtensionComments,
    /// `--skip-collations`: collations with their comments.
    Collations,
    /// `--no-owner`: nobody's ownership is restored.
    Owners,
}

/// Which extensions the archive restores.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ExtensionRule {
    /// All.
    #[default]
    All,
    /// All but these names.
    AllBut(BTreeSet<String>),
    /// Only these names.
    Only(BTreeSet<String>),
    /// None, with `--requirements` we create them; their comments stay.
    Ours,
}

impl ExtensionRule {
    fn leaves_out(&self, name: Option<&str>) -> bool {
        match (self, name) {
            (Self::AllBut(names), Some(name)) => names.contains(name),
            (Self::Only(names), Some(name)) => !names.contains(name),
            _ => false,
        }
    }
}

/// What is known of a schema of the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceSchema {
    /// Raw name.
    pub name: String,
    /// Raw name of the owner.
    pub owner: String,
}

/// What the decisions rest on.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// What the user leaves out.
    pub skips: BTreeSet<Skip>,
    /// Which extensions are restored.
    pub extensions: ExtensionRule,
    /// Source extensions by oid, raw names.
    pub extension_names: BTreeMap<Oid, String>,
    /// Schemas of the source by oid.
    pub schemas: BTreeMap<Oid, SourceSchema>,
    /// Oids of source schemas that hold nothing but extensions.
    pub extension_schemas: BTreeSet<Oid>,
    /// Schema `public` of the target keeps its owner.
    pub public_stays: bool,
    /// Raw names of extensions that the target has and that another role owns: their comments cannot be set.
    pub foreign_extensions: BTreeSet<String>,
    /// Raw names of the schemas that the target has.
    pub target_schemas: BTreeSet<String>,
    /// Objects that filters leave out: catalog and oid.
    pub filtered: BTreeSet<(Oid, Oid)>,
    /// Materialized views that are made and not filled.
    pub unfilled: BTreeSet<Oid>,
    /// Entries that filters leave out by text: description, and schema and tag with a space between.
    pub filtered_texts: BTreeSet<(String, String)>,
    /// Indexes (1259), constraints and foreign keys (2606) that our workers make: catalog and oid.
    pub built: BTreeSet<(Oid, Oid)>,
    /// Oids of publications of ours on the source, made for following.
    pub own_publications: BTreeSet<Oid>,
    /// What the target has of post-data already: description, and schema (or `-`) and tag with a space
    /// between, line ends replaced by spaces.
    pub existing: BTreeSet<(String, String)>,
    /// Raw names of the source's roles: an owner at the end of a line is recognised by them.
    pub owners: BTreeSet<String>,
}

/// Why an entry is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Properties of the database are ours to set.
    Database,
    /// Large objects are ours to copy, with owner, privileges and comment.
    LargeObject,
    /// A filter names it.
    Filtered,
    /// It cannot stand without this entry, which is left out.
    Needs(i32),
    /// It belongs to this entry, which is left out.
    Attached(i32),
    /// The target has a schema of that name.
    SchemaExists,
    /// Extensions, or this one, are left out.
    Extension,
    /// We create extensions ourselves; their comments stay.
    ExtensionOurs,
    /// Comments on extensions, or on this one, are left out.
    ExtensionComment,
    /// Collations are left out.
    Collation,
    /// Our workers make it.
    Built,
    /// It is our own publication.
    OwnPublication,
    /// It comes with the last list, as it would fire on what we do ourselves.
    Later,
    /// The target has it from an earlier attempt.
    Exists,
}

/// A decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edit<'a> {
    /// What it is about.
    pub entry: &'a Entry,
    /// Why it is left out; `None` keeps it.
    pub dropped: Option<Reason>,
}

/// The list for pre-data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreDataPlan<'a> {
    /// One for each entry of the section, in order.
    pub edits: Vec<Edit<'a>>,
    /// Schemas that the target has already, to be given this owner: raw name and raw owner.
    pub owed_owners: Vec<(String, String)>,
}

/// The lists for post-data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostDataPlan<'a> {
    /// One for each entry of the section, in order; event triggers are left out.
    pub main: Vec<Edit<'a>>,
    /// The same entries, all but event triggers left out: restored after everything else.
    pub last: Vec<Edit<'a>>,
}

/// Narrows a plan to entries of its own kind: those that fail the test come in another pass.
pub fn narrowed<'a>(edits: &[Edit<'a>], wanted: impl Fn(&Entry) -> bool) -> Vec<Edit<'a>> {
    let narrow = |edit: &Edit<'a>| Edit {
        dropped: edit
            .dropped
            .or((!wanted(edit.entry)).then_some(Reason::Later)),
        ..*edit
    };
    edits.iter().map(narrow).collect()
}

/// Prints a plan for `--use-list`.
pub fn print_edits(edits: &[Edit<'_>]) -> String {
    print(
        edits
            .iter()
            .map(|edit| (edit.entry, edit.dropped.is_none())),
    )
}

/// The entries that a plan keeps.
pub fn kept<'a>(edits: &[Edit<'a>]) -> Vec<&'a Entry> {
    edits
        .iter()
        .filter(|edit| edit.dropped.is_none())
        .map(|edit| edit.entry)
        .collect()
}

/// Plans pre-data. `entries` is the whole list with sections assigned.
pub fn plan_pre_data<'a>(entries: &'a [Entry], facts: &Facts) -> PreDataPlan<'a> {
    let reasons = decide(entries, facts);
    let edits = edits_of(entries, &reasons, Section::PreData);
    let owed = edits
        .iter()
        .filter(|edit| edit.dropped == Some(Reason::SchemaExists));
    let owed_owners = owed
        .filter(|_| !facts.skips.contains(&Skip::Owners))
        .filter_map(|edit| facts.schemas.get(&edit.entry.object_oid))
        .map(|schema| (schema.name.clone(), schema.owner.clone()))
        .collect();
    PreDataPlan { edits, owed_owners }
}

/// Narrows a plan to its schemas, for the pass that must come before extensions of our own making.
pub fn schemas_only<'a>(plan: &PreDataPlan<'a>) -> Vec<Edit<'a>> {
    let is_schema = |entry: &Entry| entry.catalog_oid == PG_NAMESPACE && entry.desc == "SCHEMA";
    let narrowed = plan.edits.iter().map(|edit| Edit {
        dropped: edit
            .dropped
            .or((!is_schema(edit.entry)).then_some(Reason::Later)),
        ..*edit
    });
    narrowed.collect()
}

/// Plans post-data. `entries` is the whole list with sections assigned, as what is left out of
/// pre-data takes its indexes, triggers and the like along.
pub fn plan_post_data<'a>(entries: &'a [Entry], facts: &Facts) -> PostDataPlan<'a> {
    let reasons = decide(entries, facts);
    let by_id = index_by_id(entries);
    let is_last = |entry: &Entry| {
        let owner = entry
            .depends_on
            .iter()
            .find_map(|id| entries.get(*by_id.get(id)?));
        let of = if entry.is_attachment() {
            owner
        } else {
            Some(entry)
        };
        of.is_some_and(|of| of.desc == "EVENT TRIGGER")
    };
    let edits = edits_of(entries, &reasons, Section::PostData);
    let keep_if = |wanted: bool| {
        let chosen = edits.iter().map(move |edit| Edit {
            dropped: edit
                .dropped
                .or((is_last(edit.entry) != wanted).then_some(Reason::Later)),
            ..*edit
        });
        chosen.collect::<Vec<Edit<'a>>>()
    };
    PostDataPlan {
        main: keep_if(false),
        last: keep_if(true),
    }
}

/// Entries that the target does not get, as the user leaves them out or as they cannot stand without what is left
/// out, in the order of the archive.
pub fn left_behind<'a>(entries: &'a [Entry], facts: &Facts) -> Vec<(&'a Entry, Reason)> {
    let reasons = decide(entries, facts);
    let is_left = |reason: Reason| {
        use Reason::{Collation, Extension, ExtensionComment, Filtered, Needs};
        matches!(
            reason,
            Filtered | Needs(_) | Extension | ExtensionComment | Collation
        )
    };
    let of = |entry: &'a Entry| {
        let reason = *reasons.get(&entry.dump_id)?;
        let root = match reason {
            Reason::Attached(id) => *reasons.get(&id)?,
            other => other,
        };
        (entry.section.is_some() && is_left(root)).then_some((entry, reason))
    };
    entries.iter().filter_map(of).collect()
}

fn edits_of<'a>(
    entries: &'a [Entry],
    reasons: &BTreeMap<i32, Reason>,
    section: Section,
) -> Vec<Edit<'a>> {
    let chosen = entries
        .iter()
        .filter(|entry| entry.section == Some(section));
    chosen
        .map(|entry| Edit {
            entry,
            dropped: reasons.get(&entry.dump_id).copied(),
        })
        .collect()
}

/// Decides about every entry: first each for itself, then those that follow another one.
fn decide(entries: &[Entry], facts: &Facts) -> BTreeMap<i32, Reason> {
    let mut reasons: BTreeMap<i32, Reason> = BTreeMap::new();
    let by_id = index_by_id(entries);
    for entry in entries {
        let is_alone = || {
            let alone = !facts.filtered.is_empty() && lacks_parent(entry, entries, &by_id);
            alone.then_some(Reason::Filtered)
        };
        if let Some(reason) = own_reason(entry, facts).or_else(is_alone) {
            reasons.insert(entry.dump_id, reason);
        }
    }
    keep_schemas_of_extensions(entries, &by_id, &mut reasons);
    let partitions = partitions(entries);
    // Dependencies mostly point backwards; the loop ends when a round finds nothing new.
    let mut rounds = 0;
    loop {
        let before = reasons.len();
        for entry in entries {
            if !reasons.contains_key(&entry.dump_id)
                && let Some(reason) =
                    inherited_reason(entry, entries, &by_id, &reasons, &partitions)
            {
                reasons.insert(entry.dump_id, reason);
            }
        }
        rounds += 1;
        if reasons.len() == before || rounds > entries.len() {
            return reasons;
        }
    }
}

/// A schema stays while an extension that is restored lives in it, whatever a filter says.
fn keep_schemas_of_extensions(
    entries: &[Entry],
    by_id: &BTreeMap<i32, usize>,
    reasons: &mut BTreeMap<i32, Reason>,
) {
    let extensions = entries
        .iter()
        .filter(|e| e.catalog_oid == PG_EXTENSION && e.desc == "EXTENSION");
    let restored: Vec<i32> = extensions
        .filter(|extension| !reasons.contains_key(&extension.dump_id))
        .flat_map(|extension| extension.depends_on.iter().copied())
        .collect();
    for id in restored {
        let schema = by_id.get(&id).and_then(|position| entries.get(*position));
        if schema.is_some_and(|entry| entry.desc == "SCHEMA")
            && reasons.get(&id) == Some(&Reason::Filtered)
        {
            reasons.remove(&id);
        }
    }
}

/// Whether an entry attaches a partition, or its index, to what the archive does not have: a parent that filters
/// leave out and that the role may not read is no part of the dump. With its parent, an entry depends on both.
fn lacks_parent(entry: &Entry, entries: &[Entry], by_id: &BTreeMap<i32, usize>) -> bool {
    let kinds: &[&str] = match entry.desc.as_str() {
        "TABLE ATTACH" => &["TABLE", "FOREIGN TABLE"],
        "INDEX ATTACH" => &["INDEX", "CONSTRAINT"],
        _ => return false,
    };
    let on = entry.depends_on.iter().filter(|id| {
        let on = by_id.get(id).and_then(|position| entries.get(*position));
        on.is_some_and(|on| kinds.contains(&on.desc.as_str()))
    });
    on.collect::<BTreeSet<&i32>>().len() < 2
}

/// Tables that stand alone until `TABLE ATTACH` makes them partitions.
fn partitions(entries: &[Entry]) -> BTreeSet<i32> {
    let attached = entries.iter().filter(|entry| entry.desc == "TABLE ATTACH");
    attached
        .filter_map(|entry| entry.depends_on.first().copied())
        .collect()
}

/// The reason that lies in the entry itself.
fn own_reason(entry: &Entry, facts: &Facts) -> Option<Reason> {
    let desc = entry.desc.as_str();
    let attached_to = |kind: &str| entry.is_attachment() && entry.rest.starts_with(kind);
    if matches!(desc, "DATABASE" | "DATABASE PROPERTIES") || attached_to("- DATABASE ") {
        return Some(Reason::Database);
    }
    if desc.starts_with("BLOB") || desc == "LARGE OBJECT" || attached_to("- LARGE OBJECT") {
        return Some(Reason::LargeObject);
    }
    let skips = |skip| facts.skips.contains(&skip);
    match desc {
        "EXTENSION" => {
            let name = facts
                .extension_names
                .get(&entry.object_oid)
                .map(String::as_str);
            let left_out = facts.extensions.leaves_out(name) || is_filtered(entry, facts);
            if skips(Skip::Extensions) || left_out {
                return Some(Reason::Extension);
            }
            if facts.extensions == ExtensionRule::Ours {
                return Some(Reason::ExtensionOurs);
            }
        }
        "COMMENT" if attached_to("- EXTENSION ") => {
            let name = entry.rest.trim_start_matches("- EXTENSION ").trim();
            let name = name.trim_matches('"').replace("\"\"", "\"");
            let comments_stay = !skips(Skip::Extensions)
                && !skips(Skip::ExtensionComments)
                && !facts.foreign_extensions.contains(&name);
            return (!comments_stay).then_some(Reason::ExtensionComment);
        }
        "COLLATION" if skips(Skip::Collations) && entry.catalog_oid == PG_COLLATION => {
            return Some(Reason::Collation);
        }
        "SCHEMA" => return schema_reason(entry, facts),
        "MATERIALIZED VIEW DATA" if facts.unfilled.contains(&entry.object_oid) => {
            return Some(Reason::Filtered);
        }
        "PUBLICATION"
            if entry.catalog_oid == PG_PUBLICATION
                && facts.own_publications.contains(&entry.object_oid) =>
        {
            return Some(Reason::OwnPublication);
        }
        _ => {}
    }
    if facts.built.contains(&entry.identity()) {
        return Some(Reason::Built);
    }
    if is_filtered(entry, facts) {
        return Some(Reason::Filtered);
    }
    exists(entry, facts).then_some(Reason::Exists)
}

/// The entry of schema `public` only sets its owner, for `pg_dump` never creates it.
fn schema_reason(entry: &Entry, facts: &Facts) -> Option<Reason> {
    let known = facts.schemas.get(&entry.object_oid);
    if facts.skips.contains(&Skip::Extensions)
        && facts.extension_schemas.contains(&entry.object_oid)
    {
        return Some(Reason::Extension);
    }
    if is_filtered(entry, facts) {
        return Some(Reason::Filtered);
    }
    let there = known.is_some_and(|schema| {
        if schema.name == "public" {
            facts.public_stays
        } else {
            facts.target_schemas.contains(&schema.name)
        }
    });
    there.then_some(Reason::SchemaExists)
}

/// Oids are unique within one catalog only, so both must agree; entries of no catalog, such as
/// `MATERIALIZED VIEW DATA`, carry the oid of a relation.
fn is_filtered(entry: &Entry, facts: &Facts) -> bool {
    let (catalog, object) = entry.identity();
    let by_oid = match (catalog, object) {
        (_, 0) => false,
        (0, object) => facts
            .filtered
            .contains(&(crate::dump::archive_list::PG_CLASS, object)),
        identity => facts.filtered.contains(&identity),
    };
    by_oid || has_text(entry, &facts.filtered_texts, &facts.owners)
}

/// Whether an archive restores an object of that kind and raw name that lies in no schema.
pub fn restores(entries: &[Entry], facts: &Facts, desc: &str, name: &str) -> bool {
    let texts = BTreeSet::from([(desc.to_owned(), format!("- {name}"))]);
    entries.iter().any(|entry| {
        let is_ours = facts.own_publications.contains(&entry.object_oid);
        !is_ours && !is_filtered(entry, facts) && has_text(entry, &texts, &facts.owners)
    })
}

/// Kinds that the target is asked for; all others may be restored twice without harm.
const LOOKED_UP: [&str; 16] = [
    "INDEX",
    "CONSTRAINT",
    "CHECK CONSTRAINT",
    "FK CONSTRAINT",
    "TRIGGER",
    "EVENT TRIGGER",
    "RULE",
    "POLICY",
    "STATISTICS",
    "INDEX ATTACH",
    "MATERIALIZED VIEW DATA",
    "PUBLICATION",
    "PUBLICATION TABLE",
    "PUBLICATION TABLES IN SCHEMA",
    "SUBSCRIPTION",
    "REFRESH MATERIALIZED VIEW",
];

fn exists(entry: &Entry, facts: &Facts) -> bool {
    LOOKED_UP.contains(&entry.desc.as_str()) && has_text(entry, &facts.existing, &facts.owners)
}

/// Whether the entry's text is one of the texts followed by an owner. The owner is recognised by the
/// names of roles, since a tag may end in any word.
fn has_text(entry: &Entry, texts: &BTreeSet<(String, String)>, owners: &BTreeSet<String>) -> bool {
    if texts.is_empty() {
        return false;
    }
    let is_text = |text: &str| texts.contains(&(entry.desc.clone(), text.to_owned()));
    let spaces = entry
        .rest
        .match_indices(' ')
        .map(|(at, _)| entry.rest.split_at(at));
    spaces
        .filter(|(_, owner)| {
            let owner = owner.get(1..).unwrap_or_default();
            owner.is_empty() || owners.contains(owner)
        })
        .any(|(text, _)| is_text(text))
}

/// The reason that an entry takes over from one it depends on.
fn inherited_reason(
    entry: &Entry,
    entries: &[Entry],
    by_id: &BTreeMap<i32, usize>,
    reasons: &BTreeMap<i32, Reason>,
    partitions: &BTreeSet<i32>,
) -> Option<Reason> {
    if entry.desc == "SEQUENCE OWNED BY" {
        let sequence = entry
            .depends_on
            .iter()
            .find_map(|id| entries.get(*by_id.get(id)?))?;
        let is_gone = |id: &&i32| {
            let on = by_id.get(id).and_then(|position| entries.get(*position));
            on.is_some_and(|on| on.desc == "TABLE") && reasons.contains_key(id)
        };
        if let Some(table) = sequence.depends_on.iter().find(is_gone) {
            return Some(Reason::Needs(*table));
        }
    }
    entry.depends_on.iter().find_map(|id| {
        let reason = *reasons.get(id)?;
        let on = entries.get(*by_id.get(id)?)?;
        if entry.is_attachment() {
            return takes_attachments(reason).then_some(Reason::Attached(*id));
        }
        match reason {
            Reason::Filtered | Reason::Needs(_) => {
                needs(entry, on, partitions.contains(&entry.dump_id)).then_some(Reason::Needs(*id))
            }
            Reason::OwnPublication => entry
                .desc
                .starts_with("PUBLICATION ")
                .then_some(Reason::Needs(*id)),
            _ => None,
        }
    })
}

/// What our workers make, or what the target has already, is there: its comments are restored.
fn takes_attachments(reason: Reason) -> bool {
    !matches!(
        reason,
        Reason::Built
            | Reason::Exists
            | Reason::SchemaExists
            | Reason::Later
            | Reason::ExtensionOurs
    )
}

/// Whether an entry cannot be restored without another one that it is ordered after. Users of an
/// extension or a collation that is left out expect it on the target. A partition is a table of its
/// own, and so is its index; a sequence only comes after the table that owns it.
fn needs(entry: &Entry, on: &Entry, is_partition: bool) -> bool {
    match on.desc.as_str() {
        "EXTENSION" | "COLLATION" | "SCHEMA" => false,
        "TABLE" if is_partition || entry.desc == "SEQUENCE" => false,
        "INDEX" | "CONSTRAINT" => !matches!(entry.desc.as_str(), "INDEX" | "CONSTRAINT"),
        _ => true,
    }
}

#[cfg(test)]
mod tests;
