//! `--all-databases`: the clones of several databases side by side, and who of them gets a worker next.
//!
//! Pure: events in, orders out. Each database has its own machine ([`Stages`]) and its own ledger; here their orders
//! are passed on, but for workers: these wait until one of the places of their class is free, of which all
//! databases together have as many as the options say. A free place goes to the database with the largest
//! unit that is ready, as the lookout process reports it. A worker keeps its place for a little while and then
//! ends, so that the next largest unit of all is begun.
//!
//! A leaf is known to the supervisor by role and number: `part * STRIDE + number`, where part 0 is what
//! belongs to no database.

mod ending;

use super::stages::Stages;
use crate::error::{Error, Kind};
use crate::supervisor::{ClassLoad, End, Event, Machine, Order, Report, Role};
use crate::units::pretty_bytes;
use std::collections::VecDeque;

/// Numbers that each database has for its leaves.
pub(super) const STRIDE: u32 = 1000;
/// Classes of workers that wait for a place, in the order of [`Report::Load`].
pub(super) const CLASSES: [Role; 4] = [Role::Copy, Role::Index, Role::Vacuum, Role::Blob];
/// Position of the copy workers among them.
const COPY: usize = 0;
/// Position of post-data, which has places, too, and no units.
const POST_DATA: usize = CLASSES.len();
/// Databases whose post-data is restored at a time; each may have `--restore-jobs` sessions.
const POST_DATA_MAX: u32 = 2;
/// Most ranks of a class in one report, whose length is limited.
pub(super) const RANKS_MAX: usize = 32;
/// Deaths of the lookout after which it is not replaced again.
const DEATHS_MAX: u32 = 6;

/// How many there may be at a time, over all databases.
#[derive(Clone, Copy, Debug)]
pub(super) struct Places {
    pub(super) table: u32,
    pub(super) index: u32,
    pub(super) blob: u32,
}

impl Places {
    fn of(self, class: usize) -> u32 {
        match CLASSES.get(class) {
            Some(Role::Index) => self.index,
            Some(Role::Blob) => self.blob,
            Some(_) => self.table,
            None => POST_DATA_MAX,
        }
    }

    /// Databases that are begun and not ended: each holds a snapshot.
    fn databases(self) -> u32 {
        self.table * 2
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    /// Up to the end of pre-data: what there is to copy is not known yet.
    Setup,
    Data,
    /// It failed; its leaves are ending.
    Stopping,
    Over,
}

/// A worker that waits for its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wanted {
    role: Role,
    number: u32,
    successor: bool,
}

/// The clone of one database.
#[derive(Debug)]
struct Part {
    name: String,
    bytes: u64,
    machine: Stages,
    state: State,
    wanted: Vec<Wanted>,
    live: Vec<(Role, u32)>,
    /// Workers that are about to end though their stage is not over; true: for want of work.
    yielded: Vec<(Role, u32, bool)>,
    load: Option<Vec<ClassLoad>>,
    /// Loads that arrived since its data stage began.
    loads_of_data: u32,
    has_copies: bool,
    /// Something began that changes the target.
    is_touched: bool,
    /// Classes whose last worker found nothing to do, until the next load.
    idle: [bool; CLASSES.len()],
}

impl Part {
    fn count(&self, class: usize) -> u32 {
        let is_of = |role: Role| class_of(role) == Some(class);
        let live = self.live.iter().filter(|(role, _)| is_of(*role)).count();
        u32::try_from(live).unwrap_or(u32::MAX)
    }

    fn position(&self, class: usize, successor: bool) -> Option<usize> {
        self.wanted
            .iter()
            .position(|w| class_of(w.role) == Some(class) && (w.successor || !successor))
    }

    fn class(&self, class: usize) -> Option<&ClassLoad> {
        self.load.as_ref()?.get(class)
    }

    /// Size of the unit that one more worker would find.
    fn rank(&self, class: usize) -> Option<i64> {
        if class == POST_DATA {
            return Some(i64::try_from(self.bytes).unwrap_or(i64::MAX));
        }
        if self.idle[class] {
            return None;
        }
        let load = self.class(class)?;
        // Those that have a place and no unit yet will take the first ones.
        let before = self.count(class).saturating_sub(load.running);
        let position = usize::try_from(before).unwrap_or(usize::MAX);
        let is_cut = load.ready.len() >= RANKS_MAX;
        let last = load.ready.last().filter(|_| is_cut);
        load.ready.get(position).or(last).copied()
    }

    /// True while its largest table is not known.
    fn may_have_larger(&self, rank: i64) -> bool {
        let is_unknown = match self.state {
            State::Setup => true,
            State::Data => {
                let sees_copies = self.class(COPY).is_some_and(|load| !load.ready.is_empty());
                self.has_copies && !sees_copies && self.loads_of_data < 2
            }
            _ => false,
        };
        is_unknown && i64::try_from(self.bytes).unwrap_or(i64::MAX) > rank
    }
}

