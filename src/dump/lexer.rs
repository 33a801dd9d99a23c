//! Taking SQL text apart into statements and tokens, as psql does, without understanding it.
//!
//! Pure; runs in whoever replays text that the PostgreSQL tools wrote. Knows quoted names, strings,
//! `E''` strings, dollar quotes, nested comments, parentheses and `BEGIN ATOMIC` bodies, and drops
//! psql's backslash lines. It must never split inside one of these.

use crate::error::{Error, Kind, Result};

/// What a piece of SQL text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// Spaces and line ends.
    Space,
    /// A line or block comment.
    Comment,
    /// A key word or an unquoted name.
    Word,
    /// A name in double quotes.
    QuotedName,
    /// A string constant, or a dollar-quoted body.
    Text,
    /// A backslash command of psql, up to the end of its line.
    Backslash,
    /// Any other single character, or a number.
    Other,
}

/// A piece of SQL text: its kind, and where it starts and ends in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub kind: TokenKind,
    /// Offset of its first byte.
    pub start: usize,
    /// Offset after its last byte.
    pub end: usize,
}

/// Reads tokens one after the other; the text may hold any bytes.
pub struct Lexer<'a> {
    text: &'a [u8],
    at: usize,
    /// Whether a backslash quotes within plain strings, as with `standard_conforming_strings = off`.
    pub backslash_quotes: bool,
}

impl<'a> Lexer<'a> {
    /// Starts at the beginning of a text.
    pub fn new(text: &'a [u8]) -> Self {
        Self {
            text,
            at: 0,
            backslash_quotes: false,
        }
    }

    fn byte(&self, offset: usize) -> Option<u8> {
        self.text.get(offset).copied()
    }

    /// The next token; `None` at the end. An unfinished string, name or comment is an error.
    pub fn next_token(&mut self) -> Result<Option<Token>> {
        let start = self.at;
        let Some(first) = self.byte(start) else {
            return Ok(None);
        };
        let second = self.byte(start + 1);
        let (kind, end) = match (first, second) {
            (b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c, _) => (
                TokenKind::Space,
                self.skip(start, |c| c.is_ascii_whitespace() || c == 0x0b),
            ),
            (b'-', Some(b'-')) => (TokenKind::Comment, self.skip(start, |c| c != b'\n')),
            (b'/', Some(b'*')) => (TokenKind::Comment, self.block_comment_end(start)?),
            (b'"', _) => (TokenKind::QuotedName, self.quoted_end(start, b'"', false)?),
            (b'\'', _) => (
                TokenKind::Text,
                self.quoted_end(start, b'\'', self.backslash_quotes)?,
            ),
            (b'e' | b'E', Some(b'\'')) => {
                (TokenKind::Text, self.quoted_end(start + 1, b'\'', true)?)
            }
            (b'$', _) => self.dollar(start)?,
            (b'\\', _) => (TokenKind::Backslash, self.skip(start, |c| c != b'\n')),
            (c, _) if is_word_start(c) => (TokenKind::Word, self.skip(start, is_word_part)),
            (c, _) if c.is_ascii_digit() => (TokenKind::Other, self.skip(start, is_word_part)),
            _ => (TokenKind::Other, start + 1),
        };
        self.at = end;
        Ok(Some(Token { kind, start, end }))
    }

    fn skip(&self, start: usize, wanted: impl Fn(u8) -> bool) -> usize {
        let rest = self.text.get(start..).unwrap_or_default();
        start + rest.iter().position(|c| !wanted(*c)).unwrap_or(rest.len())
    }

    fn unfinished(&self, what: &str, start: usize) -> Error {
        let line = 1 + self
            .text
            .iter()
            .take(start)
            .filter(|c| **c == b'\n')
            .count();
        Error::new(
            Kind::Tool,
            format!("unfinished {what} in the SQL text, from line {line} on"),
        )
    }

    fn block_comment_end(&self, start: usize) -> Result<usize> {
        let mut depth = 0_usize;
        let mut at = start;
        while at < self.text.len() {
            match (self.byte(at), self.byte(at + 1)) {
                (Some(b'/'), Some(b'*')) => {
                    depth += 1;
                    at += 2;
                }
                (Some(b'*'), Some(b'/')) => {
                    depth -= 1;
                    at += 2;
                    if depth == 0 {
                        return Ok(at);
                    }
                }
                _ => at += 1,
            }
        }
        Err(self.unfinished("comment", start))
    }

    /// The end of a quoted piece whose opening quote stands at `open`; a doubled quote is part of it.
    fn quoted_end(&self, open: usize, quote: u8, backslash: bool) -> Result<usize> {
        let mut at = open + 1;
        while let Some(c) = self.byte(at) {
            if backslash && c == b'\\' {
                at += 2;
            } else if c != quote {
                at += 1;
            } else if self.byte(at + 1) == Some(quote) {
                at += 2;
            } else {
                return Ok(at + 1);
            }
        }
        Err(self.unfinished("quoted text", open))
    }

