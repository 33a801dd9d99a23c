//! Names and values as they stand in a statement.
//!
//! Pure. Names are always quoted: a list of keywords would differ between server versions.

/// A name in double quotes.
pub fn ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A name as it stands in the catalogs, from one that a server has quoted where needed.
pub fn raw(quoted: &str) -> String {
    let inner = quoted
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    inner.map_or_else(|| quoted.to_owned(), |inner| inner.replace("\"\"", "\""))
}

/// A schema-qualified name.
pub fn qualified(schema: &str, name: &str) -> String {
    format!("{}.{}", ident(schema), ident(name))
}

/// A text constant, right whatever `standard_conforming_strings` says.
pub fn literal(value: &str) -> String {
    let doubled = value.replace('\'', "''");
    if doubled.contains('\\') {
        // The blank keeps it apart from a name that stands right before it, as quote_literal() does.
        format!(" E'{}'", doubled.replace('\\', "\\\\"))
    } else {
        format!("'{doubled}'")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_backslashes_are_doubled() {
        assert_eq!(ident("a\"b"), "\"a\"\"b\"");
        assert_eq!(
            (raw("plain"), raw(&ident("a\"b"))),
            ("plain".to_owned(), "a\"b".to_owned())
        );
        assert_eq!(qualified("My", "t"), "\"My\".\"t\"");
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal("a\\'b"), " E'a\\\\''b'");
    }
}
