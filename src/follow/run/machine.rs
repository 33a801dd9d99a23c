//! What follows what in a follow: events of processes in, orders out. No I/O, no clock.
//!
//! ```text
//! setup -> receive, transform, apply side by side -> apply is drained: the others are dismissed -> end
//! ```
//! A process that dies is started again, later each time, and given up only when it died many times
//! without getting any further. A process that fails has tried all that can help by itself: the run
//! ends with its error. Without apply, as in `stream prefetch`, the run ends when all is transformed
//! that was received up to the endpos.

use crate::error::{Error, Kind};
use crate::supervisor::{End, Event, Machine, Order, Report, Role};
use crate::units::Lsn;

/// Deaths of one process in a row, without any progress, after which it is not started again.
const DEATHS_MAX: u32 = 10;

/// Failures of one process in a row beside a copy, without any progress, after which it is not started again.
const FAILURES_MAX: u32 = 5;

/// How often transform reports, twice a second, before receive is told that nobody waits for it any more.
const REPORTS_MAX: u32 = 20;

/// The processes of a stream.
const STREAM: [Role; 3] = [Role::Receive, Role::Transform, Role::Apply];

/// Deaths of one process since it got any further.
#[derive(Clone, Copy, Debug, Default)]
struct Deaths {
    count: u32,
    /// How far it was when it was started last.
    at: Lsn,
}

/// Where the run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Setup,
    Stream,
    /// Everything is received; what is left is transformed.
    Rest,
    /// Everything is applied; receive writes down that it has it all.
    Closing,
    Over,
}

/// The machine.
#[derive(Debug)]
pub struct Following {
    stage: Stage,
    applies: bool,
    /// A copy runs that takes hours: what fails beside it is tried again.
    is_beside_copy: bool,
    live: Vec<Role>,
    deaths: [Deaths; 3],
    /// The endpos that receiving ended at.
    received: Option<Lsn>,
    /// The endpos that is drained.
    drained: Option<Lsn>,
    /// Reports of transform since then.
    reports: u32,
    failure: Option<Error>,
}

impl Following {
    /// A follow that is about to begin; with or without apply.
    pub fn new(applies: bool) -> Self {
        Self {
            stage: Stage::Setup,
            applies,
            is_beside_copy: false,
            live: Vec::new(),
            deaths: [Deaths::default(); 3],
            received: None,
            drained: None,
            reports: 0,
            failure: None,
        }
    }

    /// Whether a copy runs beside it, which is not to be left without its changes.
    pub fn set_beside_copy(&mut self, is_beside: bool) {
        self.is_beside_copy = is_beside;
    }

    /// The endpos that is drained; none before.
    pub fn drained(&self) -> Option<Lsn> {
        self.drained
    }

    /// Starts the processes of the stream: everything is set up.
    pub fn begin(&mut self) -> Vec<Order> {
        self.stage = Stage::Stream;
        let roles = STREAM
            .into_iter()
            .filter(|role| self.applies || *role != Role::Apply);
        let roles: Vec<Role> = roles.collect();
        roles.into_iter().map(|role| self.spawn(role, 1)).collect()
    }

    /// Whether the role is one of the stream's.
    pub fn is_for(role: Role) -> bool {
        STREAM.contains(&role)
    }

    /// Whether processes of the stream live.
    pub fn is_live(&self) -> bool {
        !self.live.is_empty()
    }

    fn spawn(&mut self, role: Role, number: u32) -> Order {
        self.live.push(role);
        Order::Spawn {
            role,
            number,
            successor: number > 1,
        }
    }

    fn deaths(&mut self, role: Role) -> &mut Deaths {
        let at = STREAM.iter().position(|one| *one == role).unwrap_or(0);
        &mut self.deaths[at]
    }

    fn fail(&mut self, error: Error) -> Vec<Order> {
        self.failure.get_or_insert(error);
        vec![Order::StopAll]
    }

    /// A process has failed, which has tried by itself what can help at the moment.
    fn failed(&mut self, role: Role, error: Error) -> Vec<Order> {
        if !self.is_beside_copy || self.stage != Stage::Stream || !Self::is_for(role) {
            return self.fail(error);
        }
        let deaths = self.deaths(role);
        deaths.count += 1;
        let number = deaths.count + 1;
        if deaths.count > FAILURES_MAX {
            return self.fail(error);
        }
        let label = role.label();
        vec![
            Order::Alarm(format!(
                "Process \"{label}\" failed while rows are copied, starting it again: {error}"
            )),
            self.spawn(role, number),
        ]
    }

    fn dismiss_all(&mut self) -> Vec<Order> {
        self.stage = Stage::Over;
        self.live.iter().map(|role| Order::Dismiss(*role)).collect()
    }

