//! A connection while it is put together: which value each keyword has so far, and who gave it.
//!
//! Runs in the supervisor, on plain data. Reads and writes nothing. Must not put the connection
//! string, or any piece of it that could be part of a password, into an error.

use super::keyword::{self, KEYWORDS, Keyword, Rule};
use crate::error::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};

/// Longest value that an error repeats, bytes.
const SHOWN_MAX: usize = 40;

/// Who gave a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The connection string.
    Text,
    /// A section of a service file.
    Service,
    /// This environment variable.
    Environment(&'static str),
}

/// A value with its origin.
#[derive(Clone)]
pub(super) struct Given {
    pub(super) value: String,
    pub(super) origin: Origin,
}

/// Keywords with their values so far, in libpq's spelling.
#[derive(Default)]
pub(super) struct Draft {
    values: BTreeMap<&'static str, Given>,
    /// Secrets as they were written, with their escapes, for the scrubbing of log lines.
    written: BTreeSet<String>,
    /// The secret keyword that the connection string gave last, while nothing else came after it.
    last_secret: Option<&'static str>,
}

/// An error about a connection string; `what` must not repeat pieces that can hold a password.
pub(super) fn invalid(what: impl AsRef<str>) -> Error {
    Error::bad_args(format!("invalid connection string: {}", what.as_ref()))
}

/// A value for an error message: in quotes if it is short and plain, else hidden.
pub(super) fn shown(value: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.,:!".contains(&byte);
    if value.len() <= SHOWN_MAX && value.bytes().all(plain) {
        format!("\"{value}\"")
    } else {
        "(not shown)".to_owned()
    }
}

impl Origin {
    /// The fact for an error's detail; `None` for the connection string, which needs no word.
    pub(super) fn detail(self) -> Option<String> {
        match self {
            Self::Text => None,
            Self::Service => Some("The value comes from the service file.".to_owned()),
            Self::Environment(name) => Some(format!(
                "The value comes from the environment variable {name}."
            )),
        }
    }

    /// Adds the detail to an error.
    pub(super) fn explain(self, error: Error) -> Error {
        match self.detail() {
            Some(detail) => error.detail(detail),
            None => error,
        }
    }
}

impl Draft {
    /// The value of a keyword, also an empty one.
    pub(super) fn get(&self, name: &str) -> Option<&Given> {
        self.values.get(name)
    }

    /// The value of a keyword unless it is missing or empty.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.values
            .get(name)
            .map(|given| given.value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// Takes a pair of the connection string; the last one of a keyword counts. `raw` is the value
    /// as written, before escapes were resolved.
    pub(super) fn put(&mut self, name: &str, value: String, raw: &str) -> Result<()> {
        let after = self.last_secret.take();
        if name == "requiressl" {
            let mode = if value.starts_with('1') {
                "require"
            } else {
                "prefer"
            };
            return self.put("sslmode", mode.to_owned(), "");
        }
        let Some(keyword) = keyword::find(name) else {
            return Err(unknown_keyword(name, after));
        };
        if matches!(keyword.rule, Rule::Secret) {
            self.last_secret = Some(keyword.name);
        }
        self.note_secret(keyword, &value, raw);
        self.values.insert(
            keyword.name,
            Given {
                value,
                origin: Origin::Text,
            },
        );
        Ok(())
    }

    /// Sets a keyword unless it has a value already.
    pub(super) fn fill(&mut self, keyword: &Keyword, value: String, origin: Origin) {
        self.note_secret(keyword, &value, "");
        self.values
            .entry(keyword.name)
            .or_insert(Given { value, origin });
    }

    /// Replaces the value of a keyword by another spelling of it.
    pub(super) fn respell(&mut self, name: &str, value: String) {
        if let Some(given) = self.values.get_mut(name) {
            given.value = value;
        }
    }

    /// Forgets a keyword.
    pub(super) fn drop(&mut self, name: &str) {
        self.values.remove(name);
    }

    /// Keyword names to values, and the secrets as they were written.
    pub(super) fn finish(self) -> (BTreeMap<String, String>, Vec<String>) {
        let values = self.values.into_iter();
        let params = values
            .map(|(name, given)| (name.to_owned(), given.value))
            .collect();
        (params, self.written.into_iter().collect())
    }

    fn note_secret(&mut self, keyword: &Keyword, value: &str, raw: &str) {
        if matches!(keyword.rule, Rule::Secret) && !raw.is_empty() && raw != value {
            self.written.insert(raw.to_owned());
        }
    }
}

/// An unknown keyword right behind a password may be a piece of that password.
fn unknown_keyword(name: &str, after: Option<&'static str>) -> Error {
    if let Some(secret) = after {
        return invalid(format!("the parameter after \"{secret}\" is not known")).hint(format!(
            "Percent-encode the value of \"{secret}\" in a URI, or put it between single quotes \
             in the keyword form, if it contains blanks or special characters."
        ));
    }
    let error = invalid(format!("unknown parameter {}", shown(name)));
    match keyword::nearest(name) {
        Some(known) => error.hint(format!("Perhaps you meant \"{known}\".")),
        None => error.detail(format!(
            "Known parameters: {}.",
            KEYWORDS
                .iter()
                .map(|keyword| keyword.name)
                .collect::<Vec<_>>()
                .join(", ")
        )),
    }
}
