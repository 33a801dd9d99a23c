//! What a check found: reasons to refuse, and things to know, each with the statement that mends it.
//!
//! Pure. Collected by the checks; a run takes the first reason as its error, `check` and `--dry-run`
//! print the list.

use crate::error::{Error, Kind, Result};
use crate::units::Side;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// The run would lose rows, or fail for certain.
    Fail,
    /// The run would begin.
    Warning,
}

/// One thing that was found.
#[derive(Clone, Debug)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// What is wrong, where, which objects, and what to do; its kind is the exit code of a run.
    pub error: Error,
    /// The database that it is about, where several are looked at.
    pub database: Option<String>,
}

/// What the checks found, in the order in which they looked.
#[derive(Clone, Debug, Default)]
pub struct Findings(Vec<Finding>);

/// What all findings together say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing was found.
    Good,
    /// There are warnings.
    Warnings,
    /// A run would be refused.
    Refused,
}

impl Findings {
    /// Takes the result of one check: an error is a reason to refuse.
    pub fn take<T>(&mut self, result: Result<T>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.fail(error);
                None
            }
        }
    }

    /// Adds a reason to refuse.
    pub fn fail(&mut self, error: Error) {
        self.add(Level::Fail, error);
    }

    /// Adds a warning: what there is, and what to do about it.
    pub fn warn(&mut self, side: Side, what: impl Into<String>, hint: impl Into<String>) {
        let error = Error::new(side.kind(), what).hint(hint);
        self.warning(error);
    }

    /// Adds a warning that has details.
    pub fn warning(&mut self, error: Error) {
        self.add(Level::Warning, error);
    }

    fn add(&mut self, level: Level, error: Error) {
        self.0.push(Finding {
            level,
            error,
            database: None,
        });
    }

    /// Adds what was found about one of several databases; what was found about another one in the same
    /// words is about all.
    pub fn append_about(&mut self, database: &str, others: Self) {
        for mut finding in others.0 {
            let is_same = |before: &&mut Finding| {
                let (one, other) = (&before.error, &finding.error);
                (one.message(), one.hint_text(), one.detail_text())
                    == (other.message(), other.hint_text(), other.detail_text())
            };
            if let Some(before) = self.0.iter_mut().find(is_same) {
                before.database = None;
                continue;
            }
            finding.database = Some(database.to_owned());
            self.0.push(finding);
        }
    }

    /// Adds all of another list.
    pub fn append(&mut self, mut others: Self) {
        self.0.append(&mut others.0);
    }

    /// All of them.
    pub fn list(&self) -> &[Finding] {
        &self.0
    }

    fn of(&self, level: Level) -> impl Iterator<Item = &Error> {
        let at = move |finding: &&Finding| finding.level == level;
        self.0.iter().filter(at).map(|finding| &finding.error)
    }

    /// What they say together.
    pub fn verdict(&self) -> Verdict {
        match (self.of(Level::Fail).next(), self.0.first()) {
            (Some(_), _) => Verdict::Refused,
            (None, Some(_)) => Verdict::Warnings,
            (None, None) => Verdict::Good,
        }
    }

    /// Logs the warnings; the error is the first reason to refuse, with the others beside it.
    pub fn refuse(&self) -> Result<()> {
        for warning in self.of(Level::Warning) {
            for line in warning.lines() {
                log::warn!("{line}");
            }
        }
        let mut reasons = self.of(Level::Fail);
        let Some(first) = reasons.next() else {
            return Ok(());
        };
        let others: Vec<String> = reasons
            .map(|error| {
                let more = [error.detail_text(), error.hint_text()];
                let more: Vec<&str> = more.into_iter().flatten().collect();
                format!("Also: {}. {}", error.message(), more.join(" "))
            })
            .collect();
        if others.is_empty() {
            return Err(first.clone());
        }
        let own = first.detail_text().map(str::to_owned);
        let detail: Vec<String> = own.into_iter().chain(others).collect();
        Err(first.clone().detail(detail.join("\n")))
    }

    /// For people: a paragraph each, reasons to refuse first, and a last line that counts them.
    pub fn text(&self) -> String {
        let mut lines = Vec::new();
        for (level, word) in [(Level::Fail, "FAIL"), (Level::Warning, "WARNING")] {
            for Finding {
                error, database, ..
            } in self.0.iter().filter(|f| f.level == level)
            {
                let database = database.as_ref();
                let about = database.map(|name| format!("database \"{name}\": "));
                lines.push(format!(
                    "{word:<7}  {:<6}  {}{}",
                    side_of(error),
                    about.unwrap_or_default(),
                    error.message()
                ));
                let more = [error.detail_text(), error.hint_text()];
                for line in more.into_iter().flatten().flat_map(str::lines) {
                    lines.push(format!("{:17}{line}", ""));
                }
            }
        }
        let (fails, warnings) = (
            self.of(Level::Fail).count(),
            self.of(Level::Warning).count(),
        );
        lines.push(match self.verdict() {
            Verdict::Good => "Nothing was found that stands in the way".to_owned(),
            _ => format!("{fails} reasons to fail, {warnings} warnings"),
        });
        lines.join("\n") + "\n"
    }

    /// For programs: a list of objects.
    pub fn json(&self) -> serde_json::Value {
        let list = self.0.iter().map(|finding| {
            let error = &finding.error;
            let level = match finding.level {
                Level::Fail => "fail",
                Level::Warning => "warning",
            };
            serde_json::json!({
                "level": level, "database": finding.database, "side": side_of(error),
                "message": error.message(),
                "sqlstate": error.sqlstate(), "detail": error.detail_text(),
                "fix": error.hint_text(),
            })
        });
        list.collect()
    }
}

impl Verdict {
    /// One word, for JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Warnings => "warnings",
            Self::Refused => "refused",
        }
    }
}

/// Where somebody must act.
fn side_of(error: &Error) -> &'static str {
    match error.kind() {
        Kind::Source => "source",
        Kind::Target => "target",
        _ => "here",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reason_is_the_error_and_no_other_one_is_kept_back() {
        let mut findings = Findings::default();
        assert_eq!(
            (findings.verdict(), findings.refuse().is_ok()),
            (Verdict::Good, true)
        );
        findings.warn(Side::Source, "it is old", "Renew it.");
        assert_eq!(
            (findings.verdict(), findings.refuse().is_ok()),
            (Verdict::Warnings, true)
        );
        let missing = Error::new(Kind::Target, "role a is missing").detail("It owns t.");
        findings.fail(missing.hint("Run: create role a;"));
        assert_eq!(findings.refuse().unwrap_err().lines().len(), 3);
        findings.fail(Error::new(Kind::Source, "t cannot be read").hint("Run: grant;"));
        assert_eq!(findings.verdict(), Verdict::Refused);
        let error = findings.refuse().unwrap_err();
        assert_eq!(error.kind(), Kind::Target);
        let detail = "It owns t.\nAlso: t cannot be read. Run: grant;";
        assert_eq!(error.detail_text(), Some(detail));
        let text = findings.text();
        assert!(
            text.starts_with("FAIL     target  role a is missing\n"),
            "{text}"
        );
        assert!(
            text.ends_with("\n2 reasons to fail, 1 warnings\n"),
            "{text}"
        );
        assert_eq!(findings.json().as_array().unwrap().len(), 3);
    }
}