fn class_of(role: Role) -> Option<usize> {
    match role {
        Role::PostData => Some(POST_DATA),
        _ => CLASSES.iter().position(|class| *class == role),
    }
}

/// The machine of all databases.
#[derive(Debug)]
pub(super) struct Pool {
    places: Places,
    fail_fast: bool,
    progress: bool,
    /// Databases of the list before it.
    skipped: usize,
    parts: Vec<Part>,
    deaths: u32,
    /// Databases that are not cloned, and whether the target's were touched.
    failed: Vec<(String, bool)>,
    first: Option<Error>,
    is_ending: bool,
}

impl Pool {
    /// Databases are begun in the order given: the largest first.
    pub(super) fn new(places: Places, (fail_fast, progress): (bool, bool), skipped: usize) -> Self {
        Self {
            places,
            fail_fast,
            progress,
            skipped,
            parts: Vec::new(),
            deaths: 0,
            failed: Vec::new(),
            first: None,
            is_ending: false,
        }
    }

    pub(super) fn add(&mut self, (name, bytes): (&str, u64), machine: Stages) {
        self.parts.push(Part {
            name: name.to_owned(),
            bytes,
            machine,
            state: State::Waiting,
            wanted: Vec::new(),
            live: Vec::new(),
            yielded: Vec::new(),
            load: None,
            loads_of_data: 0,
            has_copies: false,
            is_touched: false,
            idle: [false; CLASSES.len()],
        });
    }

    fn count(&self, state: State) -> u32 {
        let parts = self.parts.iter().filter(|part| part.state == state).count();
        u32::try_from(parts).unwrap_or(u32::MAX)
    }

    /// Begins what may begin, and gives away the places that are free.
    fn fill(&mut self) -> Vec<Order> {
        let mut orders = Vec::new();
        while !self.is_ending {
            let begun = self.count(State::Setup) + self.count(State::Data);
            let may_begin =
                self.count(State::Setup) < self.places.table && begun < self.places.databases();
            let next = self
                .parts
                .iter()
                .position(|part| part.state == State::Waiting);
            let Some(next) = next.filter(|_| may_begin) else {
                break;
            };
            orders.extend(self.begin(next));
        }
        for class in 0..=POST_DATA {
            while !self.is_ending && self.in_use(class) < self.places.of(class) {
                let Some((part, wanted)) = self.next_for(class) else {
                    break;
                };
                let wanted = self.parts[part].wanted.remove(wanted);
                orders.push(self.spawn(part, wanted));
            }
        }
        orders
    }

    fn in_use(&self, class: usize) -> u32 {
        self.parts.iter().map(|part| part.count(class)).sum()
    }

    fn begin(&mut self, part: usize) -> Vec<Order> {
        let total = self.parts.len() + self.skipped;
        let position = part + 1 + self.skipped;
        let one = &mut self.parts[part];
        one.state = State::Setup;
        let say = Order::Say(format!(
            "Database \"{}\" ({}), {position} of {total}",
            one.name,
            pretty_bytes(one.bytes),
        ));
        let orders = one.machine.on(Event::Start);
        let mut all = vec![say];
        all.extend(self.pass_on(part, orders));
        all
    }

    /// Which waiting worker gets a free place: one that replaces a dead one, else one for the largest unit that
    /// is ready. Nobody does while a database of which no table is known yet may have a larger one.
    fn next_for(&self, class: usize) -> Option<(usize, usize)> {
        let parts = || self.parts.iter().enumerate();
        let dead = parts().find_map(|(part, one)| Some((part, one.position(class, true)?)));
        if dead.is_some() {
            return dead;
        }
        let mut best: Option<(i64, (usize, usize))> = None;
        for (part, one) in parts() {
            let (Some(position), Some(rank)) = (one.position(class, false), one.rank(class)) else {
                continue;
            };
            if best.is_none_or(|(most, _)| rank > most) {
                best = Some((rank, (part, position)));
            }
        }
        match best {
            Some((rank, _)) if class == COPY && self.may_have_larger(rank) => None,
            Some((_, found)) => Some(found),
            None => parts().find_map(|(part, one)| {
                // The last one finds out for itself that there is nothing more to come.
                let is_over = one.class(class).is_some_and(|load| load.is_over);
                let is_last = is_over && one.count(class) == 0 && !one.may_have_larger(-1);
                let position = one.position(class, false).filter(|_| is_last)?;
                Some((part, position))
            }),
        }
    }

