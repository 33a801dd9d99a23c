//! One setting at a time: the option if given, else the variable, else nothing.
//!
//! Runs in the main program. Reads the environment through [`Environment`] only.

use super::super::args::value;
use super::super::environment::Environment;
use crate::error::{Error, Result};
use std::fmt;

/// Where a setting comes from; a default is not recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Origin {
    /// An option, of the command line or of the configuration file.
    CommandLine,
    /// This variable.
    Environment(&'static str),
}

/// A setting that is not the default, for the log; never a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Choice {
    /// The option's long name with its dashes.
    pub(in crate::cli) option: &'static str,
    /// Where it was given.
    pub(in crate::cli) origin: Origin,
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.origin {
            Origin::CommandLine => write!(f, "{} is given", self.option),
            Origin::Environment(name) => write!(f, "{} is set by {name}", self.option),
        }
    }
}

/// The error for a variable with an unusable value.
pub(in crate::cli) fn bad_variable(name: &str, text: &str, accepted: &str) -> Error {
    Error::bad_args(format!(
        "environment variable {name} has a bad value \"{text}\": {accepted}"
    ))
    .hint(format!("Set {name} to a value of that kind, or unset it."))
}

/// Picks settings and remembers where they came from.
pub(super) struct Picker<'a> {
    environment: &'a Environment,
    /// Options that the command has: variables of others do not concern it.
    takes: &'a dyn Fn(&str) -> bool,
    /// What was picked so far.
    pub(super) choices: Vec<Choice>,
}

impl<'a> Picker<'a> {
    /// A picker that has picked nothing, for a command that has every option it is asked for.
    pub(super) fn new(environment: &'a Environment) -> Self {
        Self::limited(environment, &|_| true)
    }

    /// The same, for a command that has these options only.
    pub(super) fn limited(environment: &'a Environment, takes: &'a dyn Fn(&str) -> bool) -> Self {
        Self {
            environment,
            takes,
            choices: Vec::new(),
        }
    }

    /// A value: the option's, or the variable's.
    pub(super) fn value<T>(
        &mut self,
        option: &'static str,
        variable: Option<&'static str>,
        given: Option<T>,
        parse: fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>> {
        let mut found = None;
        let variable = variable.filter(|_| (self.takes)(option));
        if let Some(name) = variable
            && let Some(text) = self.environment.get(name)
        {
            let value = parse(&text).map_err(|accepted| bad_variable(name, &text, &accepted))?;
            found = Some((value, Origin::Environment(name)));
        }
        let found = given.map(|value| (value, Origin::CommandLine)).or(found);
        Ok(found.map(|(value, origin)| {
            self.choices.push(Choice { option, origin });
            value
        }))
    }

    /// A switch: an option can only turn it on, so that a variable counts where it is not given.
    pub(super) fn switch(
        &mut self,
        option: &'static str,
        variable: &'static str,
        given: bool,
    ) -> Result<bool> {
        let given = given.then_some(true);
        Ok(self
            .value(option, Some(variable), given, value::boolean)?
            .unwrap_or(false))
    }

    /// A text; an empty variable counts as not set.
    pub(super) fn text(
        &mut self,
        option: &'static str,
        variable: &'static str,
        given: Option<&str>,
    ) -> Option<String> {
        let (text, origin) = match given {
            Some(text) => (text.to_owned(), Origin::CommandLine),
            None if !(self.takes)(option) => return None,
            None => (
                self.environment.get(variable)?,
                Origin::Environment(variable),
            ),
        };
        if text.is_empty() {
            return None;
        }
        self.choices.push(Choice { option, origin });
        Some(text)
    }
}
