//! The hosts of a connection: lists of names, addresses and ports matched to each other.
//!
//! Runs in the supervisor and in workers, on plain data. Reads and writes nothing. Must not look up
//! a name: that takes a thread, and the supervisor has none to spare.

use super::draft::{invalid, shown};
use crate::error::Result;
use std::net::{IpAddr, Ipv6Addr};

/// The port of a server that nobody moved.
pub(super) const DEFAULT_PORT: u16 = 5432;
/// Most hosts in one connection string.
const HOSTS_MAX: usize = 1024;

/// One of the hosts that a connection string names.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Host {
    /// Host name, address, or the directory of a Unix socket (starts with `/` or `@`).
    pub name: Option<String>,
    /// Numeric address, which saves the look-up of `name`.
    pub addr: Option<String>,
    /// TCP port, or the number in the socket's file name.
    pub port: u16,
}

/// The endpoint that the first connection of a side found, used by every later one.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Pin {
    /// Position of the host in the connection string, for the password that belongs to it.
    pub position: usize,
    /// Host name as given, for certificate checks and service principals.
    pub name: Option<String>,
    /// Numeric address that answered; `None` for a Unix socket.
    pub addr: Option<String>,
    /// Port that answered.
    pub port: u16,
    /// Whether that connection was encrypted: decides `sslmode` `allow` and `prefer` for the others.
    pub tls: bool,
}

impl Host {
    /// Whether the server is reached through a Unix socket.
    pub fn is_socket(&self) -> bool {
        self.addr.is_none() && self.name.as_deref().is_some_and(is_socket_name)
    }
}

/// Whether a host name is a socket directory, or a name in the abstract socket namespace.
fn is_socket_name(name: &str) -> bool {
    name.starts_with(['/', '@'])
}

/// The lists as the keywords give them, empty when not given.
#[derive(Clone, Copy)]
pub(super) struct Lists<'a> {
    pub(super) host: &'a str,
    pub(super) hostaddr: &'a str,
    pub(super) port: &'a str,
}

/// Matches names, addresses and ports. A place without name and address is the local socket.
pub(super) fn resolve(lists: Lists<'_>, socket_directory: &str) -> Result<Vec<Host>> {
    let (names, addrs) = (items(lists.host).len(), items(lists.hostaddr).len());
    if names > 0 && addrs > 0 && names != addrs {
        return Err(invalid(format!(
            "could not match {names} host names to {addrs} hostaddr values"
        )));
    }
    let places = places(lists);
    let (count, ports) = (places.len(), items(lists.port).len());
    if count > HOSTS_MAX {
        return Err(invalid(format!("{count} hosts are more than {HOSTS_MAX}")));
    }
    if ports > 1 && ports != count {
        return Err(invalid(format!(
            "could not match {ports} port numbers to {count} hosts"
        )));
    }
    let mut hosts = Vec::with_capacity(count);
    for (position, place) in places.iter().enumerate() {
        if let Some(addr) = place.addr {
            check_address(addr)?;
        }
        let name = place
            .name
            .or_else(|| place.addr.is_none().then_some(socket_directory));
        check_name(name.unwrap_or(""), position)?;
        hosts.push(Host {
            name: name.map(str::to_owned),
            addr: place.addr.map(str::to_owned),
            port: parse_port(place.port)?,
        });
    }
    Ok(hosts)
}

/// The hosts of lists that [`resolve`] has seen before; what does not fit gets the default.
pub(super) fn resolved(lists: Lists<'_>) -> Vec<Host> {
    let host = |place: &Place<'_>| Host {
        name: place.name.map(str::to_owned),
        addr: place.addr.map(str::to_owned),
        port: parse_port(place.port).unwrap_or(DEFAULT_PORT),
    };
    places(lists).iter().map(host).collect()
}

/// What the lists say about one host.
struct Place<'a> {
    name: Option<&'a str>,
    addr: Option<&'a str>,
    port: &'a str,
}

