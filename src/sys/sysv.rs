//! System V message queues as safe calls on byte slices. None of them blocks.
//!
//! Runs in every process. Who may remove a queue is decided by `queue` and `workdir`, not here.

use crate::error::{Error, Result};

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
    let mut buffer = Buffer {
        kind: 0,
        bytes: [0; MESSAGE_MAX],
    };
    // SAFETY: the buffer is a long followed by MESSAGE_MAX bytes, the limit given.
    let count = unsafe {
        libc::msgrcv(
            id,
            (&raw mut buffer).cast(),
            MESSAGE_MAX,
            0,
            libc::IPC_NOWAIT,
        )
    };
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