    /// A dollar-quoted string, or a lone dollar (a parameter).
    fn dollar(&self, start: usize) -> Result<(TokenKind, usize)> {
        let tag_end = self.skip(start + 1, |c| is_word_part(c) && c != b'$');
        let starts_well = self.byte(start + 1).is_none_or(|c| !c.is_ascii_digit());
        if !starts_well || self.byte(tag_end) != Some(b'$') {
            return Ok((TokenKind::Other, start + 1));
        }
        let body = tag_end + 1;
        let tag = &self.text[start..body];
        let rest = self.text.get(body..).unwrap_or_default();
        match rest.windows(tag.len()).position(|window| window == tag) {
            Some(offset) => Ok((TokenKind::Text, body + offset + tag.len())),
            None => Err(self.unfinished("dollar-quoted text", start)),
        }
    }
}

fn is_word_start(c: u8) -> bool {
    c.is_ascii_alphabetic() || c == b'_' || c >= 0x80
}

fn is_word_part(c: u8) -> bool {
    is_word_start(c) || c.is_ascii_digit() || c == b'$'
}

/// What stands between statements, or a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// A comment outside of statements, without its line end.
    Comment(&'a [u8]),
    /// A statement with its semicolon, if it has one.
    Statement(&'a [u8]),
}

/// How far a statement has been read.
#[derive(Default)]
struct Progress {
    start: Option<usize>,
    parens: usize,
    /// The first words, to recognise functions whose body is SQL.
    words: Vec<String>,
    /// Depth of `BEGIN ATOMIC ... END`, counting `CASE`.
    begins: usize,
}

/// Words looked at to recognise `CREATE OR REPLACE FUNCTION`.
const HEAD_WORDS: usize = 4;

impl Progress {
    fn take_word(&mut self, word: &[u8]) {
        let word = String::from_utf8_lossy(word).to_ascii_lowercase();
        let routine = self.words.first().is_some_and(|first| first == "create")
            && self
                .words
                .iter()
                .skip(1)
                .any(|w| w == "function" || w == "procedure");
        if routine && self.parens == 0 {
            match word.as_str() {
                "begin" => self.begins += 1,
                "case" if self.begins > 0 => self.begins += 1,
                "end" => self.begins = self.begins.saturating_sub(1),
                _ => {}
            }
        }
        if self.words.len() < HEAD_WORDS {
            self.words.push(word);
        }
    }
}

/// Splits text into statements and the comments between them, and hands each to `take`. Whether a
/// backslash quotes in plain strings follows the text's own `SET standard_conforming_strings`.
pub fn for_each_piece<'a>(
    text: &'a [u8],
    mut take: impl FnMut(Piece<'a>) -> Result<()>,
) -> Result<()> {
    let mut lexer = Lexer::new(text);
    let mut now = Progress::default();
    while let Some(token) = lexer.next_token()? {
        let piece = &text[token.start..token.end];
        match (token.kind, now.start) {
            (TokenKind::Space, _)
            | (TokenKind::Backslash, None)
            | (TokenKind::Comment, Some(_)) => {}
            (TokenKind::Comment, None) => take(Piece::Comment(piece))?,
            (kind, _) => {
                let start = *now.start.get_or_insert(token.start);
                match (kind, piece) {
                    (TokenKind::Word, word) => now.take_word(word),
                    (TokenKind::Other, b"(") => now.parens += 1,
                    (TokenKind::Other, b")") => now.parens = now.parens.saturating_sub(1),
                    (TokenKind::Other, b";") if now.parens == 0 && now.begins == 0 => {
                        let statement = &text[start..token.end];
                        if piece != statement {
                            follow_strings_setting(&mut lexer, statement);
                            take(Piece::Statement(statement))?;
                        }
                        now = Progress::default();
                    }
                    _ => {}
                }
            }
        }
    }
    match now.start {
        Some(start) => take(Piece::Statement(text[start..].trim_ascii_end())),
        None => Ok(()),
    }
}

fn follow_strings_setting(lexer: &mut Lexer<'_>, statement: &[u8]) {
    let words: Vec<String> = String::from_utf8_lossy(statement.get(..80).unwrap_or(statement))
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| !word.is_empty())
        .map(str::to_ascii_lowercase)
        .collect();
    if let [set, name, value] = words.as_slice()
        && set == "set"
        && name == "standard_conforming_strings"
    {
        lexer.backslash_quotes = value == "off";
    }
}