    fn may_have_larger(&self, rank: i64) -> bool {
        let begun = self.count(State::Setup) + self.count(State::Data);
        let has_room = begun < self.places.databases();
        self.parts.iter().any(|part| {
            let waits = part.state == State::Waiting && has_room;
            part.may_have_larger(rank)
                || (waits && i64::try_from(part.bytes).unwrap_or(i64::MAX) > rank)
        })
    }

    fn spawn(&mut self, part: usize, wanted: Wanted) -> Order {
        let one = &mut self.parts[part];
        one.live.push((wanted.role, wanted.number));
        one.is_touched |= !ending::is_before_changes(wanted.role);
        Order::Spawn {
            role: wanted.role,
            number: number_of(part, wanted.number),
            successor: wanted.successor,
        }
    }

    /// Turns the orders of one database's machine into orders of the whole.
    fn pass_on(&mut self, part: usize, orders: Vec<Order>) -> Vec<Order> {
        let mut out = Vec::new();
        let mut orders = VecDeque::from(orders);
        while let Some(order) = orders.pop_front() {
            let one = &mut self.parts[part];
            match order {
                Order::Spawn {
                    role,
                    number,
                    successor,
                } => {
                    if one.state == State::Stopping {
                        continue;
                    }
                    if one.state == State::Setup && is_of_data(role) {
                        one.state = State::Data;
                        one.loads_of_data = 0;
                    }
                    let wanted = Wanted {
                        role,
                        number,
                        successor,
                    };
                    if class_of(role).is_some() {
                        one.wanted.push(wanted);
                    } else {
                        out.push(self.spawn(part, wanted));
                    }
                }
                Order::Dismiss(role) => out.extend(self.dismiss(part, Some(role))),
                Order::StopAll => {
                    one.state = State::Stopping;
                    one.wanted.clear();
                    out.extend(self.dismiss(part, None));
                }
                Order::Say(line) => out.push(Order::Say(format!("{}: {line}", one.title()))),
                Order::Alarm(line) => out.push(Order::Alarm(format!("{}: {line}", one.title()))),
                Order::DismissOne(..) | Order::Settle { .. } => {}
            }
        }
        out.extend(self.settle(part));
        out
    }

    fn dismiss(&self, part: usize, only: Option<Role>) -> Vec<Order> {
        let live = self.parts[part].live.iter();
        live.filter(|(role, _)| only.is_none_or(|only| only == *role))
            .map(|(role, number)| Order::DismissOne(*role, number_of(part, *number)))
            .collect()
    }

    /// Writes the end of a database down once its last leaf is gone; what fails with one of them does not keep the
    /// others from being cloned, unless it would fail with these, too.
    fn settle(&mut self, part: usize) -> Vec<Order> {
        let one = &mut self.parts[part];
        let is_at_end = match one.state {
            State::Stopping => true,
            State::Setup | State::Data => one.machine.is_over() && one.wanted.is_empty(),
            State::Waiting | State::Over => false,
        };
        if !is_at_end || !one.live.is_empty() {
            return Vec::new();
        }
        one.state = State::Over;
        let failure = one.machine.failure().cloned();
        let failure = failure.map(|error| ending::of_one(error, one));
        let mut orders = vec![Order::Settle {
            part: u32::try_from(part).unwrap_or(u32::MAX),
            good: failure.is_none(),
        }];
        if let Some(error) = failure {
            let ends_all = self.fail_fast || ends_all(&error);
            // Who was stopped need not say so.
            if !matches!(error.kind(), Kind::Stopped(_)) {
                orders.extend(error.lines().into_iter().map(Order::Alarm));
            }
            let one = &self.parts[part];
            self.failed.push((one.name.clone(), one.is_touched));
            self.first.get_or_insert(error);
            if ends_all {
                self.is_ending = true;
                orders.push(Order::StopAll);
            }
        }
        if self.parts.iter().all(|part| part.state == State::Over) {
            if !self.is_ending {
                self.first = self.first.take().map(|error| self.sum_up(&error));
            }
            self.is_ending = true;
            orders.extend([Role::Lookout, Role::Progress].map(Order::Dismiss));
        }
        orders
    }

    fn of_part(&mut self, part: usize, event: Event) -> Vec<Order> {
        let one = &mut self.parts[part];
        match event {
            Event::Report(role, number, Report::Yielded { idle }) => {
                one.yielded.push((role, number, idle));
                Vec::new()
            }
            Event::Ended(role, number, end) => {
                one.live.retain(|live| *live != (role, number));
                let mut idle = None;
                one.yielded.retain(|(of, other, how)| {
                    let is_this = (*of, *other) == (role, number);
                    idle = if is_this { Some(*how) } else { idle };
                    !is_this
                });
                if one.state == State::Stopping {
                    return self.settle(part);
                }
                match (idle, class_of(role)) {
                    (Some(idle), Some(class)) if matches!(end, End::Done) => {
                        if let Some(state) = one.idle.get_mut(class) {
                            *state = idle;
                        }
                        one.wanted.push(Wanted {
                            role,
                            number,
                            successor: false,
                        });
                        Vec::new()
                    }
                    _ => self.ended(part, (role, number), end),
                }
            }
            other => {
                if let Event::Report(_, _, Report::Planned { copies, .. }) = &other {
                    one.has_copies = *copies > 0;
                }
                let orders = one.machine.on(other);
                self.pass_on(part, orders)
            }
        }
    }

