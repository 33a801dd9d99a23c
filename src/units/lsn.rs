//! Positions in a server's write-ahead log, and the timelines they lie on.

use std::fmt;
use std::str::FromStr;

/// A position in the write-ahead log; text form `%X/%X`, `0/0` is "unset".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Lsn(pub u64);

/// A timeline of a server, from 1 on.
pub type Tli = u32;

impl Lsn {
    /// `0/0`, no position.
    pub const UNSET: Self = Self(0);

    /// Whether it is a position at all.
    pub fn is_set(self) -> bool {
        self.0 != 0
    }

    /// Bytes from `earlier` up to here, 0 when that lies behind.
    pub fn bytes_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xFFFF_FFFF)
    }
}

impl FromStr for Lsn {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let half = |digits: &str| -> Option<u64> {
            let right = (1..=8).contains(&digits.len())
                && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
            right.then(|| u64::from_str_radix(digits, 16).ok())?
        };
        text.split_once('/')
            .and_then(|(high, low)| Some(Self(half(high)? << 32 | half(low)?)))
            .ok_or_else(|| "expected an LSN such as 16/B374D848".to_owned())
    }
}

impl serde::Serialize for Lsn {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Lsn {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl serde::de::Visitor<'_> for Text {
            type Value = Lsn;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an LSN such as \"16/B374D848\"")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Lsn, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_read_and_printed_as_the_server_does() {
        for text in ["0/0", "0/24EFEC8", "16/B374D848", "FFFFFFFF/FFFFFFFF"] {
            assert_eq!(text.parse::<Lsn>().unwrap().to_string(), text);
        }
        assert_eq!("0/a".parse::<Lsn>(), Ok(Lsn(10)));
        for bad in [
            "",
            "/",
            "0",
            "1/",
            "/1",
            "0/123456789",
            "0/-1",
            "0/+1",
            " 0/1",
            "0/1/2",
            "g/1",
        ] {
            assert!(bad.parse::<Lsn>().is_err(), "{bad}");
        }
        assert_eq!(Lsn(5).bytes_since(Lsn(7)), 0);
    }
}
