//! The service file: a named set of parameters (`service=name`, `PGSERVICE`).
//!
//! Runs in the supervisor. Reads the file that libpq would read: `servicefile`, `PGSERVICEFILE` or
//! `~/.pg_service.conf`, then the one of the system. Writes nothing. Must not repeat a line of the
//! file in an error: it may hold a password.

use super::draft::{Draft, Origin, invalid};
use super::env::{Lookup, home};
use super::keyword::{self, is_blank};
use crate::error::Result;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Where the system's file is when `PGSYSCONFDIR` does not say.
const SYSTEM_DIRECTORY: &str = "/etc/postgresql-common";
/// Largest service file, bytes.
const FILE_MAX: u64 = 4 << 20;

/// Fills in what the service says and the connection string does not. May block on the file.
pub(super) fn fill(draft: &mut Draft, env: Lookup<'_>) -> Result<()> {
    let from_string = draft.get("service").map(|given| given.value.clone());
    let Some(service) = from_string
        .or_else(|| env("PGSERVICE"))
        .filter(|name| !name.is_empty())
    else {
        return Ok(());
    };
    let named = draft
        .text("servicefile")
        .map(str::to_owned)
        .or_else(|| env("PGSERVICEFILE"));
    let (user_file, required) = match named.filter(|path| !path.is_empty()) {
        Some(path) => (Some(PathBuf::from(path)), true),
        None => (home(env).map(|home| home.join(".pg_service.conf")), false),
    };
    let system = env("PGSYSCONFDIR").filter(|directory| !directory.is_empty());
    let system =
        PathBuf::from(system.as_deref().unwrap_or(SYSTEM_DIRECTORY)).join("pg_service.conf");
    if let Some(path) = &user_file {
        if required && !path.exists() {
            return Err(invalid(format!(
                "service file \"{}\" not found",
                path.display()
            )));
        }
        if path.exists() && fill_from_file(draft, path, &service)? {
            return Ok(());
        }
    }
    if system.exists() && fill_from_file(draft, &system, &service)? {
        return Ok(());
    }
    let looked_at = user_file.into_iter().chain([system]);
    let looked_at: Vec<String> = looked_at
        .map(|path| format!("\"{}\"", path.display()))
        .collect();
    Err(
        invalid("the service it names is not defined").detail(format!(
            "Looked for a section with its name in {}.",
            looked_at.join(" and ")
        )),
    )
}

/// Whether the file has the section; its values are in the draft then.
fn fill_from_file(draft: &mut Draft, path: &Path, service: &str) -> Result<bool> {
    let unreadable = |error: std::io::Error| {
        invalid(format!(
            "could not read service file \"{}\": {error}",
            path.display()
        ))
    };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(FILE_MAX)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    fill_from_text(draft, &String::from_utf8_lossy(&bytes), service)
        .map_err(|problem| invalid(format!("service file \"{}\", {problem}", path.display())))
}

/// Reads one section, `name=value` on each line; the first value of a name counts.
fn fill_from_text(draft: &mut Draft, text: &str, service: &str) -> Result<bool, String> {
    let mut in_section = false;
    for (number, line) in text.split('\n').enumerate() {
        let line = line.trim_matches(is_blank);
        let problem = |what: &str| format!("line {}: {what}", number + 1);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(section) = line.strip_prefix('[') {
            if in_section {
                return Ok(true);
            }
            in_section = section.strip_suffix(']') == Some(service);
            continue;
        }
        if !in_section {
            continue;
        }
        let Some((name, value)) = line.split_once('=') else {
            return Err(problem(if line.starts_with("ldap") {
                "LDAP look-ups are not supported"
            } else {
                "syntax error, expected \"keyword=value\""
            }));
        };
        if matches!(name, "service" | "servicefile") {
            return Err(problem("a service cannot name another service"));
        }
        let Some(keyword) = keyword::find(name) else {
            return Err(problem("unknown parameter"));
        };
        draft.fill(keyword, value.to_owned(), Origin::Service);
    }
    Ok(in_section)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# c\n[a]\nhost=ha\nport=1\n\n [b] \nhost=hb\r\npassword=p=q \nhost=other\n[c]\nbroken\n\
        [d]\nservice=a\n[e]\nnosuch=1\n[f]\nldap://x\n";

    fn read(service: &str, before: &str) -> Result<(bool, Vec<(String, String)>), String> {
        let mut draft = Draft::default();
        keyword::parse(before, &mut draft).map_err(|error| error.to_string())?;
        let found = fill_from_text(&mut draft, FILE, service)?;
        Ok((found, draft.finish().0.into_iter().collect()))
    }

    #[test]
    fn a_section_fills_in_what_the_string_left_open() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            read("a", "port=9"),
            Ok((true, vec![pair("host", "ha"), pair("port", "9")]))
        );
        assert_eq!(
            read("b", ""),
            Ok((true, vec![pair("host", "hb"), pair("password", "p=q")]))
        );
        assert_eq!(read("z", ""), Ok((false, vec![])));
    }

    #[test]
    fn a_broken_section_is_refused_by_line_number_only() {
        for (service, line) in [
            ("c", "line 11: syntax"),
            ("d", "line 13: "),
            ("e", "line 15: "),
            ("f", "line 17: LDAP"),
        ] {
            let error = read(service, "").expect_err(service);
            assert!(error.starts_with(line), "{error}");
        }
    }

    #[test]
    fn the_user_file_comes_before_the_system_file() {
        let home = tempfile::tempdir().expect("directory");
        let system = tempfile::tempdir().expect("directory");
        std::fs::write(home.path().join(".pg_service.conf"), "[a]\nhost=home\n").expect("file");
        std::fs::write(
            system.path().join("pg_service.conf"),
            "[a]\nhost=s\n[b]\nhost=system\n",
        )
        .expect("file");
        let env = |name: &str| match name {
            "HOME" => Some(home.path().display().to_string()),
            "PGSYSCONFDIR" => Some(system.path().display().to_string()),
            "PGSERVICE" => Some("b".to_owned()),
            _ => None,
        };
        for (text, expected) in [
            ("service=a", "home"),
            ("service=b", "system"),
            ("", "system"),
        ] {
            let mut draft = Draft::default();
            keyword::parse(text, &mut draft).expect("parses");
            fill(&mut draft, &env).expect(text);
            assert_eq!(draft.text("host"), Some(expected));
        }
        for text in ["service=nosuch", "service=a servicefile=/nosuch/file"] {
            let mut draft = Draft::default();
            keyword::parse(text, &mut draft).expect("parses");
            assert!(fill(&mut draft, &env).is_err());
        }
    }
}
