//! What a filters file says, as values: sections, names and patterns, with the lines they stand on.
//!
//! Pure; made by `ini`, read by whoever selects objects. A name is kept as the server stores it, a
//! pattern as it was written.

use crate::error::{Error, Kind, Result};
use crate::pg::quote;

/// A section of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Section {
    /// Only these schemas are copied.
    IncludeOnlySchema,
    /// These schemas are not copied.
    ExcludeSchema,
    /// Of the tables, only these are copied.
    IncludeOnlyTable,
    /// These tables are not copied.
    ExcludeTable,
    /// The rows of these tables are not copied.
    ExcludeTableData,
    /// These indexes are not made.
    ExcludeIndex,
    /// Only these extensions are made.
    IncludeOnlyExtension,
    /// These extensions are not made.
    ExcludeExtension,
}

/// All sections, in the order of the manual.
pub(super) const SECTIONS: [Section; 8] = [
    Section::IncludeOnlySchema,
    Section::ExcludeSchema,
    Section::IncludeOnlyTable,
    Section::ExcludeTable,
    Section::ExcludeTableData,
    Section::ExcludeIndex,
    Section::IncludeOnlyExtension,
    Section::ExcludeExtension,
];

/// What the entries of a section name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A schema.
    Schema,
    /// A table, partitioned table, foreign table, view or materialized view.
    Table,
    /// An index.
    Index,
    /// An extension.
    Extension,
}

impl Subject {
    /// The word for people, and for the query that matches names.
    pub fn word(self) -> &'static str {
        match self {
            Self::Schema => "schema",
            Self::Table => "table",
            Self::Index => "index",
            Self::Extension => "extension",
        }
    }

    /// Whether its names have two parts.
    pub fn is_qualified(self) -> bool {
        matches!(self, Self::Table | Self::Index)
    }
}

impl Section {
    /// The name between the brackets.
    pub fn name(self) -> &'static str {
        match self {
            Self::IncludeOnlySchema => "include-only-schema",
            Self::ExcludeSchema => "exclude-schema",
            Self::IncludeOnlyTable => "include-only-table",
            Self::ExcludeTable => "exclude-table",
            Self::ExcludeTableData => "exclude-table-data",
            Self::ExcludeIndex => "exclude-index",
            Self::IncludeOnlyExtension => "include-only-extension",
            Self::ExcludeExtension => "exclude-extension",
        }
    }

    /// What its entries name.
    pub fn subject(self) -> Subject {
        match self {
            Self::IncludeOnlySchema | Self::ExcludeSchema => Subject::Schema,
            Self::IncludeOnlyTable | Self::ExcludeTable | Self::ExcludeTableData => Subject::Table,
            Self::ExcludeIndex => Subject::Index,
            Self::IncludeOnlyExtension | Self::ExcludeExtension => Subject::Extension,
        }
    }

    /// Whether it names what is copied, not what is left out.
    pub fn is_include(self) -> bool {
        matches!(
            self,
            Self::IncludeOnlySchema | Self::IncludeOnlyTable | Self::IncludeOnlyExtension
        )
    }
}

/// A name, or a pattern for names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Name {
    /// As the server stores it.
    Exact(String),
    /// A regular expression of the server's; not anchored.
    Pattern(String),
}

impl Name {
    /// The name, when it is one.
    pub fn exact(&self) -> Option<&str> {
        match self {
            Self::Exact(name) => Some(name),
            Self::Pattern(_) => None,
        }
    }

    /// The pattern, when it is one.
    pub fn pattern(&self) -> Option<&str> {
        match self {
            Self::Exact(_) => None,
            Self::Pattern(pattern) => Some(pattern),
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Exact(name) => quote::ident(name),
            Self::Pattern(pattern) => format!("~/{pattern}/"),
        }
    }
}

/// One entry of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The section it stands in.
    pub section: Section,
    /// The line it stands on, from 1.
    pub line: usize,
    /// The schema, for tables and indexes.
    pub schema: Option<Name>,
    /// The name itself.
    pub name: Name,
    /// The entry as it was written.
    pub written: String,
}

impl Rule {
    /// The entry in one spelling, for comparing two files.
    fn canonical(&self) -> String {
        let schema = self.schema.as_ref();
        let schema = schema.map(|schema| schema.text() + ".").unwrap_or_default();
        format!("[{}] {schema}{}", self.section.name(), self.name.text())
    }

    /// Whether it has no pattern in it.
    pub fn is_exact(&self) -> bool {
        self.name.exact().is_some() && self.schema.as_ref().is_none_or(|s| s.exact().is_some())
    }
}

/// The rules of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Path of the file, for messages.
    pub path: String,
    /// The entries, in the order of the file.
    pub rules: Vec<Rule>,
    /// What is allowed and has no effect, one line each.
    pub warnings: Vec<String>,
}

impl Rules {
    /// The rules of a section.
    pub fn of(&self, section: Section) -> impl Iterator<Item = (usize, &Rule)> {
        let numbered = self.rules.iter().enumerate();
        numbered.filter(move |(_, rule)| rule.section == section)
    }

    /// Whether a section has entries.
    pub fn has(&self, section: Section) -> bool {
        self.of(section).next().is_some()
    }

    /// The rules in one spelling and order, one a line: equal texts select the same.
    pub fn canonical(&self) -> String {
        let mut lines: Vec<String> = self.rules.iter().map(Rule::canonical).collect();
        lines.sort();
        lines.dedup();
        lines.join("\n")
    }

    /// An error about a line of the file.
    pub fn error_at(&self, line: usize, what: &str) -> Error {
        error_at(&self.path, line, what)
    }

    /// Refuses sections that contradict each other. `BadConfig`.
    pub(super) fn check(&mut self) -> Result<()> {
        let pairs = [
            (Section::IncludeOnlySchema, Section::ExcludeSchema),
            (Section::IncludeOnlyTable, Section::ExcludeTable),
            (Section::IncludeOnlyExtension, Section::ExcludeExtension),
        ];
        for (one, other) in pairs {
            if let (Some((_, rule)), true) = (self.of(other).next(), self.has(one)) {
                let (one, other) = (one.name(), other.name());
                return Err(self
                    .error_at(
                        rule.line,
                        &format!("section [{other}] cannot stand beside [{one}]"),
                    )
                    .hint(format!(
                        "Keep one of the two: what [{one}] does not name is left out anyway."
                    )));
            }
        }
        if self.has(Section::IncludeOnlyTable) && self.has(Section::ExcludeSchema) {
            self.warnings.push(format!(
                "\"{}\": [exclude-schema] beside [include-only-table]: tables in these schemas are \
                 left out although the other section names them",
                self.path
            ));
        }
        Ok(())
    }

    /// Refuses sections that contradict `--skip-extensions`. `BadConfig`.
    pub fn check_skip_extensions(&mut self) -> Result<()> {
        if let Some((_, rule)) = self.of(Section::IncludeOnlyExtension).next() {
            return Err(self
                .error_at(
                    rule.line,
                    "section [include-only-extension] contradicts --skip-extensions",
                )
                .hint("Leave out one of the two."));
        }
        if self.has(Section::ExcludeExtension) {
            self.warnings.push(format!(
                "\"{}\": section [exclude-extension] has no effect beside --skip-extensions",
                self.path
            ));
        }
        Ok(())
    }
}

/// An error about a line of a filters file.
pub(super) fn error_at(path: &str, line: usize, what: &str) -> Error {
    Error::new(
        Kind::BadConfig,
        format!("line {line} of filters file \"{path}\": {what}"),
    )
}
