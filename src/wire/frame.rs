//! Reading of backend messages: headers and bodies to values, and nothing else.
//!
//! Pure: no I/O, runs wherever a `wire` session lives. It must not panic on any bytes; a body that
//! does not fit its grammar is [`Malformed`].
//!
//! Grammar (PostgreSQL documentation, "Message Formats", protocol 3.0): a message is one tag byte,
//! a big-endian `i32` length that counts itself but not the tag, and the body. Strings in bodies
//! end with a zero byte.
//! ```text
//! Authentication R   i32 kind, data by kind     ParameterStatus  S   name\0 value\0
//! BackendKeyData K   i32 pid, key               ReadyForQuery    Z   I | T | E
//! DataRow        D   i16 n, n × (i32 len, data; len -1 = null)
//! CommandComplete C  tag\0                      ErrorResponse E, NoticeResponse N: (code text\0)* \0
//! ```

/// Bytes of a header: tag and length.
pub(super) const HEADER_BYTES: usize = 5;

/// A body that does not follow the grammar.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// Tag and body length of the message that `bytes` begins with; `None` when more bytes are needed.
pub(super) fn header(bytes: &[u8]) -> Result<Option<(u8, usize)>, Malformed> {
    let Some(([tag, length @ ..], _)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
        return Ok(None);
    };
    let length = usize::try_from(i32::from_be_bytes(*length)).map_err(|_| Malformed)?;
    Ok(Some((*tag, length.checked_sub(4).ok_or(Malformed)?)))
}

/// What is left of a body.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or(Malformed)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn i32(&mut self) -> Result<i32, Malformed> {
        self.array().map(i32::from_be_bytes)
    }

    fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_be_bytes)
    }

    fn text(&mut self) -> Result<String, Malformed> {
        let end = self.0.iter().position(|byte| *byte == 0).ok_or(Malformed)?;
        let text = self.take(end)?;
        self.take(1)?;
        Ok(String::from_utf8_lossy(text).into_owned())
    }
}

/// An `Authentication…` message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Auth {
    /// The server is content.
    Ok,
    /// It wants the password as it is.
    Password,
    /// It wants the password hashed with this salt.
    Md5([u8; 4]),
    /// It offers these SASL mechanisms.
    Sasl(Vec<String>),
    /// It goes on with SASL.
    SaslContinue(Vec<u8>),
    /// It ends SASL with its proof.
    SaslFinal(Vec<u8>),
    /// It wants something that we do not do.
    Unsupported(i32),
}

/// Reads the body of `R`.
pub(super) fn auth(body: &[u8]) -> Result<Auth, Malformed> {
    let mut cursor = Cursor(body);
    Ok(match cursor.i32()? {
        0 => Auth::Ok,
        3 => Auth::Password,
        5 => Auth::Md5(cursor.array()?),
        10 => {
            let mut mechanisms = Vec::new();
            loop {
                let name = cursor.text()?;
                if name.is_empty() {
                    break Auth::Sasl(mechanisms);
                }
                mechanisms.push(name);
            }
        }
        11 => Auth::SaslContinue(cursor.0.to_vec()),
        12 => Auth::SaslFinal(cursor.0.to_vec()),
        other => Auth::Unsupported(other),
    })
}

/// Reads the body of `S`: name and value.
pub(super) fn parameter_status(body: &[u8]) -> Result<(String, String), Malformed> {
    let mut cursor = Cursor(body);
    Ok((cursor.text()?, cursor.text()?))
}

/// Reads the body of `K`: process id and cancel key.
pub(super) fn backend_key(body: &[u8]) -> Result<(i32, i32), Malformed> {
    let mut cursor = Cursor(body);
    Ok((cursor.i32()?, cursor.i32()?))
}

/// Reads the body of `D`. Bytes that are not UTF-8 become replacement characters.
pub(super) fn data_row(body: &[u8]) -> Result<Vec<Option<String>>, Malformed> {
    let mut cursor = Cursor(body);
    let count = cursor.u16()?;
    let mut row = Vec::with_capacity(usize::from(count));
    for _ in 0..count {
        let length = cursor.i32()?;
        row.push(if length == -1 {
            None
        } else {
            let value = cursor.take(usize::try_from(length).map_err(|_| Malformed)?)?;
            Some(String::from_utf8_lossy(value).into_owned())
        });
    }
    Ok(row)
}

