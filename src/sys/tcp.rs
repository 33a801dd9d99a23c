//! What the kernel knows of a connection and does not tell by itself.
//!
//! Runs in any process. Reads nothing from the connection.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

/// How long the other end has acknowledged nothing, where something was sent more than once and still is not
/// acknowledged. None: nothing is amiss, or the socket is none of TCP.
pub fn unanswered(socket: BorrowedFd<'_>) -> Option<Duration> {
    // SAFETY: of numbers alone, for which zero is a value.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut length = libc::socklen_t::try_from(size_of::<libc::tcp_info>()).ok()?;
    // SAFETY: the descriptor is borrowed, the kernel writes at most `length` bytes into `info`.
    let failed = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &raw mut length,
        )
    };
    // A peer that takes nothing more but answers has nothing unacknowledged: it is waited for.
    let is_repeating = failed == 0 && info.tcpi_unacked > 0 && info.tcpi_retransmits > 0;
    is_repeating.then(|| Duration::from_millis(info.tcpi_last_ack_recv.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn a_connection_that_stands_has_nothing_unanswered() {
        let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = std::net::TcpStream::connect(server.local_addr().unwrap()).unwrap();
        std::io::Write::write_all(&mut client, b"word").unwrap();
        assert_eq!(unanswered(client.as_fd()), None);
        let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        assert_eq!(unanswered(one.as_fd()), None);
    }
}
