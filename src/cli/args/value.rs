//! Grammars of option values, the same for the command line and the environment.
//!
//! Pure. Errors are words that can follow `value "x": `.

/// Most workers of one kind.
const JOBS_MAX: u32 = 128;
/// Words for booleans, those of PostgreSQL.
const BOOLEANS: [(&str, bool); 8] = [
    ("true", true),
    ("false", false),
    ("yes", true),
    ("no", false),
    ("on", true),
    ("off", false),
    ("1", true),
    ("0", false),
];

/// Parses a number of workers.
pub(in crate::cli) fn jobs(text: &str) -> Result<u32, String> {
    let number: Option<u32> = whole(text);
    number
        .filter(|number| (1..=JOBS_MAX).contains(number))
        .ok_or_else(|| format!("expected a whole number from 1 to {JOBS_MAX}"))
}

/// Parses a number of parts.
pub(in crate::cli) fn parts(text: &str) -> Result<u32, String> {
    whole(text)
        .filter(|number| *number >= 1)
        .ok_or_else(|| format!("expected a whole number from 1 to {}", u32::MAX))
}

/// Parses a size; 0 means off.
pub(in crate::cli) fn bytes(text: &str) -> Result<u64, String> {
    crate::units::parse_bytes(text)
}

/// Parses a boolean: a word of PostgreSQL in any case, or a prefix that only one answer has.
pub(in crate::cli) fn boolean(text: &str) -> Result<bool, String> {
    let word = text.to_ascii_lowercase();
    let mut answers = BOOLEANS
        .iter()
        .filter(|(known, _)| known.starts_with(&word));
    let refusal = || "expected true, false, yes, no, on, off, 1 or 0".to_owned();
    match (answers.next(), answers.next()) {
        (Some((_, answer)), None) => Ok(*answer),
        _ => Err(refusal()),
    }
}

/// A format of strftime: every `%` begins a conversion that glibc knows.
pub(in crate::cli) fn time_format(text: &str) -> Result<String, String> {
    let mut rest = text.chars();
    while let Some(character) = rest.next() {
        if character != '%' {
            continue;
        }
        let conversion = rest.find(|one| !"_-0^#EO123456789".contains(*one));
        if !conversion.is_some_and(|one| "aAbBcCdDeFgGhHIjklmMnpPrRsStTuUVwWxXyYzZ%+".contains(one))
        {
            return Err("expected a format of strftime, as %Y-%m-%d %H:%M:%S".to_owned());
        }
    }
    Ok(text.to_owned())
}

/// Parses a text that must not be empty.
pub(in crate::cli) fn text(text: &str) -> Result<String, String> {
    if text.is_empty() {
        Err("it is empty".to_owned())
    } else {
        Ok(text.to_owned())
    }
}

/// Longest name of a machine, bytes.
const HOST_BYTES_MAX: usize = 255;

/// Parses the name or address of a machine.
pub(in crate::cli) fn host(text: &str) -> Result<String, String> {
    match text.len() {
        0 => Err("it is empty".to_owned()),
        1..=HOST_BYTES_MAX => Ok(text.to_owned()),
        _ => Err(format!("a name has at most {HOST_BYTES_MAX} bytes")),
    }
}

/// Parses a TCP port.
pub(in crate::cli) fn port(text: &str) -> Result<u16, String> {
    whole(text)
        .and_then(|port| u16::try_from(port).ok())
        .filter(|port| *port > 0)
        .ok_or_else(|| "expected a whole number from 1 to 65535".to_owned())
}

/// Parses an LSN.
pub(in crate::cli) fn lsn(text: &str) -> Result<crate::units::Lsn, String> {
    text.parse()
}

/// Parses a size that is not 0.
pub(in crate::cli) fn size(text: &str) -> Result<u64, String> {
    match bytes(text)? {
        0 => Err("expected a size of 1 byte at least".to_owned()),
        size => Ok(size),
    }
}

/// Parses the name of an output plugin.
pub(in crate::cli) fn plugin(text: &str) -> Result<crate::follow::files::Plugin, String> {
    crate::follow::files::Plugin::of_name(text)
        .ok_or_else(|| "expected pgoutput, test_decoding or wal2json".to_owned())
}

/// Longest name of an object of the server, bytes.
const NAME_BYTES_MAX: usize = 63;

/// Parses the name of an object of the server.
pub(in crate::cli) fn name(text: &str) -> Result<String, String> {
    match text.len() {
        0 => Err("it is empty".to_owned()),
        1..=NAME_BYTES_MAX => Ok(text.to_owned()),
        _ => Err(format!("a name has at most {NAME_BYTES_MAX} bytes")),
    }
}

/// Parses the name of a replication slot.
pub(in crate::cli) fn slot(text: &str) -> Result<String, String> {
    let fits = text
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    if fits {
        // Names of publications are made of it with an ending of five letters.
        return name(text);
    }
    Err("a replication slot's name has lower case letters, digits and underscores only".to_owned())
}

/// Parses the name of a replication origin; parallel workers have names of their own behind a slash.
pub(in crate::cli) fn origin(text: &str) -> Result<String, String> {
    if text.contains(['/', '\n']) {
        return Err("an origin's name has no slash and no line break".to_owned());
    }
    name(text)
}

/// Digits only: no sign, no blanks.
fn whole(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans_are_those_of_postgres_with_unique_prefixes() {
        for yes in ["true", "T", "tru", "yes", "y", "ON", "on", "1"] {
            assert_eq!(boolean(yes), Ok(true), "{yes}");
        }
        for no in ["false", "f", "no", "N", "off", "of", "0"] {
            assert_eq!(boolean(no), Ok(false), "{no}");
        }
        for bad in ["", "o", "banana", "10", "yess", " on"] {
            assert!(boolean(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn jobs_are_1_to_128() {
        assert_eq!((jobs("1"), jobs("128")), (Ok(1), Ok(128)));
        for bad in [
            "0",
            "129",
            "-1",
            "+4",
            "4.0",
            "",
            " 4",
            "four",
            "99999999999",
        ] {
            assert!(jobs(bad).is_err(), "{bad}");
        }
        assert_eq!((parts("1"), parts("100000")), (Ok(1), Ok(100_000)));
        assert!(parts("0").is_err());
    }
}