    fn report(&mut self, role: Role, report: &Report) -> Vec<Order> {
        match report {
            Report::Position { lsn } => {
                let deaths = self.deaths(role);
                if *lsn > deaths.at {
                    *deaths = Deaths { count: 0, at: *lsn };
                }
            }
            Report::Reached { lsn } if role == Role::Receive => self.received = Some(*lsn),
            Report::Reached { lsn } => self.drained = Some(*lsn),
            Report::Endpos { lsn } if self.stage == Stage::Closing => {
                if !lsn.is_set() || self.drained.is_none_or(|drained| drained < *lsn) {
                    return self.go_on();
                }
                self.reports += 1;
                // As when the source is away: what is applied is applied.
                if self.reports == REPORTS_MAX {
                    return vec![Order::Dismiss(Role::Receive)];
                }
            }
            Report::Endpos { lsn } if !self.live.contains(&Role::Receive) => {
                let is_further = !lsn.is_set() || self.received.is_none_or(|ended| ended < *lsn);
                if self.stage == Stage::Stream && is_further {
                    self.received = None;
                    return vec![
                        Order::Say("The endpos has moved on, receiving begins again".to_owned()),
                        self.spawn(Role::Receive, 1),
                    ];
                }
            }
            _ => {}
        }
        Vec::new()
    }

    /// The endpos was moved while the end was being made.
    fn go_on(&mut self) -> Vec<Order> {
        (self.stage, self.drained, self.reports) = (Stage::Stream, None, 0);
        vec![
            Order::Say("The endpos has moved on, applying begins again".to_owned()),
            self.spawn(Role::Apply, 1),
        ]
    }

    fn done(&mut self, role: Role) -> Vec<Order> {
        match (self.stage, role) {
            (Stage::Setup, _) => self.begin(),
            (Stage::Stream, Role::Receive) if self.received.is_some() && !self.applies => {
                self.stage = Stage::Rest;
                vec![Order::Dismiss(Role::Transform)]
            }
            (Stage::Rest, Role::Transform) => {
                self.stage = Stage::Over;
                vec![self.spawn(Role::Transform, 1)]
            }
            (Stage::Stream, Role::Apply) if self.drained.is_some() => {
                if self.live.contains(&Role::Receive) {
                    self.stage = Stage::Closing;
                    return Vec::new();
                }
                self.dismiss_all()
            }
            (Stage::Closing, _) => self.dismiss_all(),
            // Apply goes on until it has all of it; a stop ends the others without a word.
            _ => Vec::new(),
        }
    }

    fn crashed(&mut self, role: Role, how: &str) -> Vec<Order> {
        if self.stage == Stage::Setup {
            return self.fail(Error::internal("the process that sets up died").detail(how));
        }
        if self.stage == Stage::Closing || (self.stage == Stage::Over && self.applies) {
            return self.dismiss_all();
        }
        let deaths = self.deaths(role);
        deaths.count += 1;
        let number = deaths.count + 1;
        if deaths.count > DEATHS_MAX {
            let label = role.label();
            return self.fail(
                Error::new(
                    Kind::Internal,
                    format!(
                        "process \"{label}\" died {DEATHS_MAX} times without getting any further"
                    ),
                )
                .detail(how)
                .hint("Everything that is applied stays; --resume goes on where it stopped."),
            );
        }
        vec![
            Order::Say(format!("{how}; starting it again")),
            self.spawn(role, number),
        ]
    }
}

impl Machine for Following {
    fn on(&mut self, event: Event) -> Vec<Order> {
        match event {
            Event::Start => vec![self.spawn(Role::FollowSetup, 1)],
            Event::Report(role, _, report) => self.report(role, &report),
            Event::Ended(role, _, end) => {
                self.live.retain(|live| *live != role);
                match end {
                    End::Done => self.done(role),
                    End::Failed(error) => self.failed(role, error),
                    End::Crashed(how) => self.crashed(role, &how),
                }
            }
        }
    }

