//! The archive's own SQL for indexes, constraints and foreign keys, entry by entry.
//!
//! Pure; runs in whoever plans the index workers' statements, and in these workers. Reads the text
//! that `pg_restore --verbose --file - --use-list=LIST ARCHIVE` prints. Each entry begins with
//!
//! ```text
//! --
//! -- TOC entry 4015 (class 2606 OID 17715)
//! -- Dependencies: 257
//! -- Name: doc doc_pkey; Type: CONSTRAINT; Schema: archive; Owner: postgres
//! ```
//! `SET default_tablespace` and `SET default_table_access_method` stand before the header of the entry
//! that needs them and hold for all that follow. It must not trust a header inside a statement.

use crate::dump::archive_list::Entry;
use crate::dump::lexer::{
    Piece, Token, TokenKind, for_each_piece, meaningful_tokens, with_escape_strings,
};
use crate::error::{Error, Kind, Result};
use crate::units::Oid;

/// The SQL of one entry of the archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptEntry {
    /// Number within the archive.
    pub dump_id: i32,
    /// Oid of the system catalog that holds the object.
    pub catalog_oid: Oid,
    /// The object's oid on the source.
    pub object_oid: Oid,
    /// Kind of entry, such as `INDEX`.
    pub desc: String,
    /// Statements with their semicolons, in order.
    pub statements: Vec<String>,
    /// Value to set `default_tablespace` to before them, quoted for SQL; `None` for the database's.
    pub default_tablespace: Option<String>,
    /// Value to set `default_table_access_method` to before them; `None` for the server's.
    pub default_access_method: Option<String>,
}

/// A script, taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Script {
    /// Entries in the order of the script.
    pub entries: Vec<ScriptEntry>,
    /// Dump ids of entries whose text is not UTF-8, to be left to `pg_restore`.
    pub unreadable: Vec<i32>,
}

/// Takes a script apart. `expected` are the entries of the list it was made with, in order; anything
/// else, or an entry that is missing or unknown, is an error of kind `Tool`.
pub fn split(script: &[u8], expected: &[&Entry]) -> Result<Script> {
    let mut splitter = Splitter {
        expected,
        script: Script::default(),
        next: 0,
        in_entry: false,
        readable: true,
        tablespace: None,
        access_method: None,
        backslash_quotes: false,
    };
    for_each_piece(script, |piece| match piece {
        Piece::Comment(comment) => splitter.take_comment(comment),
        Piece::Statement(statement) => {
            splitter.take_statement(statement);
            Ok(())
        }
    })?;
    splitter.finish()
}

struct Splitter<'a> {
    expected: &'a [&'a Entry],
    script: Script,
    next: usize,
    in_entry: bool,
    readable: bool,
    tablespace: Option<String>,
    access_method: Option<String>,
    /// The source has `standard_conforming_strings = off`, and the script is written for that.
    backslash_quotes: bool,
}

impl Splitter<'_> {
    fn take_comment(&mut self, comment: &[u8]) -> Result<()> {
        let Some(header) = comment.strip_prefix(b"-- TOC entry ") else {
            return Ok(());
        };
        let header = String::from_utf8_lossy(header);
        let Some((dump_id, catalog_oid, object_oid)) = parse_header(&header) else {
            return Err(Error::new(
                Kind::Tool,
                "pg_restore printed a header that is not understood",
            )
            .detail(format!("The header is: TOC entry {header}")));
        };
        let expected = self.expected.get(self.next);
        let Some(entry) = expected.filter(|entry| {
            entry.dump_id == dump_id && entry.identity() == (catalog_oid, object_oid)
        }) else {
            let wanted = expected.map_or("the end".to_owned(), |e| e.dump_id.to_string());
            return Err(Error::new(
                Kind::Tool,
                "pg_restore printed other entries than were asked for",
            )
            .detail(format!(
                "Expected was {wanted}, printed was entry {dump_id}."
            )));
        };
        self.close();
        self.next += 1;
        self.in_entry = true;
        self.script.entries.push(ScriptEntry {
            dump_id,
            catalog_oid,
            object_oid,
            desc: entry.desc.clone(),
            statements: Vec::new(),
            default_tablespace: self.tablespace.clone(),
            default_access_method: self.access_method.clone(),
        });
        Ok(())
    }

    fn take_statement(&mut self, statement: &[u8]) {
        let Ok(text) = std::str::from_utf8(statement) else {
            self.readable = false;
            return;
        };
        if let Some(value) = setting(text, "default_tablespace") {
            self.tablespace = some_value(value);
        } else if let Some(value) = setting(text, "default_table_access_method") {
            self.access_method = some_value(value);
        } else if let Some(value) = setting(text, "standard_conforming_strings") {
            self.backslash_quotes = value == "off";
        } else if self.in_entry
            && let Some(entry) = self.script.entries.last_mut()
        {
            if !self.backslash_quotes {
                entry.statements.push(text.to_owned());
            } else if let Ok(text) = with_escape_strings(text) {
                entry.statements.push(text);
            } else {
                self.readable = false;
            }
        }
    }

    /// An entry that could not be read as a whole is none.
    fn close(&mut self) {
        if self.in_entry && !self.readable {
            self.script
                .unreadable
                .extend(self.script.entries.pop().map(|entry| entry.dump_id));
        }
        self.in_entry = false;
        self.readable = true;
    }

    fn finish(mut self) -> Result<Script> {
        self.close();
        match self.expected.get(self.next) {
            None => Ok(self.script),
            Some(entry) => Err(Error::new(
                Kind::Tool,
                "pg_restore printed fewer entries than were asked for",
            )
            .detail(format!(
                "Entry {} is missing: {}",
                entry.dump_id, entry.line
            ))),
        }
    }
}

