//! From a host of a connection string to a connected, non-blocking socket.
//!
//! Runs in leaf workers (looking up a name may make threads, so never in a process that forks).
//! Reads the resolver. It must not send a byte to the server.

use super::link::Raw;
use super::message::Trouble;
use crate::conninfo::{ConnInfo, Host};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, connect, getsockopt, setsockopt, socket,
    sockopt,
};
use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Where sockets of local servers are looked for when no host is named, first one that exists.
const SOCKET_FOLDERS: [&str; 2] = ["/var/run/postgresql", "/tmp"];
/// Keepalives of our connections unless the connection string says otherwise: seconds of silence,
/// seconds between probes, probes. Ten minutes in all.
const KEEPALIVES: (u32, u32, u32) = (10, 10, 60);

/// One address to try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    /// TCP.
    Tcp(SocketAddr),
    /// A socket's file, or an abstract name that starts with `@`.
    Unix(PathBuf),
}

/// How a host is named in messages.
pub(super) fn describe(host: &Host, address: &Address) -> String {
    match address {
        Address::Unix(path) => format!("on socket \"{}\"", path.display()),
        Address::Tcp(address) => match &host.name {
            Some(name) if *name != address.ip().to_string() => {
                format!("at \"{name}\" ({}), port {}", address.ip(), address.port())
            }
            _ => format!("at \"{}\", port {}", address.ip(), address.port()),
        },
    }
}

/// The folder of the sockets of servers on this machine.
pub fn socket_folder() -> &'static str {
    let exists = |folder: &&&str| std::path::Path::new(folder).is_dir();
    SOCKET_FOLDERS
        .iter()
        .find(exists)
        .copied()
        .unwrap_or("/tmp")
}

/// All addresses of a host. Blocks for the resolver. The error is the reason in words.
pub(super) fn addresses(host: &Host) -> Result<Vec<Address>, String> {
    if let Some(text) = host.addr.as_deref() {
        let ip = text
            .parse()
            .map_err(|_| format!("\"{text}\" is not a numeric address"))?;
        return Ok(vec![Address::Tcp(SocketAddr::new(ip, host.port))]);
    }
    let folder = match host.name.as_deref() {
        None | Some("") => {
            let exists = |folder: &&&str| std::path::Path::new(folder).is_dir();
            SOCKET_FOLDERS
                .iter()
                .find(exists)
                .copied()
                .unwrap_or("/tmp")
        }
        Some(name) if name.starts_with(['/', '@']) => name,
        Some(name) => {
            let found = (name, host.port).to_socket_addrs().map_err(|error| {
                format!("could not translate host name \"{name}\" to an address: {error}")
            })?;
            return Ok(found.map(Address::Tcp).collect());
        }
    };
    Ok(vec![Address::Unix(PathBuf::from(format!(
        "{folder}/.s.PGSQL.{}",
        host.port
    )))])
}

/// Connects to one address until `deadline`, or until the stop flag is set when that is heeded.
pub(super) fn dial(
    conn: &ConnInfo,
    address: &Address,
    deadline: Instant,
    heeds_stop: bool,
) -> Result<Raw, Trouble> {
    match address {
        Address::Tcp(address) => {
            let stream = tcp(*address, deadline, heeds_stop)?;
            set_keepalives(conn, &stream);
            Ok(Raw::Tcp(stream))
        }
        Address::Unix(path) => {
            let stream = unix(path).map_err(Trouble::Io)?;
            stream.set_nonblocking(true).map_err(Trouble::Io)?;
            Ok(Raw::Unix(stream))
        }
    }
}

fn unix(path: &std::path::Path) -> io::Result<UnixStream> {
    #[cfg(target_os = "linux")]
    if let Some(name) = path.to_str().and_then(|path| path.strip_prefix('@')) {
        use std::os::linux::net::SocketAddrExt;
        let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
        return UnixStream::connect_addr(&address);
    }
    UnixStream::connect(path)
}

fn io_error(error: Errno) -> Trouble {
    Trouble::Io(error.into())
}

fn tcp(address: SocketAddr, deadline: Instant, heeds_stop: bool) -> Result<TcpStream, Trouble> {
    let family = if address.is_ipv4() {
        AddressFamily::Inet
    } else {
        AddressFamily::Inet6
    };
    let fd = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).map_err(io_error)?;
    let stream = TcpStream::from(fd);
    stream.set_nonblocking(true).map_err(Trouble::Io)?;
    stream.set_nodelay(true).map_err(Trouble::Io)?;
    let started = connect(
        std::os::fd::AsRawFd::as_raw_fd(&stream),
        &SockaddrStorage::from(address),
    );
    match started {
        Ok(()) => return Ok(stream),
        Err(Errno::EINPROGRESS | Errno::EINTR) => {}
        Err(error) => return Err(io_error(error)),
    }
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Trouble::TimedOut);
        }
        let millis = left.min(Duration::from_secs(1)).as_millis() + 1;
        let mut fds = [PollFd::new(stream.as_fd(), PollFlags::POLLOUT)];
        match poll(
            &mut fds,
            PollTimeout::from(u16::try_from(millis).unwrap_or(1000)),
        ) {
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => break,
            Err(error) => return Err(io_error(error)),
        }
        if heeds_stop && super::stop_requested() {
            return Err(Trouble::Stopped);
        }
    }
    match getsockopt(&stream, sockopt::SocketError).map_err(io_error)? {
        0 => Ok(stream),
        code => Err(Trouble::Io(io::Error::from_raw_os_error(code))),
    }
}

/// A number of the connection string; nonsense counts as not given.
fn number(conn: &ConnInfo, keyword: &str) -> Option<u32> {
    conn.get(keyword).and_then(|text| text.trim().parse().ok())
}

/// Failures are ignored: the options make a dead peer noticed, nothing else depends on them.
fn set_keepalives(conn: &ConnInfo, stream: &TcpStream) {
    if number(conn, "keepalives") != Some(0) {
        let _ignored = setsockopt(stream, sockopt::KeepAlive, &true);
        let given = |keyword, default| match number(conn, keyword) {
            None | Some(0) => default,
            Some(value) => value,
        };
        let idle = given("keepalives_idle", KEEPALIVES.0);
        let interval = given("keepalives_interval", KEEPALIVES.1);
        let count = given("keepalives_count", KEEPALIVES.2);
        let _ignored = setsockopt(stream, sockopt::TcpKeepIdle, &idle);
        let _ignored = setsockopt(stream, sockopt::TcpKeepInterval, &interval);
        let _ignored = setsockopt(stream, sockopt::TcpKeepCount, &count);
    }
    if let Some(limit_ms) = number(conn, "tcp_user_timeout").filter(|limit_ms| *limit_ms > 0) {
        let _ignored = setsockopt(stream, sockopt::TcpUserTimeout, &limit_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_a_unix_socket_and_a_numeric_address_is_not_looked_up() {
        let host = |name: Option<&str>, addr: Option<&str>| Host {
            name: name.map(str::to_owned),
            addr: addr.map(str::to_owned),
            port: 5433,
        };
        let found = addresses(&host(Some("/run/pg"), None)).unwrap();
        assert_eq!(found, [Address::Unix("/run/pg/.s.PGSQL.5433".into())]);
        let found = addresses(&host(Some("nowhere.invalid"), Some("::1"))).unwrap();
        assert_eq!(found, [Address::Tcp("[::1]:5433".parse().unwrap())]);
        assert!(addresses(&host(None, Some("localhost"))).is_err());
    }
}
