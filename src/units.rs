//! Quantities and identities with their text forms: sides, oids, versions, sizes, durations.
//!
//! Runs in every process, does no I/O. Logs, summary and lists all print through here, so that one
//! figure looks the same everywhere.

mod lsn;

pub use lsn::{Lsn, Tli};

use std::fmt;

/// A PostgreSQL object identifier.
pub type Oid = u32;

/// Which of the two servers is meant.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
pub enum Side {
    /// The server that is read.
    Source,
    /// The server that is written.
    Target,
}

impl Side {
    /// Prefix of log lines, `SOURCE` or `TARGET`.
    pub fn tag(self) -> &'static str {
        match self {
            Self::Source => "SOURCE",
            Self::Target => "TARGET",
        }
    }

    /// The error kind of a failure on this side.
    pub fn kind(self) -> crate::error::Kind {
        match self {
            Self::Source => crate::error::Kind::Source,
            Self::Target => crate::error::Kind::Target,
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Source => "source",
            Self::Target => "target",
        })
    }
}

/// A server's `server_version_num`, such as 150020.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
pub struct PgVersion(pub u32);

impl PgVersion {
    /// The major version as PostgreSQL counts it from 10 on; 9 for all of 9.x.
    pub fn major(self) -> u32 {
        self.0 / 10_000
    }
}

impl fmt::Display for PgVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.major() >= 10 {
            write!(f, "{}.{}", self.0 / 10_000, self.0 % 10_000)
        } else {
            write!(
                f,
                "{}.{}.{}",
                self.0 / 10_000,
                self.0 / 100 % 100,
                self.0 % 100
            )
        }
    }
}

/// Units a size may be given in, with the power of 1024 each stands for.
const BYTE_UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];

/// Parses `10 GB`, `200MB`, `4096`. Errors say what is wrong in words that can follow `value "x": `.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let text = text.trim_matches(' ');
    let digits_end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at(digits_end);
    if digits.is_empty() {
        return Err("expected a whole number of bytes, such as 200MB or 10 GB".to_owned());
    }
    let number: u64 = digits
        .parse()
        .map_err(|_| "the number is too large".to_owned())?;
    let unit = unit.trim_matches(' ');
    if unit.is_empty() {
        return Ok(number);
    }
    let Some(power) = BYTE_UNITS.iter().position(|known| *known == unit) else {
        let meant = BYTE_UNITS
            .iter()
            .find(|known| known.eq_ignore_ascii_case(unit));
        return Err(match meant {
            Some(known) => format!("unknown unit \"{unit}\", did you mean {known}?"),
            None => format!("unknown unit \"{unit}\", use one of B, kB, MB, GB, TB, PB, EB"),
        });
    };
    let factor = 1_u64
        .checked_shl(10 * u32::try_from(power).unwrap_or(0))
        .unwrap_or(0);
    number
        .checked_mul(factor)
        .filter(|_| factor > 0)
        .ok_or_else(|| "the size is too large".to_owned())
}

/// Prints a size as `1002 B`, `9708 kB`, `91 MB`: whole numbers, next unit from 10240 on.
pub fn pretty_bytes(bytes: u64) -> String {
    let mut value = bytes;
    for unit in BYTE_UNITS {
        if value < 10_240 || unit == "EB" {
            return format!("{value} {unit}");
        }
        value /= 1024;
    }
    format!("{value} EB")
}

/// Prints a rate in bits a second, powers of 1000, next unit from 10000 on; `0 B/s` for no time.
pub fn pretty_rate(bytes: u64, elapsed_ms: u64) -> String {
    if elapsed_ms == 0 {
        return "0 B/s".to_owned();
    }
    let mut value = u128::from(bytes) * 8 * 1000 / u128::from(elapsed_ms);
    for unit in ["Bit/s", "kBit/s", "MBit/s", "GBit/s"] {
        if value < 10_000 || unit == "GBit/s" {
            return format!("{value} {unit}");
        }
        value /= 1000;
    }
    format!("{value} GBit/s")
}

/// Prints a count: `999`, `95 100`, `1000 thousands`, `1234 million`.
pub fn pretty_count(count: u64) -> String {
    if count < 1000 {
        return count.to_string();
    }
    if count < 1_000_000 {
        return format!("{} {:03}", count / 1000, count % 1000);
    }
    let mut value = count / 1000;
    for unit in ["thousands", "million", "billion", "trillion"] {
        if value < 10_000 || unit == "trillion" {
            return format!("{value} {unit}");
        }
        value /= 1000;
    }
    format!("{value} trillion")
}

/// Prints a duration with the padding of the summary: `  5ms`, ` 7s130`, `14s`, ` 3m07s`, ` 2h05m`.
pub fn pretty_ms(elapsed_ms: u64) -> String {
    let s = elapsed_ms / 1000;
    match elapsed_ms {
        0..1_000 => format!("{elapsed_ms:3}ms"),
        1_000..10_000 => format!("{s:2}s{:03}", elapsed_ms % 1000),
        10_000..60_000 => format!("{s:2}s"),
        60_000..3_600_000 => format!("{:2}m{:02}s", s / 60, s % 60),
        3_600_000..86_400_000 => format!("{:2}h{:02}m", s / 3600, s / 60 % 60),
        _ => format!("{:2}d{:02}h", s / 86_400, s / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_parsed_with_the_units_of_postgres_only() {
        assert_eq!(parse_bytes("0"), Ok(0));
        assert_eq!(parse_bytes(" 10 GB "), Ok(10 << 30));
        assert_eq!(parse_bytes("200MB"), Ok(200 << 20));
        assert_eq!(parse_bytes("1 TB"), Ok(1 << 40));
        assert!(parse_bytes("10Gb").unwrap_err().contains("did you mean GB"));
        for bad in [
            "",
            "GB",
            "-1",
            "1.5GB",
            "1 GB x",
            "99999999999999999999",
            "99999999 EB",
        ] {
            assert!(parse_bytes(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn figures_look_as_operators_know_them() {
        let sizes = [0, 1, 999, 10_239, 10_240, 9_940_992, 95_420_416];
        let shown: Vec<String> = sizes.iter().map(|size| pretty_bytes(*size)).collect();
        assert_eq!(
            shown,
            [
                "0 B", "1 B", "999 B", "10239 B", "10 kB", "9708 kB", "91 MB"
            ]
        );
        let times = [0, 5, 878, 7_130, 14_500, 187_000, 3_600_000, 86_400_000];
        let shown: Vec<String> = times.iter().map(|time| pretty_ms(*time)).collect();
        assert_eq!(
            shown,
            [
                "  0ms", "  5ms", "878ms", " 7s130", "14s", " 3m07s", " 1h00m", " 1d00h"
            ]
        );
        assert_eq!(pretty_count(999), "999");
        assert_eq!(pretty_count(95_100), "95 100");
        assert_eq!(pretty_count(1_000_000), "1000 thousands");
        assert_eq!(pretty_count(1_234_567_890), "1234 million");
        assert_eq!(pretty_rate(0, 0), "0 B/s");
        assert_eq!(pretty_rate(45_750_000, 1000), "366 MBit/s");
        assert_eq!(PgVersion(150_020).to_string(), "15.20");
        assert_eq!(PgVersion(90_624).to_string(), "9.6.24");
    }
}
