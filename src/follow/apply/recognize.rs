//! Statements of SQL files back into what they say, so that they can be written anew for the target.
//!
//! Pure. The grammar is the strict one that transform writes, here and in the existing program:
//!
//! ```text
//! INSERT INTO t (a, b) [overriding system value] VALUES ($1, $2)[, ($3, $4) …]    INSERT INTO t DEFAULT VALUES
//! UPDATE t SET a = $1, b = $2 WHERE k = $3 and l IS NULL
//! DELETE FROM t WHERE k = $1 and l IS NULL     DELETE FROM t WHERE k IN ($1, …)     … (k, l) IN (($1, $2), …)
//! TRUNCATE [ONLY] t, u [RESTART IDENTITY] [CASCADE]     REFRESH MATERIALIZED VIEW [CONCURRENTLY] v
//! ```
//! Parameters stand in order, each once. A text that is anything else is run as it stands.

/// Kinds of statements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Verb {
    Insert,
    Update,
    Delete,
}

/// A column of a WHERE clause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeyColumn {
    /// Its name.
    pub(super) name: String,
    /// It is compared with NULL and has no parameter.
    pub(super) is_null: bool,
}

/// Schema and name of a table, unquoted; the schema may be absent in files of others.
pub(super) type TableName = (String, String);

/// What a statement says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) verb: Verb,
    pub(super) table: TableName,
    /// Columns that get values: of the new row, or of SET.
    pub(super) set: Vec<String>,
    /// Columns of WHERE.
    pub(super) keys: Vec<KeyColumn>,
    /// Rows of INSERT and DELETE; 1 of UPDATE.
    pub(super) rows: usize,
}

impl Shape {
    /// Parameters of one row.
    pub(super) fn width(&self) -> usize {
        self.set.len() + self.keys.iter().filter(|key| !key.is_null).count()
    }
}

/// A TRUNCATE. Whether it had CASCADE does not matter: all tables that were emptied are named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Truncate {
    pub(super) tables: Vec<TableName>,
    pub(super) restart: bool,
}

struct Cursor<'a>(&'a str);

/// The name in `U&"…"`: `\\` is a backslash, `\` and four digits a character.
fn unescaped(text: &str) -> Option<String> {
    let mut name = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        name.push_str(rest.get(..at)?);
        let escape = rest.get(at + 1..)?;
        if let Some(more) = escape.strip_prefix('\\') {
            name.push('\\');
            rest = more;
        } else {
            let code = u32::from_str_radix(escape.get(..4)?, 16).ok()?;
            name.push(char::from_u32(code)?);
            rest = escape.get(4..)?;
        }
    }
    name.push_str(rest);
    Some(name)
}

impl Cursor<'_> {
    /// Takes a word whatever its case, and blanks before it.
    fn word(&mut self, word: &str) -> Option<()> {
        let rest = self.0.trim_start();
        let (start, end) = rest.split_at_checked(word.len())?;
        let more = end.as_bytes().first();
        let ends = !word.ends_with(|c: char| c.is_ascii_alphanumeric())
            || more.is_none_or(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_');
        (start.eq_ignore_ascii_case(word) && ends).then(|| self.0 = end)
    }

    fn words(&mut self, words: &[&str]) -> Option<()> {
        let before = self.0;
        for word in words {
            if self.word(word).is_none() {
                self.0 = before;
                return None;
            }
        }
        Some(())
    }

    fn name(&mut self) -> Option<String> {
        let rest = self.0.trim_start();
        let (quoted, escaped) = match rest.strip_prefix("U&\"") {
            Some(quoted) => (Some(quoted), true),
            None => (rest.strip_prefix('"'), false),
        };
        let Some(mut quoted) = quoted else {
            let end = rest
                .find(|c: char| c.is_ascii() && !c.is_ascii_alphanumeric() && c != '_' && c != '$')
                .unwrap_or(rest.len());
            let name = rest.get(..end)?;
            self.0 = rest.get(end..)?;
            let first = name.chars().next()?;
            return (!first.is_ascii_digit() && first != '$').then(|| name.to_owned());
        };
        let mut name = String::new();
        loop {
            let at = quoted.find('"')?;
            name.push_str(quoted.get(..at)?);
            quoted = quoted.get(at + 1..)?;
            match quoted.strip_prefix('"') {
                Some(more) => {
                    name.push('"');
                    quoted = more;
                }
                None => break,
            }
        }
        self.0 = quoted;
        if escaped {
            name = unescaped(&name)?;
        }
        Some(name)
    }

    fn table(&mut self) -> Option<TableName> {
        let first = self.name()?;
        if self.word(".").is_some() {
            return Some((first, self.name()?));
        }
        Some((String::new(), first))
    }

    fn parameter(&mut self, number: &mut usize) -> Option<()> {
        self.word("$")?;
        let end = self
            .0
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(self.0.len());
        let given: usize = self.0.get(..end)?.parse().ok()?;
        *number += 1;
        self.0 = self.0.get(end..)?;
        (given == *number).then_some(())
    }

    fn end(&self) -> Option<()> {
        self.0.trim().is_empty().then_some(())
    }

    /// `($1, $2), ($3, $4)` of rows so wide; their count.
    fn rows(&mut self, width: usize, number: &mut usize) -> Option<usize> {
        let mut rows = 0;
        loop {
            self.word("(")?;
            for column in 0..width {
                if column > 0 {
                    self.word(",")?;
                }
                self.parameter(number)?;
            }
            self.word(")")?;
            rows += 1;
            if self.word(",").is_none() {
                return Some(rows);
            }
        }
    }

    fn conditions(&mut self, number: &mut usize) -> Option<Vec<KeyColumn>> {
        let mut keys = Vec::new();
        loop {
            let name = self.name()?;
            let is_null = self.words(&["IS", "NULL"]).is_some();
            if !is_null {
                self.word("=")?;
                self.parameter(number)?;
            }
            keys.push(KeyColumn { name, is_null });
            if self.word("and").is_none() {
                return Some(keys);
            }
        }
    }
}

