//! The supervisor's loop: `poll` on report pipes, events to the machine, orders carried out, the
//! ladder of a stop.
//!
//! Runs in the supervisor. A stop sends TERM, then INT, then KILL to each child by pid, all within
//! ten seconds; a second signal goes straight to KILL.

use super::report::Report;
use super::role::Role;
use crate::error::{Error, Kind, Result};
use crate::sys::reap::{self, Child, Ended};
use crate::sys::signal;
use crate::{logging, notice};
use nix::sys::signal::Signal;
use std::time::{Duration, Instant};

/// Longest wait of the loop, after which flags are looked at.
const POLL_MAX: Duration = Duration::from_millis(250);
/// Time from TERM to INT.
const INT_AFTER: Duration = Duration::from_secs(4);
/// Time from TERM to KILL: tools and cancelled statements have ended by then.
const KILL_AFTER: Duration = Duration::from_secs(7);
/// Time from TERM to KILL when the signal was QUIT: enough to send the servers a cancel request.
const QUIT_GRACE: Duration = Duration::from_secs(1);

/// How a leaf ended.
#[derive(Clone, Debug)]
pub enum End {
    /// It reported `done`.
    Done,
    /// It reported an error.
    Failed(Error),
    /// It died without a last word.
    Crashed(String),
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// The run begins.
    Start,
    /// A leaf said something.
    Report(Role, u32, Report),
    /// A leaf ended.
    Ended(Role, u32, End),
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Start a leaf; `successor` of one that died.
    Spawn {
        /// What for.
        role: Role,
        /// Its number.
        number: u32,
        /// It replaces one that died.
        successor: bool,
    },
    /// End the leaves of a role: their work is over.
    Dismiss(Role),
    /// End one leaf.
    DismissOne(Role, u32),
    /// A part of the run that has work and leaves of its own has come to its end: the host writes it down.
    Settle {
        /// Which, as the machine and its host number them.
        part: u32,
        /// Nothing of it failed.
        good: bool,
    },
    /// Stop everything.
    StopAll,
    /// Log a line for operators.
    Say(String),
    /// Log an error that does not end the run yet.
    Alarm(String),
}

/// Decides what follows what; does no I/O.
pub trait Machine {
    /// Takes an event, gives orders.
    fn on(&mut self, event: Event) -> Vec<Order>;
    /// The first failure, when there was one.
    fn failure(&self) -> Option<&Error>;
}

/// Starts processes for a machine.
pub trait Host {
    /// Starts a leaf.
    fn spawn(&mut self, role: Role, number: u32, successor: bool) -> Result<Child>;
    /// Sees every report before the machine does, to keep the facts that later leaves get.
    fn note(&mut self, role: Role, number: u32, report: &Report) -> Result<()>;
    /// A part of the run has ended, and all its leaves.
    fn settle(&mut self, _part: u32, _good: bool) -> Result<()> {
        Ok(())
    }
    /// A stop has begun: whatever workers wait on goes away.
    fn stopping(&mut self);
}

struct Running {
    role: Role,
    number: u32,
    child: Child,
    last_word: Option<End>,
    dismissed: bool,
}

/// The state of a stop that has begun.
struct Stop {
    since: Instant,
    /// Time from the beginning to KILL.
    patience: Duration,
    rung: u8,
}

struct Loop<'a> {
    machine: &'a mut dyn Machine,
    host: &'a mut dyn Host,
    running: Vec<Running>,
    stop: Option<Stop>,
    own_failure: Option<Error>,
    signalled: Option<i32>,
}

/// Runs a machine to its end. Returns once every child is reaped: the error is the first failure,
/// or the signal that came before it.
pub fn run(machine: &mut dyn Machine, host: &mut dyn Host) -> Result<()> {
    reap::adopt_strays()?;
    let mut run = Loop {
        machine,
        host,
        running: Vec::new(),
        stop: None,
        own_failure: None,
        signalled: None,
    };
    run.deliver(Event::Start);
    while !run.running.is_empty() {
        run.turn();
    }
    if let Some(signal) = run.signalled {
        return Err(Error::new(
            Kind::Stopped(signal),
            format!("stopped by {}", signal::name(signal)),
        ));
    }
    if let Some(error) = run.machine.failure() {
        return Err(error.clone());
    }
    run.own_failure.map_or(Ok(()), Err)
}

