//! Wildcards that select tables: `public.*`, `temp_*`, `"odd.name".t`.
//!
//! Pure. Anchored and case-sensitive, on names as the catalogs store them. A star stands for any run of
//! characters and never crosses the dot between schema and table; nothing else is special, and nothing at all
//! is within double quotes.

use crate::error::{Error, Result};

/// A piece of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    /// This text.
    Text(String),
    /// Any run of characters, also none.
    Star,
}

/// One pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// As it was given.
    text: String,
    schema: Option<Vec<Piece>>,
    table: Vec<Piece>,
}

impl Pattern {
    /// Parses a list with commas between patterns. Errors (`BadArgs`) name what is wrong.
    pub fn parse_list(text: &str) -> Result<Vec<Self>> {
        let bad = |why: String| {
            Error::bad_args(format!("pattern list \"{text}\": {why}")).hint(
                "A pattern is table or schema.table, where * stands for any run of characters; names with \
                 other signs are put in double quotes.",
            )
        };
        let mut found = Vec::new();
        for part in split_outside_quotes(text, ',').map_err(bad)? {
            let part = part.trim_matches([' ', '\t']);
            if part.is_empty() {
                return Err(bad("a pattern is empty".to_owned()));
            }
            found.push(Self::parse(part).map_err(bad)?);
        }
        Ok(found)
    }

    fn parse(text: &str) -> std::result::Result<Self, String> {
        let halves = split_outside_quotes(text, '.')?;
        let (schema, table) = match halves.as_slice() {
            [table] => (None, table),
            [schema, table] => (Some(schema), table),
            _ => {
                return Err(format!(
                    "\"{text}\" has more than one dot outside of double quotes"
                ));
            }
        };
        let pieces = |half: &str| {
            if half.is_empty() {
                Err(format!("\"{text}\" has an empty name"))
            } else {
                pieces(half)
            }
        };
        Ok(Self {
            text: text.to_owned(),
            schema: schema.map(|half| pieces(half)).transpose()?,
            table: pieces(table)?,
        })
    }

    /// As it was given.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it can match more than one table of a schema.
    pub fn has_star(&self) -> bool {
        let star = |pieces: &[Piece]| pieces.contains(&Piece::Star);
        star(&self.table) || self.schema.as_deref().is_some_and(star)
    }

    /// Whether a table, given by raw names, matches.
    pub fn matches(&self, schema: &str, table: &str) -> bool {
        self.schema
            .as_deref()
            .is_none_or(|pieces| matches(pieces, schema))
            && matches(&self.table, table)
    }
}

/// Splits a text at a sign that stands outside of double quotes.
fn split_outside_quotes(text: &str, sign: char) -> std::result::Result<Vec<&str>, String> {
    let mut parts = Vec::new();
    let (mut start, mut quoted) = (0, false);
    for (position, letter) in text.char_indices() {
        if letter == '"' {
            quoted = !quoted;
        } else if letter == sign && !quoted {
            parts.push(&text[start..position]);
            start = position + letter.len_utf8();
        }
    }
    if quoted {
        return Err("a double quote is not closed".to_owned());
    }
    parts.push(&text[start..]);
    Ok(parts)
}

/// The pieces of one half.
fn pieces(half: &str) -> std::result::Result<Vec<Piece>, String> {
    let mut found = Vec::new();
    let mut text = String::new();
    let mut letters = half.chars().peekable();
    let (mut quoted, mut was_quoted) = (false, false);
    while let Some(letter) = letters.next() {
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => {
                text.push('"');
                letters.next();
            }
            '"' => {
                quoted = !quoted;
                was_quoted = true;
            }
            '*' if !quoted => {
                if !text.is_empty() {
                    found.push(Piece::Text(std::mem::take(&mut text)));
                }
                if found.last() != Some(&Piece::Star) {
                    found.push(Piece::Star);
                }
            }
            other => text.push(other),
        }
    }
    if !text.is_empty() {
        found.push(Piece::Text(text));
    }
    if found.is_empty() && was_quoted {
        return Err("a name in double quotes is empty".to_owned());
    }
    Ok(found)
}

fn matches(pieces: &[Piece], name: &str) -> bool {
    match pieces.split_first() {
        None => name.is_empty(),
        Some((Piece::Text(text), rest)) => name
            .strip_prefix(text.as_str())
            .is_some_and(|left| matches(rest, left)),
        Some((Piece::Star, [])) => true,
        Some((Piece::Star, rest)) => {
            let ends = name.char_indices().map(|(position, _)| position);
            ends.chain([name.len()])
                .any(|start| matches(rest, &name[start..]))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is(pattern: &str, schema: &str, table: &str) -> bool {
        let found = Pattern::parse_list(pattern).unwrap();
        found.iter().any(|pattern| pattern.matches(schema, table))
    }

    #[test]
    fn a_star_is_any_run_and_does_not_cross_the_dot() {
        let cases = [
            ("temp_*", "public", "temp_x", true),
            ("temp_*", "public", "temp_", true),
            ("temp_*", "public", "my_temp_x", false),
            ("*_logs", "a", "old_logs", true),
            ("*_logs", "a", "old_logs2", false),
            ("public.*", "public", "t", true),
            ("public.*", "public2", "t", false),
            ("public*", "public", "t", false),
            ("public*", "x", "publicity", true),
            ("public.Container*", "public", "ContainerLog", true),
            ("public.container*", "public", "ContainerLog", false),
            ("a*b*c", "s", "abc", true),
            ("a*b*c", "s", "axxbyyc", true),
            ("a*b*c", "s", "axxbyycd", false),
            ("*", "s", "anything", true),
            ("t?[x]", "s", "t?[x]", true),
            ("t?", "s", "tx", false),
            ("\"a.b\".t", "a.b", "t", true),
            ("public.\"odd,name\"", "public", "odd,name", true),
            ("\"st*r\"", "s", "st*r", true),
            ("\"st*r\"", "s", "star", false),
            ("\"q\"\"q\"", "s", "q\"q", true),
            ("a, b", "s", "b", true),
            ("*.t", "any", "t", true),
            ("größe*", "s", "größer", true),
        ];
        for (pattern, schema, table, expected) in cases {
            assert_eq!(
                is(pattern, schema, table),
                expected,
                "{pattern} {schema}.{table}"
            );
        }
    }

    #[test]
    fn bad_lists_are_refused() {
        for bad in [
            "", "a,", ",a", "a.b.c", ".t", "s.", "\"open", "\"\"", "a,,b",
        ] {
            let error = Pattern::parse_list(bad).unwrap_err();
            assert_eq!(error.kind().exit_code(), 1, "{bad}");
        }
    }
}