/// Parses `4015 (class 2606 OID 17715)`.
fn parse_header(text: &str) -> Option<(i32, Oid, Oid)> {
    let (dump_id, after) = text.trim_end().split_once(" (class ")?;
    let (catalog_oid, after) = after.split_once(" OID ")?;
    let object_oid = after.strip_suffix(')')?;
    Some((
        dump_id.parse().ok()?,
        catalog_oid.parse().ok()?,
        object_oid.parse().ok()?,
    ))
}

/// The value of `SET name = value;`, empty for none; outer `None` for any other statement.
fn setting<'a>(statement: &'a str, name: &str) -> Option<&'a str> {
    let value = statement
        .strip_prefix("SET ")?
        .strip_prefix(name)?
        .strip_prefix(" = ")?;
    let value = value.strip_suffix(';')?;
    Some(if value == "''" { "" } else { value })
}

/// A setting's value, if it has one.
fn some_value(value: &str) -> Option<String> {
    (!value.is_empty()).then(|| value.to_owned())
}

/// Which kind of constraint is to adopt an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// A primary key.
    Primary,
    /// A unique constraint.
    Unique,
}

/// When a constraint is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deferral {
    /// Always at once.
    NotDeferrable,
    /// At once unless the session says otherwise.
    Deferrable,
    /// At commit unless the session says otherwise.
    InitiallyDeferred,
}

/// Turns `ALTER TABLE ONLY s.t ADD CONSTRAINT n PRIMARY KEY (a) ...;` into the statement that adopts
/// a ready index of the table's schema. `index_name` is quoted for SQL.
pub fn constraint_using_index(
    first_statement: &str,
    index_name: &str,
    kind: KeyKind,
    deferral: Deferral,
) -> Result<String> {
    let head = Head::parse(first_statement)?;
    let kind = match kind {
        KeyKind::Primary => "PRIMARY KEY",
        KeyKind::Unique => "UNIQUE",
    };
    let deferral = match deferral {
        Deferral::NotDeferrable => "",
        Deferral::Deferrable => " DEFERRABLE",
        Deferral::InitiallyDeferred => " DEFERRABLE INITIALLY DEFERRED",
    };
    Ok(format!(
        "ALTER TABLE ONLY {} ADD CONSTRAINT {} {kind} USING INDEX {index_name}{deferral};",
        head.table, head.constraint
    ))
}

/// What a key's own statement says about when it is checked.
pub fn deferral(first_statement: &str) -> Result<Deferral> {
    let words = trailing_words(first_statement, Head::parse(first_statement)?.end)?;
    let says = |wanted: &[&str]| words.windows(wanted.len()).any(|window| window == wanted);
    Ok(if says(&["INITIALLY", "DEFERRED"]) {
        Deferral::InitiallyDeferred
    } else if says(&["DEFERRABLE"]) && !says(&["NOT", "DEFERRABLE"]) {
        Deferral::Deferrable
    } else {
        Deferral::NotDeferrable
    })
}

/// Adds `NOT VALID` to the statement that makes a foreign key. The second value says whether it was
/// there before: such a key is not validated on the source either, and stays so.
pub fn not_valid(fk_statement: &str) -> Result<(String, bool)> {
    let head = Head::parse(fk_statement)?;
    let words = trailing_words(fk_statement, head.end)?;
    if words.windows(2).any(|window| window == ["NOT", "VALID"]) {
        return Ok((fk_statement.to_owned(), true));
    }
    let tokens = meaningful_tokens(fk_statement)?;
    let end = tokens
        .iter()
        .rev()
        .find(|token| text_of(fk_statement, token) != ";");
    let end = end.map_or(0, |token| token.end);
    Ok((
        format!("{} NOT VALID;", fk_statement.get(..end).unwrap_or_default()),
        false,
    ))
}

