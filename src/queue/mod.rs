//! The bells: System V queues that tell a worker which unit of the ledger has become ready.
//!
//! The supervisor creates and removes queues; workers send and receive. A message is a hint and no
//! more: it may be lost, doubled or late, and whoever waits also looks at the ledger. Nothing here
//! blocks but [`Bell::wait`], and nobody sends while holding a ledger transaction.
//!
//! A message is 9 bytes: what is ready (1 byte, see [`Message`]) and the unit's id (8 bytes, native
//! order: both ends are processes of one run).

use crate::error::{Error, Result};
use crate::sys::clock;
use crate::sys::sysv::{self, Received, Sent};
use std::time::Duration;

/// What can be told over a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// This unit can be claimed.
    Ready(i64),
    /// Look at the ledger: more than one unit, or the end of a stage.
    Look,
}

impl Message {
    fn encode(self) -> [u8; 9] {
        let (kind, unit) = match self {
            Self::Ready(unit) => (1, unit),
            Self::Look => (2, 0),
        };
        let mut bytes = [0; 9];
        bytes[0] = kind;
        bytes[1..].copy_from_slice(&unit.to_ne_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (kind, rest) = bytes.split_first()?;
        let unit = i64::from_ne_bytes(rest.try_into().ok()?);
        match kind {
            1 => Some(Self::Ready(unit)),
            2 => Some(Self::Look),
            _ => None,
        }
    }
}

/// A queue by its id; plain data, may cross a fork. `None`: the system has no queues for us, the
/// ledger alone must do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bell {
    id: Option<i32>,
}

impl Bell {
    /// A bell that never rings.
    pub fn silent() -> Self {
        Self { id: None }
    }

    /// Makes a queue under a random key that `remember` has written down before; an error of
    /// `remember` is passed on, a refusal of the system gives a silent bell and a warning.
    pub fn create(mut remember: impl FnMut(i32) -> Result<()>) -> Result<Self> {
        /// Tries to find a key that nobody uses.
        const TRIES_MAX: usize = 16;
        for _ in 0..TRIES_MAX {
            let key = i32::from_ne_bytes(sys_random()) & i32::MAX;
            if key == 0 {
                continue;
            }
            remember(key)?;
            match sysv::create(key) {
                Ok(Some(id)) => return Ok(Self { id: Some(id) }),
                Ok(None) => {}
                Err(error) => {
                    log::warn!("{error}; workers look at the ledger instead, twice a second");
                    return Ok(Self::silent());
                }
            }
        }
        Err(Error::internal(
            "could not find a free key for a message queue",
        ))
    }

    /// Rings; a full or removed queue is no error.
    pub fn ring(self, message: Message) -> Result<()> {
        let Some(id) = self.id else { return Ok(()) };
        match sysv::send(id, &message.encode())? {
            Sent::Done | Sent::Full | Sent::Removed => Ok(()),
        }
    }

    /// Waits for a message up to `limit`, less when a signal arrives. A queue that is not there, or no more,
    /// is waited for as long. Blocks.
    pub fn wait(self, limit: Duration) -> Result<Option<Message>> {
        let mut bytes = [0; sysv::MESSAGE_MAX];
        let received = match self.id {
            Some(id) => sysv::receive_within(id, &mut bytes, limit)?,
            None => Received::Removed,
        };
        match received {
            Received::Message(count) => Ok(bytes.get(..count).and_then(Message::decode)),
            Received::Empty => Ok(None),
            Received::Removed => {
                clock::nap(limit);
                Ok(None)
            }
        }
    }

    /// Removes the queue.
    pub fn remove(self) {
        if let Some(id) = self.id {
            sysv::remove(id);
        }
    }
}

/// Removes the queue with this key if it is there and ours.
pub fn remove_by_key(key: i32) -> bool {
    let found = sysv::find_own(key);
    if let Some(id) = found {
        sysv::remove(id);
    }
    found.is_some()
}

fn sys_random() -> [u8; 4] {
    crate::sys::proc::random_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BRIEF: Duration = Duration::from_millis(5);

    #[test]
    fn messages_survive_the_queue_and_garbage_is_ignored() {
        let mut keys = Vec::new();
        let bell = Bell::create(|key| {
            keys.push(key);
            Ok(())
        })
        .unwrap();
        bell.ring(Message::Ready(1 << 40)).unwrap();
        bell.ring(Message::Look).unwrap();
        assert_eq!(bell.wait(BRIEF).unwrap(), Some(Message::Ready(1 << 40)));
        assert_eq!(bell.wait(BRIEF).unwrap(), Some(Message::Look));
        assert_eq!(bell.wait(BRIEF).unwrap(), None);
        bell.remove();
        assert_eq!(bell.wait(BRIEF).unwrap(), None, "a removed queue is empty");
        assert!(!remove_by_key(keys[0]));
        assert_eq!(Message::decode(&[9; 9]), None);
        assert_eq!(Message::decode(&[1, 2]), None);
    }

    #[test]
    fn a_full_queue_leaves_messages_out() {
        let bell = Bell::create(|_| Ok(())).unwrap();
        for unit in 0..5_000 {
            bell.ring(Message::Ready(unit)).unwrap();
        }
        assert_eq!(bell.wait(BRIEF).unwrap(), Some(Message::Ready(0)));
        bell.remove();
    }
}
