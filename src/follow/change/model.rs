//! The model of one change of rows, the same for all output plugins.
//!
//! Pure data. Names are unquoted.

use std::borrow::Cow;

/// A table of the source.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Table<'a> {
    /// Its schema.
    pub schema: Cow<'a, str>,
    /// Its name.
    pub name: Cow<'a, str>,
}

/// A column's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// NULL.
    Null,
    /// The server's text.
    Text(Cow<'a, str>),
    /// Stored out of line and not changed, so not sent.
    Unchanged,
}

/// A column with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// The column.
    pub name: Cow<'a, str>,
    /// Its value.
    pub value: Value<'a>,
}

/// What is known of the row before the change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Old<'a> {
    /// Values of the columns of the replica identity; of all columns where `full`. Whether columns
    /// that are NULL may be missing is the plugin's affair: `sparse`.
    Fields {
        /// Column by column.
        fields: Vec<Field<'a>>,
        /// All columns, as REPLICA IDENTITY FULL sends them.
        full: bool,
        /// Columns that are NULL are left out.
        sparse: bool,
    },
    /// The identity did not change; it has these columns.
    Unchanged(Vec<Cow<'a, str>>),
    /// The identity did not change, or there is none; the message does not tell.
    Untold,
    /// There is no identity.
    Nothing,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change<'a> {
    /// A new row.
    Insert {
        /// Of this table.
        table: Table<'a>,
        /// All its columns.
        new: Vec<Field<'a>>,
    },
    /// A row that got other values.
    Update {
        /// Of this table.
        table: Table<'a>,
        /// Columns after the change; those not sent are missing or [`Value::Unchanged`].
        new: Vec<Field<'a>>,
        /// What tells the row.
        old: Old<'a>,
    },
    /// A row that is gone.
    Delete {
        /// Of this table.
        table: Table<'a>,
        /// What tells the row.
        old: Old<'a>,
    },
    /// Tables that were emptied, in one statement.
    Truncate {
        /// These.
        tables: Vec<Table<'a>>,
        /// With CASCADE.
        cascade: bool,
        /// With RESTART IDENTITY.
        restart: bool,
    },
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decoded<'a> {
    /// A change.
    Change(Change<'a>),
    /// Nothing that is applied: a logical message, the begin or the end of a transaction.
    Nothing,
}
