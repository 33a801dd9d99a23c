//! Values of many changes in one piece of memory.
//!
//! Pure. Values are the source server's text; nothing here looks into them.

use crate::error::{Error, Result};

/// One value: NULL, or where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cell {
    Null,
    At { start: usize, end: usize },
}

/// The values of a group of changes.
#[derive(Debug, Default)]
pub(super) struct Values {
    bytes: Vec<u8>,
    cells: Vec<Cell>,
}

fn bad(why: &str) -> Error {
    Error::bad_state(format!("could not read the values of EXECUTE: {why}"))
        .hint("Transform can make the SQL file again from its JSON file.")
}

impl Values {
    /// Bytes held.
    pub(super) fn len(&self) -> usize {
        self.bytes.len() + self.cells.len() * size_of::<Cell>()
    }

    /// How many values there are.
    pub(super) fn count(&self) -> usize {
        self.cells.len()
    }

    /// A value by its number.
    pub(super) fn cell(&self, at: usize) -> Cell {
        self.cells.get(at).copied().unwrap_or(Cell::Null)
    }

    /// A value's text.
    pub(super) fn text(&self, cell: Cell) -> Option<&[u8]> {
        match cell {
            Cell::Null => None,
            Cell::At { start, end } => Some(self.bytes.get(start..end).unwrap_or_default()),
        }
    }

    /// Forgets values from number `cells` on, the last that were added.
    pub(super) fn truncate(&mut self, cells: usize) {
        let dropped = self.cells.get(cells..).unwrap_or_default();
        let first = dropped.iter().find_map(|cell| match cell {
            Cell::At { start, .. } => Some(*start),
            Cell::Null => None,
        });
        if let Some(first) = first {
            self.bytes.truncate(first);
        }
        self.cells.truncate(cells);
    }

    /// Moves values from number `cells` on into another store; their numbers there begin at 0.
    pub(super) fn split_off(&mut self, cells: usize) -> Self {
        let mut moved = Self::default();
        for at in cells..self.cells.len() {
            let cell = self.cell(at);
            let start = moved.bytes.len();
            let copy = match self.text(cell) {
                None => Cell::Null,
                Some(text) => {
                    moved.bytes.extend_from_slice(text);
                    Cell::At {
                        start,
                        end: moved.bytes.len(),
                    }
                }
            };
            moved.cells.push(copy);
        }
        self.truncate(cells);
        moved
    }

    /// Adds the values of a JSON array of strings and nulls; gives their count.
    pub(super) fn add(&mut self, array: &str) -> Result<usize> {
        let before = self.cells.len();
        let mut rest = array.strip_prefix('[').ok_or_else(|| bad("no array"))?;
        rest = rest.trim_start();
        if let Some(end) = rest.strip_prefix(']') {
            return if end.trim().is_empty() {
                Ok(0)
            } else {
                Err(bad("more behind the array"))
            };
        }
        loop {
            rest = self.one(rest)?.trim_start();
            if let Some(more) = rest.strip_prefix(',') {
                rest = more.trim_start();
            } else if let Some(end) = rest.strip_prefix(']') {
                if !end.trim().is_empty() {
                    return Err(bad("more behind the array"));
                }
                return Ok(self.cells.len() - before);
            } else {
                return Err(bad("a comma is missing"));
            }
        }
    }