    fn failure(&self) -> Option<&Error> {
        self.failure.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(role: Role, end: End) -> Event {
        Event::Ended(role, 1, end)
    }

    fn said(role: Role, report: Report) -> Event {
        Event::Report(role, 1, report)
    }

    fn spawned(orders: &[Order]) -> Vec<(Role, u32)> {
        let spawned = orders.iter().filter_map(|order| match order {
            Order::Spawn { role, number, .. } => Some((*role, *number)),
            _ => None,
        });
        spawned.collect()
    }

    fn begun(applies: bool) -> Following {
        let mut run = Following::new(applies);
        assert_eq!(spawned(&run.on(Event::Start)), [(Role::FollowSetup, 1)]);
        let orders = run.on(ended(Role::FollowSetup, End::Done));
        assert_eq!(spawned(&orders).len(), if applies { 3 } else { 2 });
        run
    }

    #[test]
    fn the_end_is_when_apply_says_so() {
        let mut run = begun(true);
        run.on(said(Role::Receive, Report::Reached { lsn: Lsn(9) }));
        assert!(run.on(ended(Role::Receive, End::Done)).is_empty());
        run.on(said(Role::Apply, Report::Reached { lsn: Lsn(9) }));
        let orders = run.on(ended(Role::Apply, End::Done));
        assert_eq!(orders, [Order::Dismiss(Role::Transform)]);
        assert!(run.on(ended(Role::Transform, End::Done)).is_empty());
        assert!(run.failure().is_none() && run.drained() == Some(Lsn(9)) && !run.is_live());
    }

    #[test]
    fn receive_has_some_seconds_to_write_down_that_it_has_it_all() {
        let mut run = begun(true);
        run.on(said(Role::Apply, Report::Reached { lsn: Lsn(9) }));
        assert!(run.on(ended(Role::Apply, End::Done)).is_empty());
        for _ in 1..REPORTS_MAX {
            assert!(
                run.on(said(Role::Transform, Report::Endpos { lsn: Lsn(9) }))
                    .is_empty()
            );
        }
        let orders = run.on(said(Role::Transform, Report::Endpos { lsn: Lsn(9) }));
        assert_eq!(orders, [Order::Dismiss(Role::Receive)]);
        let orders = run.on(ended(Role::Receive, End::Done));
        assert_eq!(orders, [Order::Dismiss(Role::Transform)]);
    }

    #[test]
    fn an_endpos_that_moves_on_while_the_end_is_made_is_applied_too() {
        let mut run = begun(true);
        let endpos = |lsn| said(Role::Transform, Report::Endpos { lsn: Lsn(lsn) });
        run.on(said(Role::Apply, Report::Reached { lsn: Lsn(9) }));
        run.on(ended(Role::Apply, End::Done));
        assert!(run.on(endpos(9)).is_empty());
        assert_eq!(spawned(&run.on(endpos(12))), [(Role::Apply, 1)]);
        assert_eq!(run.drained(), None);
        // Receive had not heard of it.
        run.on(said(Role::Receive, Report::Reached { lsn: Lsn(9) }));
        assert!(run.on(ended(Role::Receive, End::Done)).is_empty());
        assert_eq!(spawned(&run.on(endpos(12))), [(Role::Receive, 1)]);
    }

    #[test]
    fn an_endpos_that_moves_on_is_received_too() {
        let mut run = begun(true);
        let endpos = |lsn| said(Role::Transform, Report::Endpos { lsn: Lsn(lsn) });
        assert!(run.on(endpos(12)).is_empty());
        run.on(said(Role::Receive, Report::Reached { lsn: Lsn(9) }));
        run.on(ended(Role::Receive, End::Done));
        assert!(run.on(endpos(5)).is_empty());
        assert_eq!(spawned(&run.on(endpos(12))), [(Role::Receive, 1)]);
        assert!(run.on(endpos(0)).is_empty());
    }

    #[test]
    fn the_dead_come_back_as_long_as_they_get_any_further() {
        let mut run = begun(true);
        let died = || ended(Role::Apply, End::Crashed("killed".to_owned()));
        for at in 1..100 {
            assert_eq!(spawned(&run.on(died())), [(Role::Apply, 2)]);
            run.on(said(Role::Apply, Report::Position { lsn: Lsn(at) }));
        }
        for number in 2..=DEATHS_MAX + 1 {
            assert_eq!(spawned(&run.on(died())), [(Role::Apply, number)]);
            run.on(said(Role::Apply, Report::Position { lsn: Lsn(99) }));
        }
        assert_eq!(run.on(died()), [Order::StopAll]);
        assert_eq!(run.failure().unwrap().kind(), Kind::Internal);
    }

    #[test]
    fn a_failure_ends_the_run_and_the_first_one_counts() {
        let mut run = begun(true);
        let failed = |text: &str| End::Failed(Error::new(Kind::Target, text));
        assert_eq!(run.on(ended(Role::Apply, failed("a"))), [Order::StopAll]);
        run.on(ended(Role::Receive, failed("b")));
        assert_eq!(run.failure().unwrap().message(), "a");
    }

    #[test]
    fn what_fails_beside_a_copy_is_tried_again_some_times() {
        let mut run = begun(true);
        run.set_beside_copy(true);
        let failed = || ended(Role::Receive, End::Failed(Error::new(Kind::Source, "away")));
        for number in 2..=FAILURES_MAX + 1 {
            assert_eq!(spawned(&run.on(failed())), [(Role::Receive, number)]);
        }
        run.on(said(Role::Receive, Report::Position { lsn: Lsn(9) }));
        assert_eq!(spawned(&run.on(failed())), [(Role::Receive, 2)]);
        run.set_beside_copy(false);
        assert_eq!(run.on(failed()), [Order::StopAll]);
        assert_eq!(run.failure().unwrap().message(), "away");
    }

    #[test]
    fn prefetch_ends_when_the_rest_is_transformed() {
        let mut run = begun(false);
        run.on(said(Role::Receive, Report::Reached { lsn: Lsn(9) }));
        let orders = run.on(ended(Role::Receive, End::Done));
        assert_eq!(orders, [Order::Dismiss(Role::Transform)]);
        let orders = run.on(ended(Role::Transform, End::Done));
        assert_eq!(spawned(&orders), [(Role::Transform, 1)]);
        assert!(run.on(ended(Role::Transform, End::Done)).is_empty());
        assert!(!run.is_live());
    }
}
