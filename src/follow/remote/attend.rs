//! A machine with a process that listens beside it, as long as anything else runs.
//!
//! Pure: events in, orders out. The machine inside does not know of that process: whatever ends it, the follow goes
//! on, and the process is started again.

use crate::error::Error;
use crate::supervisor::{End, Event, Machine, Order, Role};

/// A machine, with a process that listens or without.
pub struct Attended<'a> {
    inner: &'a mut dyn Machine,
    listens: bool,
    /// Processes of the machine inside that live.
    live: usize,
}

impl<'a> Attended<'a> {
    /// This machine, and beside it a process that listens, if that was asked for.
    pub fn new(inner: &'a mut dyn Machine, listens: bool) -> Self {
        Self {
            inner,
            listens,
            live: 0,
        }
    }

    /// The process that listens has ended by itself.
    fn replace(&self, number: u32, how: &str) -> Vec<Order> {
        if self.live == 0 {
            return Vec::new();
        }
        vec![
            Order::Alarm(format!(
                "The process that listens for sentinel commands ended, starting it again: {how}"
            )),
            listen(number.saturating_add(1)),
        ]
    }
}

fn listen(number: u32) -> Order {
    Order::Spawn {
        role: Role::Remote,
        number,
        successor: number > 1,
    }
}

impl Machine for Attended<'_> {
    fn on(&mut self, event: Event) -> Vec<Order> {
        if !self.listens {
            return self.inner.on(event);
        }
        let mut orders = Vec::new();
        match &event {
            Event::Report(Role::Remote, ..) | Event::Ended(Role::Remote, _, End::Done) => {
                return orders;
            }
            Event::Ended(Role::Remote, number, End::Failed(error)) => {
                return self.replace(*number, &error.to_string());
            }
            Event::Ended(Role::Remote, number, End::Crashed(how)) => {
                return self.replace(*number, how);
            }
            Event::Start => orders.push(listen(1)),
            Event::Ended(..) => self.live = self.live.saturating_sub(1),
            Event::Report(..) => {}
        }
        let more = self.inner.on(event);
        let begun = more
            .iter()
            .filter(|order| matches!(order, Order::Spawn { .. }));
        self.live += begun.count();
        orders.extend(more);
        if self.live == 0 {
            orders.push(Order::Dismiss(Role::Remote));
        }
        orders
    }

    fn failure(&self) -> Option<&Error> {
        self.inner.failure()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Starts two processes, and one more once the first has ended.
    #[derive(Default)]
    struct Three {
        ended: u32,
    }

    fn spawn(role: Role) -> Order {
        Order::Spawn {
            role,
            number: 1,
            successor: false,
        }
    }

    impl Machine for Three {
        fn on(&mut self, event: Event) -> Vec<Order> {
            match event {
                Event::Start => vec![spawn(Role::Receive), spawn(Role::Apply)],
                Event::Ended(..) => {
                    self.ended += 1;
                    (self.ended == 2)
                        .then(|| spawn(Role::Sequence))
                        .into_iter()
                        .collect()
                }
                Event::Report(..) => Vec::new(),
            }
        }

        fn failure(&self) -> Option<&Error> {
            None
        }
    }

    #[test]
    fn it_listens_until_the_last_process_has_ended_and_comes_back_whatever_ends_it() {
        let mut inner = Three::default();
        let mut machine = Attended::new(&mut inner, true);
        let ended = |role, end| Event::Ended(role, 1, end);
        assert_eq!(
            machine.on(Event::Start),
            [listen(1), spawn(Role::Receive), spawn(Role::Apply)]
        );
        let died = End::Crashed("killed".to_owned());
        let orders = machine.on(ended(Role::Remote, died));
        assert_eq!(orders.last(), Some(&listen(2)));
        let failed = End::Failed(Error::internal("no"));
        let orders = machine.on(Event::Ended(Role::Remote, 2, failed));
        assert_eq!(orders.last(), Some(&listen(3)));
        assert!(machine.on(ended(Role::Receive, End::Done)).is_empty());
        assert_eq!(
            machine.on(ended(Role::Apply, End::Done)),
            [spawn(Role::Sequence)]
        );
        assert_eq!(
            machine.on(ended(Role::Sequence, End::Done)),
            [Order::Dismiss(Role::Remote)]
        );
        assert!(machine.on(ended(Role::Remote, End::Done)).is_empty());
        let died = End::Crashed("killed".to_owned());
        assert!(machine.on(ended(Role::Remote, died)).is_empty());
    }

    #[test]
    fn without_an_address_nothing_is_added() {
        let mut inner = Three::default();
        let mut machine = Attended::new(&mut inner, false);
        assert_eq!(machine.on(Event::Start).len(), 2);
        for role in [Role::Receive, Role::Apply, Role::Sequence] {
            let orders = machine.on(Event::Ended(role, 1, End::Done));
            assert!(!orders.contains(&Order::Dismiss(Role::Remote)));
        }
    }
}
