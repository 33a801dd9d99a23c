//! `--all-databases`: what is said at the end of one that failed, and of the whole.
//!
//! Pure, part of the machine in the supervisor.

use super::{Part, Pool};
use crate::error::Error;
use crate::supervisor::Role;

impl Pool {
    /// The error of the whole, once all databases have come to their ends: each one's own has been printed.
    pub(super) fn sum_up(&self, first: &Error) -> Error {
        let those = |is_touched: bool| -> String {
            let names = self.failed.iter().filter(|(_, is)| *is == is_touched);
            let names: Vec<String> = names.map(|(name, _)| format!("\"{name}\"")).collect();
            names.join(", ")
        };
        let all = self.parts.len() + self.skipped;
        let count = self.failed.len();
        let others = if count < all {
            ", the others are complete"
        } else {
            ""
        };
        let mut detail = Vec::new();
        for (is_touched, what) in [
            (false, "On the target nothing was changed in"),
            (true, "The target was changed, and is to be looked at, in"),
        ] {
            let names = those(is_touched);
            if !names.is_empty() {
                detail.push(format!("{what}: {names}."));
            }
        }
        Error::new(
            first.kind(),
            format!("{count} of {all} databases did not end well{others}"),
        )
        .detail(detail.join("\n"))
        .hint(
            "Mend what the errors above say of each, then repeat the command with --resume --not-consistent: what is              complete stays.",
        )
    }
}

/// What begins before the target is changed.
pub(super) fn is_before_changes(role: Role) -> bool {
    matches!(
        role,
        Role::Prepare | Role::Snapshot | Role::Fetch | Role::Dump
    )
}

/// An error of one database, whose words about what was not changed hold for this one alone.
pub(super) fn of_one(error: Error, one: &Part) -> Error {
    let said = error.hint_text().map(|hint| {
        hint.replace(
            "nothing was changed",
            &format!("nothing was changed in database \"{}\"", one.name),
        )
    });
    let error = match said {
        Some(hint) => error.hint(hint),
        None => error,
    };
    error.context(one.title())
}
