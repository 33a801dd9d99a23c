//! System V message queues as safe calls on byte slices. None of them blocks, but for
//! [`receive_within`], for as long as it is told.
//!
//! Runs in every process. Who may remove a queue is decided by `queue` and `workdir`, not here.

use crate::error::{Error, Result};
use std::time::Duration;

/// Longest message, bytes.
pub const MESSAGE_MAX: usize = 64;

/// What a receive found.
#[derive(Debug, PartialEq, Eq)]
pub enum Received {
    /// A message of this many bytes.
    Message(usize),
    /// Nothing there.
    Empty,
    /// The queue was removed: the run is being stopped.
    Removed,
}

/// What became of a message.
#[derive(Debug, PartialEq, Eq)]
pub enum Sent {
    /// It is in the queue.
    Done,
    /// The queue is full; the ledger has the work anyway.
    Full,
    /// The queue was removed: the run is being stopped.
    Removed,
}

#[repr(C)]
struct Buffer {
    kind: libc::c_long,
    bytes: [u8; MESSAGE_MAX],
}

fn errno() -> nix::Error {
    nix::Error::last()
}

/// Makes a queue with this key, mode 0600, and returns its id; `None` when the key is taken.
pub fn create(key: i32) -> Result<Option<i32>> {
    // SAFETY: `msgget` takes plain numbers.
    let id = unsafe { libc::msgget(key, libc::IPC_CREAT | libc::IPC_EXCL | 0o600) };
    if id >= 0 {
        return Ok(Some(id));
    }
    match errno() {
        nix::Error::EEXIST => Ok(None),
        error => Err(Error::internal(format!(
            "could not create a System V message queue: {error}"
        ))
        .hint("Look at kernel.msgmni and at `ipcs -q`.")),
    }
}

/// The id of the queue with this key, when it is there and belongs to the current user.
pub fn find_own(key: i32) -> Option<i32> {
    // SAFETY: `msgget` takes plain numbers; without IPC_CREAT it creates nothing.
    let id = unsafe { libc::msgget(key, 0) };
    if id < 0 {
        return None;
    }
    let mut status = std::mem::MaybeUninit::<libc::msqid_ds>::zeroed();
    // SAFETY: IPC_STAT fills the struct that the pointer is valid for.
    let filled = unsafe { libc::msgctl(id, libc::IPC_STAT, status.as_mut_ptr()) };
    if filled != 0 {
        return None;
    }
    // SAFETY: IPC_STAT succeeded, so the struct is filled.
    let status = unsafe { status.assume_init() };
    (status.msg_perm.uid == nix::unistd::geteuid().as_raw()).then_some(id)
}

/// Removes a queue; whoever waits on it learns so. Gone already is fine.
pub fn remove(id: i32) {
    // SAFETY: IPC_RMID ignores the buffer argument.
    let _gone = unsafe { libc::msgctl(id, libc::IPC_RMID, std::ptr::null_mut()) };
}

/// Sends a message without waiting.
pub fn send(id: i32, message: &[u8]) -> Result<Sent> {
    let mut buffer = Buffer {
        kind: 1,
        bytes: [0; MESSAGE_MAX],
    };
    let length = message.len().min(MESSAGE_MAX);
    buffer.bytes[..length].copy_from_slice(&message[..length]);
    // SAFETY: the buffer is a long followed by at least `length` bytes.
    let sent = unsafe { libc::msgsnd(id, (&raw const buffer).cast(), length, libc::IPC_NOWAIT) };
    if sent == 0 {
        return Ok(Sent::Done);
    }
    match errno() {
        nix::Error::EAGAIN | nix::Error::EINTR => Ok(Sent::Full),
        nix::Error::EIDRM | nix::Error::EINVAL => Ok(Sent::Removed),
        error => Err(Error::internal(format!(
            "could not send to a message queue: {error}"
        ))),
    }
}

/// Takes the oldest message without waiting.
pub fn receive(id: i32, message: &mut [u8; MESSAGE_MAX]) -> Result<Received> {
    take(id, message, libc::IPC_NOWAIT)
}

/// Takes the oldest message; waits for one up to `limit`, less when a signal arrives. Blocks.
pub fn receive_within(
    id: i32,
    message: &mut [u8; MESSAGE_MAX],
    limit: Duration,
) -> Result<Received> {
    let found = receive(id, message)?;
    if found != Received::Empty {
        return Ok(found);
    }
    let _alarm = Alarm::set(limit)?;
    take(id, message, 0)
}