/// What a statement says; none where it is none of the grammar.
pub(super) fn statement(sql: &str) -> Option<Shape> {
    let mut cursor = Cursor(sql);
    if cursor.words(&["INSERT", "INTO"]).is_some() {
        insert(cursor)
    } else if cursor.word("UPDATE").is_some() {
        update(cursor)
    } else if cursor.words(&["DELETE", "FROM"]).is_some() {
        delete(cursor)
    } else {
        None
    }
}

fn insert(mut cursor: Cursor<'_>) -> Option<Shape> {
    let table = cursor.table()?;
    let mut shape = Shape {
        verb: Verb::Insert,
        table,
        set: Vec::new(),
        keys: Vec::new(),
        rows: 1,
    };
    if cursor.words(&["DEFAULT", "VALUES"]).is_some() {
        cursor.end()?;
        return Some(shape);
    }
    cursor.word("(")?;
    loop {
        shape.set.push(cursor.name()?);
        if cursor.word(",").is_none() {
            break;
        }
    }
    cursor.word(")")?;
    let _optional = cursor.words(&["overriding", "system", "value"]);
    cursor.word("VALUES")?;
    shape.rows = cursor.rows(shape.set.len(), &mut 0)?;
    cursor.end()?;
    Some(shape)
}

fn update(mut cursor: Cursor<'_>) -> Option<Shape> {
    let table = cursor.table()?;
    cursor.word("SET")?;
    let (mut set, mut number) = (Vec::new(), 0);
    loop {
        set.push(cursor.name()?);
        cursor.word("=")?;
        cursor.parameter(&mut number)?;
        if cursor.word(",").is_none() {
            break;
        }
    }
    cursor.word("WHERE")?;
    let keys = cursor.conditions(&mut number)?;
    cursor.end()?;
    Some(Shape {
        verb: Verb::Update,
        table,
        set,
        keys,
        rows: 1,
    })
}

fn delete(mut cursor: Cursor<'_>) -> Option<Shape> {
    let table = cursor.table()?;
    cursor.word("WHERE")?;
    let (mut number, before) = (0, cursor.0);
    let mut names = Vec::new();
    let bracket = cursor.word("(").is_some();
    loop {
        names.push(cursor.name()?);
        if !bracket || cursor.word(",").is_none() {
            break;
        }
    }
    if bracket {
        cursor.word(")")?;
    }
    let (keys, rows) = if cursor.word("IN").is_some() {
        cursor.word("(")?;
        let rows = if bracket {
            cursor.rows(names.len(), &mut number)?
        } else {
            loop {
                cursor.parameter(&mut number)?;
                if cursor.word(",").is_none() {
                    break number;
                }
            }
        };
        cursor.word(")")?;
        let key = |name| KeyColumn {
            name,
            is_null: false,
        };
        (names.into_iter().map(key).collect(), rows)
    } else {
        cursor.0 = before;
        (cursor.conditions(&mut number)?, 1)
    };
    cursor.end()?;
    Some(Shape {
        verb: Verb::Delete,
        table,
        set: Vec::new(),
        keys,
        rows,
    })
}