/// The statement that validates the foreign key which the given statement makes.
pub fn validate(fk_statement: &str) -> Result<String> {
    let head = Head::parse(fk_statement)?;
    Ok(format!(
        "ALTER TABLE {} VALIDATE CONSTRAINT {};",
        head.table, head.constraint
    ))
}

/// `ALTER TABLE [ONLY] table ADD CONSTRAINT constraint`, names as they stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head<'a> {
    /// The table, quoted and qualified as in the statement.
    pub table: &'a str,
    /// The constraint, quoted as in the statement.
    pub constraint: &'a str,
    /// Offset after the constraint's name.
    pub end: usize,
}

impl<'a> Head<'a> {
    /// Reads the head of a statement that adds a constraint; kind `Tool` when it is another one.
    pub fn parse(statement: &'a str) -> Result<Self> {
        let tokens = meaningful_tokens(statement)?;
        Self::from_tokens(statement, &tokens).ok_or_else(|| {
            let words: Vec<&str> = tokens
                .iter()
                .take(3)
                .map(|token| text_of(statement, token))
                .collect();
            Error::new(
                Kind::Tool,
                "the archive makes a constraint in a way that is not understood",
            )
            .detail(format!("The statement begins with {}.", words.join(" ")))
        })
    }

    fn from_tokens(statement: &'a str, tokens: &[Token]) -> Option<Self> {
        let mut tokens = tokens.iter().peekable();
        for word in ["ALTER", "TABLE"] {
            tokens
                .next()
                .filter(|token| is_word(statement, token, word))?;
        }
        tokens.next_if(|token| is_word(statement, token, "ONLY"));
        let first = tokens.next().filter(|token| is_name(token))?;
        let mut last = first;
        while tokens
            .next_if(|token| text_of(statement, token) == ".")
            .is_some()
        {
            last = tokens.next().filter(|token| is_name(token))?;
        }
        for word in ["ADD", "CONSTRAINT"] {
            tokens
                .next()
                .filter(|token| is_word(statement, token, word))?;
        }
        let name = tokens.next().filter(|token| is_name(token))?;
        Some(Self {
            table: statement.get(first.start..last.end)?,
            constraint: statement.get(name.start..name.end)?,
            end: name.end,
        })
    }
}

fn is_name(token: &Token) -> bool {
    matches!(token.kind, TokenKind::Word | TokenKind::QuotedName)
}

fn is_word(statement: &str, token: &Token, word: &str) -> bool {
    token.kind == TokenKind::Word && text_of(statement, token).eq_ignore_ascii_case(word)
}

fn text_of<'a>(statement: &'a str, token: &Token) -> &'a str {
    statement.get(token.start..token.end).unwrap_or_default()
}