/// Splits text into its statements, comments between them and backslash lines left out. Each keeps its
/// semicolon; the last one may lack it. Errors are of kind `Tool`: text that ends within a quote.
pub fn split_statements(sql: &str) -> Result<Vec<String>> {
    let mut statements = Vec::new();
    for_each_piece(sql.as_bytes(), |piece| {
        if let Piece::Statement(statement) = piece {
            statements.push(String::from_utf8_lossy(statement).into_owned());
        }
        Ok(())
    })?;
    Ok(statements)
}

/// The statement, written for `standard_conforming_strings = off`, so that it means the same whatever that
/// setting is: plain strings in which a backslash quotes become `E''` strings.
pub fn with_escape_strings(sql: &str) -> Result<String> {
    let mut lexer = Lexer::new(sql.as_bytes());
    lexer.backslash_quotes = true;
    let mut written = String::with_capacity(sql.len() + 8);
    while let Some(token) = lexer.next_token()? {
        let piece = sql.get(token.start..token.end).unwrap_or_default();
        if token.kind == TokenKind::Text && piece.starts_with('\'') && piece.contains('\\') {
            if written.as_bytes().last().is_some_and(|c| is_word_part(*c)) {
                written.push(' ');
            }
            written.push('E');
        }
        written.push_str(piece);
    }
    Ok(written)
}

/// The tokens of a statement that mean something: no spaces, no comments.
pub fn meaningful_tokens(sql: &str) -> Result<Vec<Token>> {
    let mut lexer = Lexer::new(sql.as_bytes());
    let mut tokens = Vec::new();
    while let Some(token) = lexer.next_token()? {
        if !matches!(token.kind, TokenKind::Space | TokenKind::Comment) {
            tokens.push(token);
        }
    }
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_in_which_a_backslash_quotes_say_so() {
        let said = with_escape_strings(
            r#"CREATE INDEX "i\" ON t ((v || 'a\'''b'), date'\1', E'\\', 'plain', $$\ '$$);"#,
        );
        assert_eq!(
            said.unwrap(),
            r#"CREATE INDEX "i\" ON t ((v || E'a\'''b'), date E'\1', E'\\', 'plain', $$\ '$$);"#
        );
    }

    const AWKWARD: &str = r#"
-- a; comment
/* a /* nested; */ one; */
CREATE FUNCTION f() RETURNS text LANGUAGE sql AS $_$ select ';' || $$x;$$ || '$' $_$;
CREATE FUNCTION g(a integer) RETURNS integer LANGUAGE sql
    BEGIN ATOMIC
 SELECT CASE WHEN (g.a > 1) THEN 1 ELSE 2 END;
 SELECT 3 AS "END;";
END;
COMMENT ON FUNCTION f() IS 'it''s; \';
COMMENT ON FUNCTION f() IS E'it\'s; ';
CREATE RULE r AS ON DELETE TO t DO INSTEAD ( SELECT 1; SELECT 2; );
ALTER TABLE "a;""b" ADD x integer; SELECT 1 -- last; one
  , $1, a$b$c;
BEGIN;
COMMIT;
;;
select 'end'"#;

    #[test]
    fn statements_are_split_only_where_they_end() {
        let statements = split_statements(AWKWARD).unwrap();
        let starts: Vec<&str> = statements
            .iter()
            .map(|s| s.get(..12).unwrap_or(s.as_str()))
            .collect();
        assert_eq!(
            starts,
            [
                "CREATE FUNCT",
                "CREATE FUNCT",
                "COMMENT ON F",
                "COMMENT ON F",
                "CREATE RULE ",
                "ALTER TABLE ",
                "SELECT 1 -- ",
                "BEGIN;",
                "COMMIT;",
                "select 'end'"
            ]
        );
        assert!(statements[1].ends_with("END;"), "{}", statements[1]);
    }

    #[test]
    fn backslash_lines_are_skipped_and_strings_follow_the_setting() {
        let sql = "\\restrict x'y\nset standard_conforming_strings = off;\nselect '\\';';\n\\unrestrict x\n";
        let statements = split_statements(sql).unwrap();
        assert_eq!(
            statements,
            ["set standard_conforming_strings = off;", "select '\\';';"]
        );
    }

    #[test]
    fn every_truncation_gives_statements_or_an_error() {
        for end in (0..AWKWARD.len()).filter(|end| AWKWARD.is_char_boundary(*end)) {
            let _either = split_statements(&AWKWARD[..end]);
        }
        assert!(split_statements("select 'x").is_err());
        assert!(split_statements("select \"x").is_err());
        assert!(split_statements("select $a$x$b$").is_err());
        assert!(split_statements("select /* /* */").is_err());
        assert!(split_statements("select e'\\").is_err());
    }
}