    /// A leaf has ended for good. With a worker whose stage is over, those end that wait for a place in that stage.
    fn ended(&mut self, part: usize, (role, number): (Role, u32), end: End) -> Vec<Order> {
        let one = &mut self.parts[part];
        let is_done = matches!(end, End::Done) && CLASSES.contains(&role);
        let mut ended = vec![(number, end)];
        one.wanted.retain(|wanted| {
            let goes = is_done && wanted.role == role && !wanted.successor;
            ended.extend(goes.then_some((wanted.number, End::Done)));
            !goes
        });
        let mut orders = Vec::new();
        // The first failure is told at the end of this database.
        if let Some((_, End::Failed(error))) = ended.first()
            && one.machine.failure().is_some()
        {
            let title = one.title();
            let lines = error.lines().into_iter();
            orders.extend(lines.map(|line| Order::Alarm(format!("{title}: {line}"))));
        }
        for (number, end) in ended {
            let ordered = self.parts[part].machine.on(Event::Ended(role, number, end));
            orders.extend(self.pass_on(part, ordered));
        }
        orders
    }

    /// What becomes of the lookout and of the progress line.
    fn of_none(&mut self, event: Event) -> Vec<Order> {
        match event {
            Event::Report(Role::Lookout, _, Report::Load { part, classes }) => {
                let part = usize::try_from(part).unwrap_or(usize::MAX);
                if let Some(one) = self.parts.get_mut(part) {
                    one.load = Some(classes);
                    one.loads_of_data += 1;
                    one.idle = [false; CLASSES.len()];
                }
                Vec::new()
            }
            Event::Ended(Role::Lookout, _, end) if !self.is_ending => {
                let error = match end {
                    End::Failed(error) => error,
                    End::Crashed(how) if self.deaths >= DEATHS_MAX => Error::internal(how),
                    End::Crashed(_) | End::Done => {
                        self.deaths += 1;
                        return vec![lookout(true)];
                    }
                };
                self.first.get_or_insert(error);
                self.is_ending = true;
                vec![Order::StopAll]
            }
            _ => Vec::new(),
        }
    }
}

impl Part {
    fn title(&self) -> String {
        format!("database \"{}\"", self.name)
    }
}

/// Workers and whatever else follows pre-data.
fn is_of_data(role: Role) -> bool {
    class_of(role).is_some() || matches!(role, Role::Sequence | Role::Extension | Role::Finish)
}

fn ends_all(error: &Error) -> bool {
    error.is_transient()
        || error.is_waited_out()
        || matches!(
            error.kind(),
            Kind::Stopped(_) | Kind::BadArgs | Kind::Internal
        )
}

fn number_of(part: usize, number: u32) -> u32 {
    (u32::try_from(part).unwrap_or(u32::MAX / STRIDE - 1) + 1) * STRIDE + number
}

fn lookout(successor: bool) -> Order {
    Order::Spawn {
        role: Role::Lookout,
        number: 1,
        successor,
    }
}

impl Machine for Pool {
    fn on(&mut self, event: Event) -> Vec<Order> {
        let mut orders = match event {
            Event::Start => {
                let mut orders = vec![lookout(false)];
                if self.progress {
                    orders.push(Order::Spawn {
                        role: Role::Progress,
                        number: 1,
                        successor: false,
                    });
                }
                orders
            }
            Event::Report(_, number, _) | Event::Ended(_, number, _) if number < STRIDE => {
                self.of_none(event)
            }
            Event::Report(role, number, report) => {
                let part = usize::try_from(number / STRIDE - 1).unwrap_or(usize::MAX);
                self.of_part(part, Event::Report(role, number % STRIDE, report))
            }
            Event::Ended(role, number, end) => {
                let part = usize::try_from(number / STRIDE - 1).unwrap_or(usize::MAX);
                self.of_part(part, Event::Ended(role, number % STRIDE, end))
            }
        };
        orders.extend(self.fill());
        orders
    }

    /// The first one, once the run comes to its end: until then the others go on.
    fn failure(&self) -> Option<&Error> {
        self.first.as_ref().filter(|_| self.is_ending)
    }
}

#[cfg(test)]
mod tests;
