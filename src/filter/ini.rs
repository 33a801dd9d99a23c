//! The grammar of a filters file.
//!
//! Pure. Reads bytes, gives rules or an error that names the line.
//!
//! ```text
//! file     := line*
//! line     := blank* (section | entry)? blank* comment?
//! section  := "[" name "]"
//! entry    := part                       schemas, extensions
//!           | part "." part              tables, indexes
//! part     := name | '"' ('""' | any)* '"' | pattern
//! pattern  := "~" segment ("~"? segment)*      joined together
//! segment  := one of /…/ {…} (…) [...] <…> "…" '…' |…| #…# $…$; brackets nest
//! comment  := (";" | "#") any*           at the start of a line or after a blank
//! ```
//! A name without quotes is folded as in SQL.

use super::rules::{Name, Rule, Rules, SECTIONS, Section, Subject, error_at};
use crate::error::{Error, Result};
use std::path::Path;

/// Longest name of an object, bytes.
const NAME_MAX: usize = 63;

/// Reads a filters file. A file that cannot be read is `BadArgs`, one that says nothing sensible
/// `BadConfig`.
pub fn read(path: &Path) -> Result<Rules> {
    let shown = path.display().to_string();
    let bytes = std::fs::read(path).map_err(|error| {
        Error::bad_args(format!("could not read filters file \"{shown}\": {error}"))
            .hint("Give another path with --filters.")
    })?;
    parse(&bytes, &shown)
}

/// Parses the text of a filters file; `path` is for messages.
pub fn parse(bytes: &[u8], path: &str) -> Result<Rules> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut rules = Rules {
        path: path.to_owned(),
        rules: Vec::new(),
        warnings: Vec::new(),
    };
    let mut headers: Vec<(usize, Section)> = Vec::new();
    for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let number = index + 1;
        let failed = |what: &str| error_at(path, number, what);
        let line = std::str::from_utf8(line)
            .map_err(|_| failed("it is not UTF-8").hint("Save the file as UTF-8."))?;
        if line.contains('\0') {
            return Err(failed("it holds a zero byte"));
        }
        let line = line.trim();
        if line.is_empty() || line.starts_with([';', '#']) {
            continue;
        }
        if let Some(rest) = line.strip_prefix('[') {
            headers.push((number, header(rest, path, number)?));
            continue;
        }
        let Some((_, section)) = headers.last() else {
            return Err(failed("an entry stands before the first section")
                .hint("Begin with a section such as [exclude-table]."));
        };
        rules.rules.push(entry(line, *section, path, number)?);
    }
    for (number, section) in headers {
        if !rules.has(section) {
            rules.warnings.push(format!(
                "line {number} of filters file \"{path}\": section [{}] is empty and has no effect",
                section.name()
            ));
        }
    }
    rules.check()?;
    Ok(rules)
}

fn header(rest: &str, path: &str, number: usize) -> Result<Section> {
    let failed = |what: &str| error_at(path, number, what);
    let Some((name, after)) = rest.split_once(']') else {
        return Err(failed("a section's name has no closing bracket"));
    };
    if !is_blank_or_comment(after) {
        return Err(failed("something follows the section's name"));
    }
    let name = name.trim();
    if let Some(section) = SECTIONS.iter().find(|section| section.name() == name) {
        return Ok(*section);
    }
    let names: Vec<&str> = SECTIONS.iter().map(|section| section.name()).collect();
    let near = names.iter().min_by_key(|known| distance(known, name));
    let hint = match near {
        Some(near) if distance(near, name) <= 4 => format!("Did you mean [{near}]?"),
        _ => format!("The sections are: {}.", names.join(", ")),
    };
    Err(error_at(path, number, &format!("unknown section [{name}]")).hint(hint))
}

