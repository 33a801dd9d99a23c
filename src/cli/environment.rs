//! Variables of the environment: first those that were taken out of it as secrets, then the rest.
//!
//! Runs in the main program. Reads the environment, never writes it. `Debug` shows no value.

use std::ffi::{OsStr, OsString};
use std::fmt;

/// Variables that hold passwords or connection strings; they leave the process's environment first
/// of all, so that neither `/proc` nor the tools that we run show them.
pub const SECRET_VARIABLES: [&str; 5] = [
    "PGCOPYDB_SOURCE_PGURI",
    "PGCOPYDB_TARGET_PGURI",
    "PGCOPY_SOURCE",
    "PGCOPY_TARGET",
    "PGPASSWORD",
];

/// Where variables are looked up.
pub struct Environment {
    secrets: Vec<(OsString, OsString)>,
    rest: fn(&str) -> Option<OsString>,
}

impl Environment {
    /// The environment of this process, with the variables that were taken out of it.
    pub fn new(secrets: Vec<(OsString, OsString)>) -> Self {
        Self {
            secrets,
            rest: |name| std::env::var_os(name),
        }
    }

    /// An environment of these variables only, for tests.
    #[cfg(test)]
    pub(super) fn of(variables: &[(&str, &str)]) -> Self {
        let secrets = variables
            .iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        Self {
            secrets,
            rest: |_| None,
        }
    }

    /// The value of a variable, as it is.
    pub fn get_os(&self, name: &str) -> Option<OsString> {
        let secret = self
            .secrets
            .iter()
            .find(|(known, _)| known.as_os_str() == OsStr::new(name));
        secret
            .map(|(_, value)| value.clone())
            .or_else(|| (self.rest)(name))
    }

    /// The value of a variable; bytes that are not UTF-8 are replaced.
    pub fn get(&self, name: &str) -> Option<String> {
        self.get_os(name)
            .map(|value| value.to_string_lossy().into_owned())
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Environment")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_that_was_taken_out_is_still_found() {
        let environment = Environment::of(&[("PGPASSWORD", "secret")]);
        assert_eq!(environment.get("PGPASSWORD").as_deref(), Some("secret"));
        assert_eq!(environment.get("PGUSER"), None);
        assert!(!format!("{environment:?}").contains("secret"));
    }
}