/// Reads the body of `T`: for each column the number of the table's column it comes from, 0: none.
pub(super) fn row_attnums(body: &[u8]) -> Result<Vec<u16>, Malformed> {
    let mut cursor = Cursor(body);
    let count = cursor.u16()?;
    let mut attnums = Vec::with_capacity(usize::from(count));
    for _ in 0..count {
        cursor.text()?;
        // Table oid, then column number, then type oid, size, modifier and format.
        cursor.take(4)?;
        attnums.push(cursor.u16()?);
        cursor.take(12)?;
    }
    Ok(attnums)
}

/// Reads the body of `C`.
pub(super) fn command_tag(body: &[u8]) -> Result<String, Malformed> {
    Cursor(body).text()
}

/// The row count of a tag such as `COPY 42`.
pub(super) fn copied_rows(tag: &str) -> Option<u64> {
    tag.strip_prefix("COPY ")?.parse().ok()
}

/// Reads the body of `E` and `N`: pairs of field code and text.
pub(super) fn fields(body: &[u8]) -> Result<Vec<(u8, String)>, Malformed> {
    let mut cursor = Cursor(body);
    let mut fields = Vec::new();
    loop {
        let [code] = cursor.array()?;
        if code == 0 {
            return Ok(fields);
        }
        fields.push((code, cursor.text()?));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs every reader on `body`; none may panic.
    fn read_all(body: &[u8]) {
        let _ignored = (
            header(body),
            auth(body),
            parameter_status(body),
            backend_key(body),
        );
        let _ignored = (data_row(body), command_tag(body), fields(body));
    }

    #[test]
    fn every_truncation_and_every_changed_byte_gives_a_value_or_an_error() {
        let samples: [&[u8]; 9] = [
            b"\0\0\0\0",
            b"\0\0\0\x05abcd",
            b"\0\0\0\x0aSCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0",
            b"\0\0\0\x0br=abc,s=def,i=4096",
            b"server_version\x0015.20\0",
            b"\0\0\x12\x34\0\0\0\x07",
            b"\0\x03\0\0\0\x02ab\xff\xff\xff\xff\0\0\0\0",
            b"COPY 42\0",
            b"SERROR\0VERROR\0C42P01\0Mrelation \"x\" does not exist\0P15\0\0",
        ];
        for sample in samples {
            for end in 0..=sample.len() {
                read_all(&sample[..end]);
            }
            for position in 0..sample.len() {
                for value in [0, 1, 0x7f, 0x80, 0xff] {
                    let mut changed = sample.to_vec();
                    changed[position] = value;
                    read_all(&changed);
                }
            }
        }
    }

    #[test]
    fn a_truncated_body_is_malformed() {
        let row = b"\0\x03\0\0\0\x02ab\xff\xff\xff\xff\0\0\0\0";
        assert_eq!(
            data_row(row),
            Ok(vec![Some("ab".into()), None, Some(String::new())])
        );
        for end in 0..row.len() {
            assert_eq!(data_row(&row[..end]), Err(Malformed), "{end}");
        }
        let error = b"SERROR\0C42P01\0\0";
        for end in 0..error.len() {
            assert_eq!(fields(&error[..end]), Err(Malformed), "{end}");
        }
        assert_eq!(data_row(b"\0\x01\xff\xff\xff\xfe"), Err(Malformed));
    }

    #[test]
    fn a_header_needs_five_bytes_and_a_length_of_four_at_least() {
        assert_eq!(header(b"Z\0\0\0"), Ok(None));
        assert_eq!(header(b"Z\0\0\0\x05I"), Ok(Some((b'Z', 1))));
        assert_eq!(header(b"Z\0\0\0\x03"), Err(Malformed));
        assert_eq!(header(b"Z\xff\xff\xff\xff"), Err(Malformed));
    }

    #[test]
    fn the_row_count_is_in_the_tag() {
        assert_eq!(copied_rows("COPY 42"), Some(42));
        assert_eq!(copied_rows("SELECT 42"), None);
    }
}