/// Steps of one letter that turn one word into the other.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.chars().enumerate() {
        let mut before = i;
        let mut left = i + 1;
        for (b, above) in other.iter().zip(row.iter_mut().skip(1)) {
            let here = (before + usize::from(a != *b))
                .min(left + 1)
                .min(*above + 1);
            before = *above;
            *above = here;
            left = here;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

fn is_blank_or_comment(text: &str) -> bool {
    let trimmed = text.trim_start();
    trimmed.is_empty() || (trimmed.len() < text.len() && trimmed.starts_with([';', '#']))
}

fn entry(line: &str, section: Section, path: &str, number: usize) -> Result<Rule> {
    let subject = section.subject();
    let failed = |what: String| error_at(path, number, &what).hint(hint(subject));
    let (first, after) = part(line, subject).map_err(failed)?;
    let (schema, name, after) = match (after.strip_prefix('.'), subject.is_qualified()) {
        (Some(rest), true) => {
            let (second, after) = part(rest, subject).map_err(failed)?;
            (Some(first), second, after)
        }
        (None, false) => (None, first, after),
        (None, true) => {
            return Err(failed(format!(
                "\"{line}\" lacks the schema: a {} is named as schema.name",
                subject.word()
            )));
        }
        (Some(_), false) => {
            return Err(failed(format!(
                "\"{line}\" has two parts, a {} has one name",
                subject.word()
            )));
        }
    };
    if !is_blank_or_comment(after) {
        return Err(match after.trim_start().chars().next() {
            Some('=') => failed("an entry takes no value".to_owned()),
            _ => failed(format!("\"{}\" follows the name", after.trim())),
        });
    }
    let written = line
        .get(..line.len() - after.len())
        .unwrap_or(line)
        .to_owned();
    Ok(Rule {
        section,
        line: number,
        schema,
        name,
        written,
    })
}

fn hint(subject: Subject) -> String {
    let example = if subject.is_qualified() {
        "public.orders, \"My Schema\".\"T\" or public.~/^tmp_/"
    } else {
        "sales, \"My Name\" or ~/^tmp_/"
    };
    format!("Write one {} a line, such as {example}.", subject.word())
}

/// Reads one part off the start of a text; gives it and what follows. Errors: what is wrong.
fn part(text: &str, subject: Subject) -> std::result::Result<(Name, &str), String> {
    if let Some(rest) = text.strip_prefix('~') {
        let (pattern, after) = pattern(rest)?;
        return Ok((Name::Pattern(pattern), after));
    }
    let (name, after) = if let Some(rest) = text.strip_prefix('"') {
        quoted(rest)?
    } else {
        bare(text, subject)?
    };
    if name.is_empty() {
        return Err("a name is empty".to_owned());
    }
    if name.len() > NAME_MAX {
        return Err(format!("a name is longer than {NAME_MAX} bytes"));
    }
    Ok((Name::Exact(name), after))
}

fn quoted(rest: &str) -> std::result::Result<(String, &str), String> {
    let mut name = String::new();
    let mut chars = rest.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if c != '"' {
            name.push(c);
        } else if chars.next_if(|(_, next)| *next == '"').is_some() {
            name.push('"');
        } else {
            return Ok((name, &rest[at + 1..]));
        }
    }
    Err("a quoted name has no closing quote".to_owned())
}

/// A name without quotes. That of an extension, such as `uuid-ossp`, is more than SQL allows.
fn bare(text: &str, subject: Subject) -> std::result::Result<(String, &str), String> {
    let is_extension = subject == Subject::Extension;
    let is_name = |c: char| {
        c.is_alphanumeric() || matches!(c, '_' | '$') || !c.is_ascii() && !c.is_whitespace()
    };
    let end = text
        .find(|c: char| !(is_name(c) || (is_extension && c == '-')))
        .unwrap_or(text.len());
    let (name, after) = text.split_at(end);
    match after.chars().next() {
        None | Some('.' | '=') => {}
        Some(c) if c.is_whitespace() => {}
        Some(c) => return Err(format!("a name with '{c}' in it needs double quotes")),
    }
    if !is_extension && name.starts_with(|c: char| c.is_ascii_digit() || c == '$') {
        return Err(format!("name {name} needs double quotes"));
    }
    Ok((name.to_ascii_lowercase(), after))
}

fn pattern(text: &str) -> std::result::Result<(String, &str), String> {
    let (mut pattern, mut after) = segment(text)?;
    loop {
        let next = after.strip_prefix('~').unwrap_or(after);
        match next.chars().next() {
            Some(c) if closing(c).is_some() => {
                let (more, rest) = segment(next)?;
                pattern.push_str(&more);
                after = rest;
            }
            _ => break,
        }
    }
    if pattern.is_empty() {
        return Err("a pattern is empty".to_owned());
    }
    Ok((pattern, after))
}