/// The unquoted words outside of parentheses from an offset on, in capitals.
fn trailing_words(statement: &str, from: usize) -> Result<Vec<String>> {
    let mut depth = 0_usize;
    let mut words = Vec::new();
    for token in meaningful_tokens(statement)?
        .iter()
        .filter(|token| token.start >= from)
    {
        match text_of(statement, token) {
            "(" => depth += 1,
            ")" => depth = depth.saturating_sub(1),
            word if depth == 0 && token.kind == TokenKind::Word => {
                words.push(word.to_ascii_uppercase());
            }
            _ => {}
        }
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dump::archive_list::parse;

    const SAMPLES: [(&str, &str); 2] = [
        (
            include_str!("../../tests/data/dump/shopdb-15.list"),
            include_str!("../../tests/data/dump/shopdb-15.sql"),
        ),
        (
            include_str!("../../tests/data/dump/shopdb-18.list"),
            include_str!("../../tests/data/dump/shopdb-18.sql"),
        ),
    ];

    fn scripted(list: &str) -> Vec<Entry> {
        let mut entries = parse(list).unwrap();
        entries.retain(|e| matches!(e.desc.as_str(), "INDEX" | "CONSTRAINT" | "FK CONSTRAINT"));
        entries
    }

    #[test]
    fn recorded_scripts_give_the_statements_of_every_entry() {
        for (list, sql) in SAMPLES {
            let entries = scripted(list);
            let expected: Vec<&Entry> = entries.iter().collect();
            let script = split(sql.as_bytes(), &expected).unwrap();
            assert_eq!(script.entries.len(), entries.len());
            assert!(script.unreadable.is_empty());
            for entry in &script.entries {
                assert!(!entry.statements.is_empty(), "{entry:?}");
                match entry.desc.as_str() {
                    "INDEX" => assert!(entry.statements[0].starts_with("CREATE ")),
                    _ => {
                        Head::parse(&entry.statements[0]).unwrap();
                    }
                }
            }
            let clustered = script
                .entries
                .iter()
                .filter(|entry| entry.statements.len() > 1);
            assert!(
                clustered.count() > 0,
                "replica identity and statistics stand with the index"
            );
        }
    }

    #[test]
    fn a_script_of_other_entries_is_refused() {
        let (list, sql) = SAMPLES[0];
        let entries = scripted(list);
        let all: Vec<&Entry> = entries.iter().collect();
        assert!(split(sql.as_bytes(), &all[1..]).is_err());
        assert!(split(sql.as_bytes(), &all[..all.len() - 1]).is_err());
        assert!(split(b"", &all).is_err());
        assert!(split(b"-- TOC entry x", &all).is_err());
        for end in (0..sql.len()).step_by(11) {
            if let Ok(script) = split(&sql.as_bytes()[..end], &all) {
                assert_eq!(script.entries.len(), all.len());
            }
        }
    }

    #[test]
    fn tablespaces_hold_from_where_they_are_set() {
        let entries =
            parse("1; 1259 5 INDEX a b c\n2; 1259 6 INDEX a d c\n3; 1259 7 INDEX a e c").unwrap();
        let sql = b"SET default_tablespace = '';\n-- TOC entry 1 (class 1259 OID 5)\nselect 1;\n\
            SET default_tablespace = \"T\";\n-- TOC entry 2 (class 1259 OID 6)\nselect '-- TOC entry 9 (class 1 OID 1)';\n\
            SET default_table_access_method = heap;\n-- TOC entry 3 (class 1259 OID 7)\nselect '\xff';";
        let script = split(sql, &entries.iter().collect::<Vec<_>>()).unwrap();
        let spaces: Vec<Option<&str>> = script
            .entries
            .iter()
            .map(|e| e.default_tablespace.as_deref())
            .collect();
        assert_eq!(spaces, [None, Some("\"T\"")]);
        assert_eq!(script.entries[1].statements.len(), 1);
        assert_eq!(script.unreadable, [3]);
    }

    #[test]
    fn keys_adopt_an_index_and_keep_their_deferral() {
        let key = "ALTER TABLE ONLY \"Quoted Schema\".\"We \"\"(x). t\"\n    ADD CONSTRAINT \"p k\" \
                   PRIMARY KEY (a, \"DEFERRABLE\") INCLUDE (c) DEFERRABLE INITIALLY DEFERRED;";
        let when = deferral(key).unwrap();
        assert_eq!(when, Deferral::InitiallyDeferred);
        assert_eq!(
            constraint_using_index(key, "\"p k\"", KeyKind::Primary, when).unwrap(),
            "ALTER TABLE ONLY \"Quoted Schema\".\"We \"\"(x). t\" ADD CONSTRAINT \"p k\" PRIMARY KEY \
             USING INDEX \"p k\" DEFERRABLE INITIALLY DEFERRED;"
        );
        let plain = "ALTER TABLE ONLY a.b ADD CONSTRAINT c UNIQUE (\"DEFERRABLE\");";
        assert_eq!(deferral(plain).unwrap(), Deferral::NotDeferrable);
        for bad in [
            "",
            "ALTER TABLE",
            "CREATE INDEX a ON b (c);",
            "ALTER TABLE a.b ADD c",
            "'",
        ] {
            assert!(
                constraint_using_index(bad, "c", KeyKind::Unique, when).is_err(),
                "{bad}"
            );
            assert!(validate(bad).is_err());
        }
    }

    #[test]
    fn foreign_keys_are_made_not_valid_once() {
        let key = "ALTER TABLE ONLY s.t\n    ADD CONSTRAINT k FOREIGN KEY (a) REFERENCES s.r(b) ON DELETE CASCADE;";
        let (made, was) = not_valid(key).unwrap();
        assert!(
            made.ends_with("ON DELETE CASCADE NOT VALID;") && !was,
            "{made}"
        );
        assert_eq!(not_valid(&made).unwrap(), (made.clone(), true));
        assert_eq!(
            validate(key).unwrap(),
            "ALTER TABLE s.t VALIDATE CONSTRAINT k;"
        );
    }
}