fn take(id: i32, message: &mut [u8; MESSAGE_MAX], flags: libc::c_int) -> Result<Received> {
    let mut buffer = Buffer {
        kind: 0,
        bytes: [0; MESSAGE_MAX],
    };
    // SAFETY: the buffer is a long followed by MESSAGE_MAX bytes, the limit given.
    let count = unsafe { libc::msgrcv(id, (&raw mut buffer).cast(), MESSAGE_MAX, 0, flags) };
    if let Ok(count) = usize::try_from(count) {
        *message = buffer.bytes;
        return Ok(Received::Message(count));
    }
    match errno() {
        nix::Error::ENOMSG | nix::Error::EINTR => Ok(Received::Empty),
        nix::Error::EIDRM | nix::Error::EINVAL => Ok(Received::Removed),
        error => Err(Error::internal(format!(
            "could not read a message queue: {error}"
        ))),
    }
}

/// A timer that interrupts a call of this thread which waits: a read of a queue knows no timeout.
struct Alarm {
    timer: libc::timer_t,
}

/// All there is to it is that it interrupts.
extern "C" fn interrupt(_signal: libc::c_int) {}

impl Alarm {
    /// Interrupts this thread after `limit`, and again after as long: the first time may be before it waits.
    fn set(limit: Duration) -> Result<Self> {
        static HANDLER: std::sync::Once = std::sync::Once::new();
        HANDLER.call_once(|| {
            // SAFETY: zeroes are an empty mask and no flags; without SA_RESTART, calls are interrupted.
            let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
            action.sa_sigaction = interrupt as *const () as libc::sighandler_t;
            // SAFETY: the struct is filled, and the handler does nothing.
            unsafe { libc::sigaction(libc::SIGALRM, &raw const action, std::ptr::null_mut()) };
        });
        // SAFETY: zeroes are a valid event; what is used of it is set here.
        let mut event: libc::sigevent = unsafe { std::mem::zeroed() };
        event.sigev_notify = libc::SIGEV_THREAD_ID;
        event.sigev_signo = libc::SIGALRM;
        // SAFETY: `gettid` takes nothing and cannot fail.
        event.sigev_notify_thread_id = unsafe { libc::gettid() };
        let mut timer: libc::timer_t = std::ptr::null_mut();
        // SAFETY: both pointers are valid for the call.
        let made =
            unsafe { libc::timer_create(libc::CLOCK_MONOTONIC, &raw mut event, &raw mut timer) };
        let failed = || Error::internal(format!("could not set a timer: {}", errno()));
        if made != 0 {
            return Err(failed());
        }
        let alarm = Self { timer };
        let every = libc::timespec {
            tv_sec: libc::time_t::try_from(limit.as_secs()).unwrap_or(1),
            // A timer of zero never fires.
            tv_nsec: libc::c_long::from(limit.subsec_nanos().max(1)),
        };
        let schedule = libc::itimerspec {
            it_interval: every,
            it_value: every,
        };
        // SAFETY: the timer was made above, the struct is valid for the call.
        let set =
            unsafe { libc::timer_settime(timer, 0, &raw const schedule, std::ptr::null_mut()) };
        if set != 0 {
            return Err(failed());
        }
        Ok(alarm)
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        // SAFETY: the timer was made by `set` and is deleted once.
        unsafe { libc::timer_delete(self.timer) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn a_wait_for_a_message_ends_with_it_with_its_time_or_with_the_queue() {
        let own = i32::from_ne_bytes(crate::sys::proc::random_bytes()) & i32::MAX;
        let id = create(own.max(1)).unwrap().unwrap();
        let mut bytes = [0; MESSAGE_MAX];
        let since = Instant::now();
        let limit = Duration::from_millis(30);
        assert_eq!(
            receive_within(id, &mut bytes, limit).unwrap(),
            Received::Empty
        );
        assert!(since.elapsed() >= limit, "{:?}", since.elapsed());
        let sender = std::thread::spawn(move || {
            crate::sys::clock::nap(Duration::from_millis(30));
            send(id, b"ring").unwrap();
        });
        let long = Duration::from_secs(20);
        assert_eq!(
            receive_within(id, &mut bytes, long).unwrap(),
            Received::Message(4)
        );
        sender.join().unwrap();
        assert!(
            since.elapsed() < Duration::from_secs(10),
            "the bell is heard at once"
        );
        remove(id);
        assert_eq!(
            receive_within(id, &mut bytes, long).unwrap(),
            Received::Removed
        );
    }
}