/// What ends a segment that begins with this character.
fn closing(opening: char) -> Option<char> {
    match opening {
        '[' => Some(']'),
        '{' => Some('}'),
        '(' => Some(')'),
        '<' => Some('>'),
        '/' | '"' | '\'' | '|' | '#' | '$' => Some(opening),
        _ => None,
    }
}

fn segment(text: &str) -> std::result::Result<(String, &str), String> {
    let mut chars = text.char_indices();
    let Some((opening, close)) = chars
        .next()
        .and_then(|(_, opening)| Some((opening, closing(opening)?)))
    else {
        return Err("a pattern is written as ~/…/, or with another delimiter".to_owned());
    };
    let start = opening.len_utf8();
    let mut depth = 1;
    for (at, c) in chars {
        if c == close {
            depth -= 1;
        } else if c == opening {
            depth += 1;
        }
        if depth == 0 {
            return Ok((text[start..at].to_owned(), &text[at + c.len_utf8()..]));
        }
    }
    Err(format!(
        "a pattern that begins with {opening} has no {close} at its end"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    fn rules(text: &str) -> Vec<(Section, Option<Name>, Name, usize)> {
        parse(text.as_bytes(), "f")
            .unwrap()
            .rules
            .into_iter()
            .map(|rule| (rule.section, rule.schema, rule.name, rule.line))
            .collect()
    }

    fn refused(text: &str) -> String {
        let error = parse(text.as_bytes(), "f").unwrap_err();
        assert_eq!(error.kind(), Kind::BadConfig);
        error.lines().join("\n")
    }

    fn exact(name: &str) -> Name {
        Name::Exact(name.to_owned())
    }

    fn re(pattern: &str) -> Name {
        Name::Pattern(pattern.to_owned())
    }

    #[test]
    fn every_section_is_read_with_comments_anywhere() {
        let text = "\u{feff}; first\n# second\n\n[exclude-schema] ; third\r\n  Sales # fourth\n\
            [exclude-table-data]\npublic.Log\t; fifth\n[exclude-index]\npublic.i\n\
            [exclude-extension]\nuuid-ossp\n[ include-only-table ]\n\"My S.x\".\"a\"\"b\"\n";
        assert_eq!(
            rules(text),
            [
                (Section::ExcludeSchema, None, exact("sales"), 5),
                (
                    Section::ExcludeTableData,
                    Some(exact("public")),
                    exact("log"),
                    7
                ),
                (Section::ExcludeIndex, Some(exact("public")), exact("i"), 9),
                (Section::ExcludeExtension, None, exact("uuid-ossp"), 11),
                (
                    Section::IncludeOnlyTable,
                    Some(exact("My S.x")),
                    exact("a\"b"),
                    13
                ),
            ]
        );
        for section in SECTIONS {
            let name = if section.subject().is_qualified() {
                "a.b"
            } else {
                "a"
            };
            let text = format!("[{}]\n{name}", section.name());
            assert_eq!(rules(&text)[0].0, section);
        }
    }

    #[test]
    fn patterns_keep_every_character_and_may_stand_in_either_part() {
        let one = |text: &str| {
            let rules = rules(&format!("[exclude-table]\n{text}"));
            (rules[0].1.clone().unwrap(), rules[0].2.clone())
        };
        assert_eq!(
            one(r"~/^part_/.~/_\d{2,3}$/ ; why"),
            (re("^part_"), re(r"_\d{2,3}$"))
        );
        assert_eq!(one("public.~{^a{2,3}$}"), (exact("public"), re("^a{2,3}$")));
        assert_eq!(one("p.~(a(b|c))"), (exact("p"), re("a(b|c)")));
        assert_eq!(one("p.~<;x #y>"), (exact("p"), re(";x #y")));
        assert_eq!(one("~/a/~\"/b\".\"T\""), (re("a/b"), exact("T")));
        assert_eq!(one("~|a|[^b].~'c'"), (re("a^b"), re("c")));
        assert_eq!(one("~#a#.~$b$"), (re("a"), re("b")));
        assert_eq!(one(r#"~/a"b\\,/.t"#), (re(r#"a"b\\,"#), exact("t")));
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_its_line() {
        for (text, line, words) in [
            ("[exclude-tabel]\n", 1, "Did you mean [exclude-table]?"),
            ("[other]\n", 1, "The sections are:"),
            ("[exclude-table\n", 1, "closing bracket"),
            ("[exclude-table] x\n", 1, "follows the section"),
            ("\npublic.t\n", 2, "before the first section"),
            ("[exclude-table]\nt\n", 2, "lacks the schema"),
            ("[exclude-schema]\na.b\n", 2, "has one name"),
            ("[exclude-table]\n.t\n", 2, "a name is empty"),
            ("[exclude-table]\na.\n", 2, "a name is empty"),
            ("[exclude-table]\na.\"\"\n", 2, "a name is empty"),
            ("[exclude-table]\na.\"b\n", 2, "closing quote"),
            ("[exclude-table]\na.b = c\n", 2, "no value"),
            ("[exclude-table]\na.b c\n", 2, "\"c\" follows the name"),
            ("[exclude-table]\na.b-c\n", 2, "needs double quotes"),
            ("[exclude-table]\na.2b\n", 2, "needs double quotes"),
            ("[exclude-table]\na.~/b\n", 2, "no / at its end"),
            ("[exclude-table]\na.~b\n", 2, "another delimiter"),
            ("[exclude-table]\na.~//\n", 2, "pattern is empty"),
            ("[exclude-table]\na.b.c\n", 2, "follows the name"),
            ("[exclude-schema]\na;b\n", 2, "needs double quotes"),
        ] {
            let said = refused(text);
            assert!(
                said.contains(words) && said.contains(&format!("line {line} of")),
                "{text:?}: {said}"
            );
        }
        let long = format!("[exclude-schema]\n{}", "x".repeat(64));
        assert!(refused(&long).contains("longer than 63"));
        let not_utf8 = parse(b"[exclude-schema]\n\xff\n", "f").unwrap_err();
        assert!(not_utf8.message().contains("line 2"));
    }

    #[test]
    fn sections_that_contradict_each_other_are_refused_patterns_included() {
        for (one, other, name) in [
            ("include-only-schema", "exclude-schema", "~/a/"),
            ("include-only-table", "exclude-table", "a.~/a/"),
            ("include-only-extension", "exclude-extension", "a"),
        ] {
            let said = refused(&format!("[{one}]\n{name}\n[{other}]\n{name}\n"));
            assert!(
                said.contains("cannot stand beside") && said.contains("line 4"),
                "{said}"
            );
        }
        let both = "[include-only-table]\na.b\n[exclude-schema]\nc\n[exclude-index]\n";
        let parsed = parse(both.as_bytes(), "f").unwrap();
        assert_eq!(parsed.warnings.len(), 2, "{:?}", parsed.warnings);
        let mut only = parse(b"[include-only-extension]\nx", "f").unwrap();
        assert!(only.check_skip_extensions().is_err());
        let mut excluded = parse(b"[exclude-extension]\nx", "f").unwrap();
        excluded.check_skip_extensions().unwrap();
        assert_eq!(excluded.warnings.len(), 1);
    }

    #[test]
    fn two_spellings_of_the_same_rules_have_one_canonical_text() {
        let one = parse(b"[exclude-table]\npublic.B\nPublic.a ; x\n", "f").unwrap();
        let other = parse(
            b"[exclude-table]\n\"public\".a\n\n[exclude-table]\npublic.b\npublic.b",
            "g",
        )
        .unwrap();
        assert_eq!(one.canonical(), other.canonical());
        assert_eq!(one.canonical().lines().count(), 2);
    }

    #[test]
    fn any_bytes_are_read_or_refused() {
        let sample = "[exclude-table]\n\"a\"\"b\".~{x{1}y}~/z/ ; c\n[exclude-schema]\n~(a(b)c)\n";
        for end in 0..sample.len() {
            let _read = parse(&sample.as_bytes()[..end], "f");
            for byte in [b'"', b'~', b'.', b'[', b' ', 0xff, 0] {
                let mut bytes = sample.as_bytes().to_vec();
                bytes[end] = byte;
                let _read = parse(&bytes, "f");
            }
        }
    }
}