    fn one<'a>(&mut self, text: &'a str) -> Result<&'a str> {
        if let Some(rest) = text.strip_prefix("null") {
            self.cells.push(Cell::Null);
            return Ok(rest);
        }
        let mut rest = text
            .strip_prefix('"')
            .ok_or_else(|| bad("a value is no text"))?;
        let start = self.bytes.len();
        loop {
            let at = rest
                .bytes()
                .position(|byte| byte == b'"' || byte == b'\\')
                .ok_or_else(|| bad("a value has no end"))?;
            let (plain, more) = rest.split_at(at);
            self.bytes.extend_from_slice(plain.as_bytes());
            if let Some(end) = more.strip_prefix('"') {
                rest = end;
                break;
            }
            rest = self.escape(more.get(1..).unwrap_or(""))?;
        }
        let end = self.bytes.len();
        self.cells.push(Cell::At { start, end });
        Ok(rest)
    }

    fn escape<'a>(&mut self, text: &'a str) -> Result<&'a str> {
        let wrong = || bad("an escape is none of JSON's");
        let letter = text.bytes().next().ok_or_else(wrong)?;
        let rest = text.get(1..).ok_or_else(wrong)?;
        let byte = match letter {
            b'"' | b'\\' | b'/' => letter,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'b' => 8,
            b'f' => 12,
            b'u' => return self.unicode(rest),
            _ => return Err(wrong()),
        };
        self.bytes.push(byte);
        Ok(rest)
    }

    fn unicode<'a>(&mut self, text: &'a str) -> Result<&'a str> {
        let wrong = || bad("an escape is none of JSON's");
        let unit = |text: &str| -> Result<u32> {
            let digits = text.get(..4).ok_or_else(wrong)?;
            u32::from_str_radix(digits, 16).map_err(|_| wrong())
        };
        let mut code = unit(text)?;
        let mut rest = text.get(4..).unwrap_or("");
        if (0xD800..0xDC00).contains(&code) {
            let low = rest.strip_prefix("\\u").ok_or_else(wrong)?;
            let second = unit(low)?;
            if !(0xDC00..0xE000).contains(&second) {
                return Err(wrong());
            }
            code = 0x1_0000 + ((code - 0xD800) << 10) + (second - 0xDC00);
            rest = low.get(4..).unwrap_or("");
        }
        let letter = char::from_u32(code).ok_or_else(wrong)?;
        let mut utf8 = [0; 4];
        self.bytes
            .extend_from_slice(letter.encode_utf8(&mut utf8).as_bytes());
        Ok(rest)
    }
}

/// Appends an element to the text of an array, `{` and commas included.
pub(super) fn push_element(value: Option<&[u8]>, out: &mut Vec<u8>) {
    out.push(if out.is_empty() { b'{' } else { b',' });
    let Some(text) = value else {
        out.extend_from_slice(b"NULL");
        return;
    };
    out.push(b'"');
    if text.iter().any(|byte| matches!(byte, b'"' | b'\\')) {
        for byte in text {
            if matches!(byte, b'"' | b'\\') {
                out.push(b'\\');
            }
            out.push(*byte);
        }
    } else {
        out.extend_from_slice(text);
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(array: &str) -> Vec<Option<String>> {
        let mut values = Values::default();
        let count = values.add(array).unwrap();
        (0..count)
            .map(|at| {
                values
                    .text(values.cell(at))
                    .map(|text| String::from_utf8(text.to_vec()).unwrap())
            })
            .collect()
    }

    #[test]
    fn values_are_what_any_json_reader_makes_of_them() {
        let every: String = (0..0x11_0000)
            .filter_map(char::from_u32)
            .step_by(97)
            .collect();
        for array in [
            "[]".to_owned(),
            r#"["1",null,"","null","a\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00é"]"#.to_owned(),
            r#"[ "a" , null ]"#.to_owned(),
            serde_json::to_string(&[&every]).unwrap(),
        ] {
            let expected: Vec<Option<String>> = serde_json::from_str(&array).unwrap();
            assert_eq!(read(&array), expected);
        }
    }

    #[test]
    fn what_is_no_array_of_texts_is_refused() {
        for array in [
            "",
            "[",
            "[1]",
            r#"["a""#,
            r#"["a" "b"]"#,
            r#"["a",]"#,
            r#"["\x"]"#,
            r#"["\ud83d"]"#,
            r#"["a"]x"#,
            "[]x",
            r#"["\u00"#,
            "[true]",
        ] {
            assert!(Values::default().add(array).is_err(), "{array}");
        }
    }

    #[test]
    fn the_last_values_can_be_dropped_and_moved() {
        let mut values = Values::default();
        values.add(r#"["a",null]"#).unwrap();
        values.add(r#"[null,"b","c"]"#).unwrap();
        let moved = values.split_off(2);
        assert_eq!((values.count(), values.bytes.as_slice()), (2, &b"a"[..]));
        assert_eq!(
            (moved.count(), moved.text(moved.cell(2))),
            (3, Some(&b"c"[..]))
        );
    }

    #[test]
    fn elements_of_arrays_are_quoted() {
        let mut out = Vec::new();
        push_element(Some(b"a\"\\b"), &mut out);
        push_element(None, &mut out);
        push_element(Some(b"NULL"), &mut out);
        assert_eq!(out, br#"{"a\"\\b",NULL,"NULL""#);
    }
}
