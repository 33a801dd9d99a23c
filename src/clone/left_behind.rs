//! `schema/not-restored.sql`: the statements of what the archive holds and the target did not get.
//!
//! Runs in the post-data process. Written from the archive itself, so that a person can look at them, mend them and
//! run them by hand. There is no such file when nothing is missing.

use crate::dump::archive_list::print;
use crate::dump::list_plan::Reason;
use crate::dump::said::{check, failed_entries};
use crate::dump::{ArchiveRun, Entry, RestoreFlag, RestoreOptions};
use crate::error::{Error, Kind, Result};
use crate::units::Side;
use crate::workdir::Layout;
use std::collections::BTreeSet;
use std::path::Path;

/// Restores what a list keeps. When entries fail, their statements are kept in the file, and the error names it.
pub(super) fn restore(
    (archive, layout): (&ArchiveRun<'_>, &Layout),
    (list, options): (&Path, &RestoreOptions),
    entries: &[Entry],
) -> Result<()> {
    let outcome = archive.try_restore(list, options)?;
    let failed = failed_entries(&outcome.stderr);
    let Err(error) = check(outcome, "pg_restore", Side::Target) else {
        return Ok(());
    };
    if error.is_transient() || failed.is_empty() {
        return Err(error);
    }
    let why = |entry: &Entry| {
        let of_entry = failed.iter().find(|one| one.dump_id == entry.dump_id);
        of_entry.map(|one| one.error.clone())
    };
    let missing: Vec<(&Entry, String)> = entries
        .iter()
        .filter_map(|entry| Some((entry, why(entry)?)))
        .collect();
    write((archive, layout), &options.flags, &missing)?;
    let path = layout.not_restored();
    let advice = error.hint_text().map(|hint| format!("{hint} "));
    Err(error.hint(format!(
        "{}What failed stands in \"{}\": remove what is in its way on the target, and repeat the command \
         with --resume.",
        advice.unwrap_or_default(),
        path.display()
    )))
}

/// Keeps the statements of entries that the target does not get, each with the reason; removes what an earlier
/// run has kept when there are none.
pub(super) fn write(
    (archive, layout): (&ArchiveRun<'_>, &Layout),
    flags: &BTreeSet<RestoreFlag>,
    left: &[(&Entry, String)],
) -> Result<()> {
    let path = layout.not_restored();
    if left.is_empty() {
        return match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::new(
                Kind::BadState,
                format!("could not remove \"{}\": {error}", path.display()),
            )),
            _ => Ok(()),
        };
    }
    let list = archive.dir.script_list();
    let lines = left.iter().map(|(entry, _)| (*entry, true));
    archive.dir.write(&list, &print(lines))?;
    let script = archive.script(&list, flags)?;
    let head = format!(
        "-- {} entries of the source's schema that are not on the target. Look at each before you run it.\n--\n",
        left.len()
    );
    let reasons = left.iter().map(|(entry, why)| {
        let line = format!("{} {}: {why}", entry.desc, entry.rest);
        format!("-- {}\n", line.replace(['\n', '\r'], " "))
    });
    let reasons: String = reasons.collect();
    let whole = [head.as_bytes(), reasons.as_bytes(), &script].concat();
    layout.write_file(&path, &whole)?;
    log::info!(
        "{} entries of the archive are not on the target; their statements are in \"{}\"",
        left.len(),
        path.display()
    );
    Ok(())
}

/// The reason in words.
pub(super) fn words(reason: Reason, entries: &[Entry]) -> String {
    let of = |id: i32| {
        let entry = entries.iter().find(|entry| entry.dump_id == id);
        entry.map_or_else(String::new, |entry| {
            format!("{} {}", entry.desc, entry.rest)
        })
    };
    match reason {
        Reason::Needs(id) => format!("cannot stand without {}", of(id)),
        Reason::Attached(id) => format!("belongs to {}", of(id)),
        Reason::Extension => "extensions are left out, or this one".to_owned(),
        Reason::ExtensionComment => "comments on extensions are left out, or this one".to_owned(),
        Reason::Collation => "collations are left out".to_owned(),
        _ => "left out by filters".to_owned(),
    }
}