/// One place for each item of the longer list, at least one; a single port is for all of them.
fn places(lists: Lists<'_>) -> Vec<Place<'_>> {
    let (names, addrs, ports) = (items(lists.host), items(lists.hostaddr), items(lists.port));
    (0..names.len().max(addrs.len()).max(1))
        .map(|position| {
            let port = if ports.len() == 1 {
                ports.first()
            } else {
                ports.get(position)
            };
            Place {
                name: names.get(position).copied().filter(|name| !name.is_empty()),
                addr: addrs.get(position).copied().filter(|addr| !addr.is_empty()),
                port: port.copied().unwrap_or(""),
            }
        })
        .collect()
}

/// The items of a comma-separated list; an empty list has none.
fn items(list: &str) -> Vec<&str> {
    if list.is_empty() {
        Vec::new()
    } else {
        list.split(',').collect()
    }
}

/// The list with one item for each host, empty if no host has one.
pub(super) fn join(hosts: &[Host], item: impl Fn(&Host) -> Option<&str>) -> String {
    if hosts.iter().all(|host| item(host).is_none()) {
        return String::new();
    }
    hosts
        .iter()
        .map(|host| item(host).unwrap_or(""))
        .collect::<Vec<_>>()
        .join(",")
}

/// Refuses what no resolver takes; `h;password=…` of other drivers would else end in messages.
fn check_name(name: &str, position: usize) -> Result<()> {
    if is_socket_name(name) {
        return Ok(());
    }
    if name.contains(|c: char| c.is_whitespace() || c.is_control() || "=;@/?#&'\"".contains(c)) {
        return Err(invalid(format!(
            "host {} has a character that no host name contains",
            position + 1
        ))
        .hint("Separate parameters by blanks in the keyword form, and by \"&\" in a URI."));
    }
    Ok(())
}

/// `hostaddr` takes numeric addresses only, an `IPv6` one with a zone if need be.
fn check_address(addr: &str) -> Result<()> {
    let numeric = match addr.split_once('%') {
        Some((addr, zone)) => addr.parse::<Ipv6Addr>().is_ok() && !zone.is_empty(),
        None => addr.parse::<IpAddr>().is_ok(),
    };
    if numeric {
        return Ok(());
    }
    Err(
        invalid(format!("hostaddr {} is not a network address", shown(addr)))
            .hint("Use \"host\" for a host name."),
    )
}

/// A port from 1 to 65535; nothing means the default. The text may be a piece of a password that
/// was not percent-encoded, so only digits are shown.
fn parse_port(text: &str) -> Result<u16> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(DEFAULT_PORT);
    }
    match text.parse::<u16>() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(invalid("a port is not a number from 1 to 65535").hint(
            "If a password contains \":\", \"/\" or \"@\", write it percent-encoded in a URI.",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve_text(host: &str, hostaddr: &str, port: &str) -> Result<Vec<String>> {
        let hosts = resolve(
            Lists {
                host,
                hostaddr,
                port,
            },
            "/run/pg",
        )?;
        Ok(hosts
            .iter()
            .map(|host| {
                let text = |value: &Option<String>| value.clone().unwrap_or("-".to_owned());
                format!("{} {} {}", text(&host.name), text(&host.addr), host.port)
            })
            .collect())
    }

    #[test]
    fn names_addresses_and_ports_are_matched_by_position() {
        for (host, hostaddr, port, expected) in [
            ("", "", "", &["/run/pg - 5432"][..]),
            ("h", "", "1", &["h - 1"]),
            ("a,b", "", "7", &["a - 7", "b - 7"]),
            ("a,b", "", "7,", &["a - 7", "b - 5432"]),
            (
                "a,,/tmp",
                "",
                "",
                &["a - 5432", "/run/pg - 5432", "/tmp - 5432"],
            ),
            ("", "10.0.0.1,::1", "", &["- 10.0.0.1 5432", "- ::1 5432"]),
            ("a,b", "10.0.0.1,", "1,2", &["a 10.0.0.1 1", "b - 2"]),
            ("", "fe80::1%eth0", "", &["- fe80::1%eth0 5432"]),
        ] {
            assert_eq!(resolve_text(host, hostaddr, port).expect(host), expected);
        }
    }

    #[test]
    fn lists_that_do_not_match_are_refused() {
        for (host, hostaddr, port) in [
            ("a,b", "1.1.1.1", ""),
            ("a,b", "", "1,2,3"),
            ("a", "", "1,2"),
            ("", "", "1,2"),
            ("a", "", "0"),
            ("a", "", "65536"),
            ("a", "", "-1"),
            ("a", "", "x"),
            ("a", "b", ""),
            ("h;password=x", "", ""),
            ("a b", "", ""),
        ] {
            assert!(
                resolve_text(host, hostaddr, port).is_err(),
                "{host} {hostaddr} {port}"
            );
        }
    }
}