impl Loop<'_> {
    /// Waits for news, at most [`POLL_MAX`], and handles what came.
    fn turn(&mut self) {
        self.look_at_signals();
        self.climb_ladder();
        let children: Vec<&Child> = self.running.iter().map(|running| &running.child).collect();
        let ready = reap::poll_all(&children, POLL_MAX);
        // From the back, so that removing one does not move those still to be read.
        for position in ready.into_iter().rev() {
            self.hear(position);
        }
    }

    fn hear(&mut self, position: usize) {
        let running = &mut self.running[position];
        let (role, number) = (running.role, running.number);
        let news = match running.child.read() {
            Ok(news) => news,
            Err(error) => {
                self.running.remove(position);
                return self.fail(error);
            }
        };
        let mut events = Vec::new();
        for line in news.lines {
            match Report::parse(&line) {
                Ok(Report::Done) => running.last_word = Some(End::Done),
                Ok(Report::Failed { error }) | Err(error) => {
                    running.last_word = Some(End::Failed(error));
                }
                Ok(report) => events.push(Event::Report(role, number, report)),
            }
        }
        if let Some(ended) = news.ended {
            let running = self.running.remove(position);
            if matches!(ended, Ended::Signal(_)) {
                let known = self.running.iter().map(|running| running.child.pid());
                reap::end_strays(&known.collect());
            }
            events.push(Event::Ended(role, number, Self::end_of(&running, ended)));
        }
        for event in events {
            if let Event::Ended(_, _, End::Failed(error)) = &event
                && self.machine.failure().is_some()
                && self.stop.is_none()
            {
                // The first failure ends the run and is printed by the main program.
                logging::report_error(error, false);
            }
            if let Event::Report(role, _, report) = &event
                && let Err(error) = self.host.note(*role, number, report)
            {
                self.fail(error);
            }
            self.deliver(event);
        }
    }

    /// The machine's view of an end; processes that we have stopped did not fail.
    fn end_of(running: &Running, ended: Ended) -> End {
        let pid = running.child.pid();
        notice!(
            "Process {pid} \"{}\" {} ended: {ended:?}",
            running.role.label(),
            running.number
        );
        if running.dismissed {
            return End::Done;
        }
        match (&running.last_word, ended) {
            (Some(word), Ended::Exit(_)) => word.clone(),
            (_, Ended::Exit(code)) => End::Crashed(format!(
                "process {pid} \"{}\" ended with code {code}",
                running.role.label()
            )),
            (_, Ended::Signal(signal)) => End::Crashed(format!(
                "process {pid} \"{}\" was ended by {}",
                running.role.label(),
                signal::name(signal)
            )),
        }
    }

    /// Gives an event to the machine and carries out its orders; during a stop nothing new starts.
    fn deliver(&mut self, event: Event) {
        let mut orders: std::collections::VecDeque<Order> = self.machine.on(event).into();
        while let Some(order) = orders.pop_front() {
            match order {
                Order::Say(line) => log::info!("{line}"),
                Order::Alarm(line) => log::error!("{line}"),
                Order::StopAll => self.begin_stop(),
                Order::Dismiss(role) => self.dismiss(|running| running.role == role),
                Order::DismissOne(role, number) => {
                    self.dismiss(|running| (running.role, running.number) == (role, number));
                }
                Order::Settle { part, good } => {
                    if let Err(error) = self.host.settle(part, good) {
                        self.fail(error);
                    }
                }
                Order::Spawn { .. } if self.stop.is_some() => {}
                Order::Spawn {
                    role,
                    number,
                    successor,
                } => match self.host.spawn(role, number, successor) {
                    Ok(child) => self.running.push(Running {
                        role,
                        number,
                        child,
                        last_word: None,
                        dismissed: false,
                    }),
                    Err(error) => self.fail(error),
                },
            }
        }
    }

    fn dismiss(&mut self, is_meant: impl Fn(&Running) -> bool) {
        for running in self.running.iter_mut().filter(|running| is_meant(running)) {
            running.dismissed = true;
            running.child.signal(Signal::SIGTERM);
        }
    }

    fn fail(&mut self, error: Error) {
        self.own_failure.get_or_insert(error);
        self.begin_stop();
    }

    fn look_at_signals(&mut self) {
        let Some(first) = signal::first() else { return };
        if self.stop.is_none() || (self.signalled.is_none() && self.machine.failure().is_none()) {
            if self.machine.failure().is_none() && self.own_failure.is_none() {
                self.signalled = Some(first);
            }
            if self.stop.is_none() {
                log::warn!(
                    "Received {}, stopping all processes; a second signal stops them at once",
                    signal::name(first)
                );
                self.begin_stop();
            }
        }
        let grace = match (signal::count(), first) {
            (2.., _) => Duration::ZERO,
            (_, first) if first == Signal::SIGQUIT as i32 => QUIT_GRACE,
            _ => return,
        };
        if let Some(stop) = &mut self.stop
            && stop.patience > grace
        {
            stop.patience = grace;
        }
    }

    fn begin_stop(&mut self) {
        if self.stop.is_some() {
            return;
        }
        self.stop = Some(Stop {
            since: Instant::now(),
            patience: KILL_AFTER,
            rung: 0,
        });
        self.host.stopping();
        self.signal_all(Signal::SIGTERM);
    }

    fn climb_ladder(&mut self) {
        let Some(stop) = &mut self.stop else { return };
        let elapsed = stop.since.elapsed();
        let signal = if elapsed >= stop.patience && stop.rung < 2 {
            stop.rung = 2;
            Signal::SIGKILL
        } else if elapsed >= INT_AFTER && stop.rung < 1 {
            stop.rung = 1;
            Signal::SIGINT
        } else {
            return;
        };
        self.signal_all(signal);
    }

    fn signal_all(&self, signal: Signal) {
        for running in &self.running {
            running.child.signal(signal);
        }
    }
}