/// The tables of a TRUNCATE; none where it is none of the grammar.
pub(super) fn truncate(sql: &str) -> Option<Truncate> {
    let mut cursor = Cursor(sql);
    cursor.word("TRUNCATE")?;
    let _optional = cursor.word("TABLE");
    let mut tables = Vec::new();
    loop {
        let _optional = cursor.word("ONLY");
        tables.push(cursor.table()?);
        if cursor.word(",").is_none() {
            break;
        }
    }
    let restart = cursor.words(&["RESTART", "IDENTITY"]).is_some();
    let _optional = cursor.words(&["CONTINUE", "IDENTITY"]);
    let _optional = cursor.word("CASCADE");
    cursor.end()?;
    Some(Truncate { tables, restart })
}

/// The view of a REFRESH; none where it is none of the grammar.
pub(super) fn refresh(sql: &str) -> Option<TableName> {
    let mut cursor = Cursor(sql);
    cursor.words(&["REFRESH", "MATERIALIZED", "VIEW"])?;
    let _optional = cursor.word("CONCURRENTLY");
    let view = cursor.table()?;
    cursor.end()?;
    Some(view)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(columns: &[KeyColumn]) -> Vec<String> {
        columns
            .iter()
            .map(|key| format!("{}{}", key.name, if key.is_null { "?" } else { "" }))
            .collect()
    }

    #[test]
    fn statements_of_either_quoting_are_recognised() {
        let shape = statement(
            "INSERT INTO public.rental (rental_id, \"Odd \"\"x, ($1)\") overriding system value VALUES ($1, $2), ($3, $4)",
        )
        .unwrap();
        assert_eq!(shape.table, ("public".to_owned(), "rental".to_owned()));
        assert_eq!(shape.set, ["rental_id", "Odd \"x, ($1)"]);
        assert_eq!((shape.rows, shape.width()), (2, 2));
        let shape = statement(
            "UPDATE \"S\".\"where\" SET \"set\" = $1, b=$2 WHERE \"and\" = $3 AND c IS NULL and is_null = $4",
        )
        .unwrap();
        assert_eq!(shape.set, ["set", "b"]);
        assert_eq!(names(&shape.keys), ["and", "c?", "is_null"]);
        assert_eq!(shape.width(), 4);
        for (sql, rows, keys) in [
            ("DELETE FROM t WHERE a = $1 and b = $2", 1, 2),
            ("DELETE FROM s.t WHERE id IN ($1, $2, $3)", 3, 1),
            ("DELETE FROM s.t WHERE (a, b) IN (($1, $2), ($3, $4))", 2, 2),
            ("DELETE FROM s.t WHERE a IS NULL", 1, 1),
        ] {
            let shape = statement(sql).unwrap();
            assert_eq!((shape.rows, shape.keys.len()), (rows, keys), "{sql}");
        }
        assert!(
            statement("INSERT INTO a.b DEFAULT VALUES")
                .unwrap()
                .set
                .is_empty()
        );
        assert_eq!(
            statement("INSERT INTO a.U&\"x\\000ay\\\\\" (c) VALUES ($1)")
                .unwrap()
                .table
                .1,
            "x\ny\\"
        );
    }

    #[test]
    fn a_text_of_another_shape_is_not_taken_for_one() {
        for sql in [
            "INSERT INTO t (a) VALUES ($2)",
            "INSERT INTO t (a, b) VALUES ($1)",
            "INSERT INTO t (a) VALUES ($1), ($1)",
            "INSERT INTO t (a) VALUES (DEFAULT)",
            "INSERT INTO t (a) VALUES ($1) RETURNING a",
            "UPDATE t SET a = DEFAULT WHERE b = $1",
            "UPDATE t SET a = $1",
            "UPDATE t SET a = $1 WHERE b = $2 or c = $3",
            "DELETE FROM t",
            "DELETE FROM t WHERE a > $1",
            "SELECT 1",
            "",
        ] {
            assert_eq!(statement(sql), None, "{sql}");
        }
    }

    #[test]
    fn truncates_name_their_tables() {
        let truncate = truncate("TRUNCATE ONLY a.b, \"C\".d RESTART IDENTITY CASCADE").unwrap();
        assert_eq!((truncate.tables.len(), truncate.restart), (2, true));
        assert_eq!(truncate.tables[1], ("C".to_owned(), "d".to_owned()));
        assert_eq!(super::truncate("TRUNCATE a; DROP TABLE b"), None);
        assert_eq!(
            refresh("REFRESH MATERIALIZED VIEW a.\"V\""),
            Some(("a".to_owned(), "V".to_owned()))
        );
    }
}
