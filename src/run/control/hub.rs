//! State that all connections to one trainer share: its latest events, its state, who has control, and how many
//! commands may wait.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::watch;

use super::ring::{Numbered, Ring};
use crate::run::event::Event;
use crate::run::presence::{Presence, departure};
use crate::run::shared::{SharedRun, Sink};
use crate::run::state::RunState;

/// Commands that may wait for the next step boundary.
const COMMANDS_WAITING: usize = 16;
/// Limits on commands over the socket: at most this many at once, and this many per second on average.
const BURST: f64 = 32.0;
const PER_SECOND: f64 = 10.0;

/// The operator of this process's own dashboard, until its name is known.
const OWN: &str = "the run's own dashboard";

/// Who may command the run from a screen. Scripts need no control.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Controller {
    Free,
    /// The dashboard in the trainer's own process.
    Dashboard,
    /// A client of this number, and its process.
    Client {
        id: u64,
        pid: Option<u32>,
    },
}

/// The shared state.
pub struct Hub {
    inner: Mutex<Inner>,
    /// Rises with every event and change of control.
    changed: watch::Sender<u64>,
    attendance: Arc<Presence>,
    run: Arc<SharedRun>,
}

struct Inner {
    ring: Ring,
    holder: Controller,
    /// Names of the clients.
    names: HashMap<u64, String>,
    /// Name of the operator of this process's own dashboard.
    own: Option<String>,
    bucket: Bucket,
    waiting: usize,
    /// Whether the events have ended.
    over: bool,
}

impl Inner {
    /// Describes a holder; `None` where control is free.
    fn words(&self, holder: Controller) -> Option<String> {
        match holder {
            Controller::Free => None,
            Controller::Dashboard => Some(self.own.as_deref().unwrap_or(OWN).into()),
            Controller::Client { id, pid } => Some(match (self.names.get(&id), pid) {
                (Some(name), _) => name.clone(),
                (None, Some(pid)) => format!("process {pid}"),
                (None, None) => format!("client {id}"),
            }),
        }
    }
}

/// The events for a client that has seen everything up to some event.
pub enum Next {
    /// The next events' numbers and lines.
    Lines(Vec<Numbered>),
    /// Nothing new.
    Nothing,
    /// This many events have been dropped here; the journal has them.
    Lagged(u64),
    /// Nothing new, and nothing will follow.
    Over,
}

impl Hub {
    /// A hub for a run. The process's own dashboard, if it has one, has control.
    pub fn new(attendance: Arc<Presence>, run: Arc<SharedRun>) -> Arc<Self> {
        let holder = match attendance.is_present() {
            true => Controller::Dashboard,
            false => Controller::Free,
        };
        Arc::new(Self {
            inner: Mutex::new(Inner {
                ring: Ring::new(run.past_seq()),
                holder,
                names: HashMap::new(),
                own: None,
                bucket: Bucket::new(Instant::now()),
                waiting: 0,
                over: false,
            }),
            changed: watch::Sender::new(0),
            attendance,
            run,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn notify(&self) {
        self.changed.send_modify(|n| *n += 1);
    }

    /// Wakes whenever something has changed.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Takes in one event.
    pub fn publish(&self, event: &Event) {
        self.lock().ring.push(event);
        self.notify();
    }

    /// Returns the sink that passes the [run](SharedRun)'s events on to the clients, and their end when it is dropped.
    pub fn sink(self: &Arc<Self>) -> Sink {
        let publishing = Publishing(Arc::clone(self));
        Box::new(move |_, event| {
            let Publishing(hub) = &publishing;
            hub.publish(event);
        })
    }

    /// The trainer has ended.
    pub fn end(&self) {
        self.lock().over = true;
        self.notify();
    }

    /// Returns the events after number `after`, at most a few hundred lines at once.
    pub fn next(&self, after: u64) -> Next {
        let inner = self.lock();
        match inner.ring.after(after) {
            Err(missed) => Next::Lagged(missed),
            Ok(lines) if !lines.is_empty() => Next::Lines(lines),
            Ok(_) if inner.over => Next::Over,
            Ok(_) => Next::Nothing,
        }
    }

    /// Returns a `gap` event that stands for the events after number `after` that have been dropped here; `None` when all are kept.
    pub fn gap(&self, after: u64) -> Option<Event> {
        self.lock().ring.gap(after)
    }

    /// Whether the trainer has ended.
    pub fn is_over(&self) -> bool {
        self.lock().over
    }

    /// Calls a function with the run's state.
    pub fn with_state<T>(&self, look: impl FnOnce(&RunState) -> T) -> T {
        self.run.with(look)
    }

    /// Number of the latest event.
    pub fn seq(&self) -> u64 {
        self.lock().ring.latest()
    }

    /// Returns who has control.
    pub fn holder(&self) -> Controller {
        self.lock().holder
    }

    /// Describes who has control; `None` where it is free.
    pub fn holder_words(&self) -> Option<String> {
        let inner = self.lock();
        inner.words(inner.holder)
    }

    /// Remembers a client's name while its process can still be inspected.
    pub fn introduce(&self, id: u64, name: String) {
        self.lock().names.insert(id, name);
    }

    /// Remembers the name of the operator of this process's own dashboard.
    pub fn introduce_own(&self, name: String) {
        self.lock().own = Some(name);
    }

    /// Gives control to `who`, taking it from the present controller.
    pub fn take_control(&self, who: Controller) {
        let former = std::mem::replace(&mut self.lock().holder, who);
        self.announce_control(former, who);
    }

    fn announce_control(&self, former: Controller, who: Controller) {
        if former != who {
            let (from, who) = {
                let inner = self.lock();
                (inner.words(former), inner.words(who))
            };
            let from = from.map(|w| format!(" from {w}")).unwrap_or_default();
            let who = who.unwrap_or_default();
            self.attendance
                .print(format!("control taken by {who}{from}"));
            self.notify();
        }
    }

    /// Releases the control of a client that leaves.
    pub fn leave(&self, who: Controller) {
        let mut inner = self.lock();
        let name = inner.words(who);
        if let Controller::Client { id, .. } = who {
            inner.names.remove(&id);
        }
        if inner.holder == who {
            inner.holder = Controller::Free;
            drop(inner);
            if let (Controller::Client { .. }, Some(name)) = (who, name) {
                self.attendance.print(departure(&name));
            }
            self.notify();
        }
    }

    /// Whether `who` may command from a screen: it has control, or takes control that is free.
    ///
    /// # Errors
    /// When another client has control; names that client.
    pub fn may_command(&self, who: Controller) -> Result<(), String> {
        let mut inner = self.lock();
        match inner.words(inner.holder) {
            Some(other) if inner.holder != who => {
                Err(format!("{other} has control; :take-control to take over"))
            }
            // Checked and taken under one lock: another client may want control at the same time.
            _ => {
                let former = std::mem::replace(&mut inner.holder, who);
                drop(inner);
                self.announce_control(former, who);
                Ok(())
            }
        }
    }

    /// Lets one more command wait for the trainer; [`Self::answered`] must follow.
    ///
    /// # Errors
    /// When too many wait, or came lately.
    pub fn admit(&self, now: Instant) -> Result<(), String> {
        let mut inner = self.lock();
        if inner.over {
            return Err("the trainer has ended".into());
        }
        if inner.waiting >= COMMANDS_WAITING {
            return Err(format!(
                "{COMMANDS_WAITING} commands already wait for the next step"
            ));
        }
        if !inner.bucket.take(now) {
            return Err(format!("too many commands: at most {PER_SECOND} a second"));
        }
        inner.waiting += 1;
        Ok(())
    }

    /// Records that a command has been answered, so that one fewer waits.
    pub fn answered(&self) {
        let mut inner = self.lock();
        inner.waiting = inner.waiting.saturating_sub(1);
    }

    /// Returns the record of the operators who can answer the run's questions.
    pub fn attendance(&self) -> &Arc<Presence> {
        &self.attendance
    }
}

/// Ends a hub's events when dropped.
struct Publishing(Arc<Hub>);

impl Drop for Publishing {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// A token bucket.
#[derive(Debug)]
struct Bucket {
    tokens: f64,
    filled: Instant,
}

impl Bucket {
    fn new(now: Instant) -> Self {
        Self {
            tokens: BURST,
            filled: now,
        }
    }

    fn take(&mut self, now: Instant) -> bool {
        let seconds = now.saturating_duration_since(self.filled).as_secs_f64();
        self.filled = now;
        self.tokens = (self.tokens + PER_SECOND * seconds).min(BURST);
        if self.tokens < 1.0 {
            return false;
        }
        self.tokens -= 1.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::ring::EVENTS_KEPT;
    use super::*;
    use crate::run::event::{Body, Log};
    use crate::run::state::RunState;
    use std::time::Duration;

    fn event(seq: u64) -> Event {
        let message = "x".into();
        Event::numbered(seq, Body::Log(Log { message }))
    }

    fn no_run() -> Arc<SharedRun> {
        SharedRun::begin(RunState::default()).unwrap().0
    }

    fn hub() -> Arc<Hub> {
        Hub::new(Presence::new(false), no_run())
    }

    fn seqs(next: Next) -> Vec<u64> {
        match next {
            Next::Lines(lines) => lines.into_iter().map(|(seq, _)| seq).collect(),
            _ => Vec::new(),
        }
    }

    #[test]
    fn a_client_gets_what_follows_and_learns_when_it_has_fallen_behind() {
        let hub = hub();
        assert!(matches!(hub.next(0), Next::Nothing));
        (1..=10).for_each(|seq| hub.publish(&event(seq)));
        assert_eq!(seqs(hub.next(7)), [8, 9, 10]);
        assert!(matches!(hub.next(10), Next::Nothing));
        (11..=10 + EVENTS_KEPT as u64).for_each(|seq| hub.publish(&event(seq)));
        assert!(matches!(hub.next(7), Next::Lagged(3)));
        assert_eq!(seqs(hub.next(10))[0], 11);
        hub.end();
        assert!(matches!(hub.next(hub.seq()), Next::Over));
    }

    #[test]
    fn one_has_control_and_another_can_take_it() {
        let hub = Hub::new(Presence::new(true), no_run());
        let (a, b) = (
            Controller::Client {
                id: 1,
                pid: Some(7),
            },
            Controller::Client { id: 2, pid: None },
        );
        assert!(hub.may_command(Controller::Dashboard).is_ok());
        let refused = hub.may_command(a).unwrap_err();
        assert!(
            refused.starts_with("the run's own dashboard has control"),
            "{refused}"
        );
        hub.introduce_own("root@pts/1 (pid 5)".into());
        let refused = hub.may_command(a).unwrap_err();
        assert!(refused.starts_with("root@pts/1 (pid 5) has"), "{refused}");
        hub.introduce(1, "ada@pts/3 (pid 7)".into());
        hub.take_control(a);
        assert!(hub.may_command(a).is_ok() && hub.may_command(b).is_err());
        let message = "control taken by ada@pts/3 (pid 7) from root@pts/1 (pid 5)".to_string();
        assert_eq!(hub.attendance().news(), Some(Body::Log(Log { message })));
        hub.leave(b);
        assert_eq!(hub.holder(), a, "another one's leaving changes nothing");
        hub.leave(a);
        let news = hub.attendance().news();
        let left = "ada@pts/3 (pid 7) has left; control is free";
        let message = left.to_string();
        assert_eq!(news, Some(Body::Log(Log { message })));
        assert!(hub.may_command(b).is_ok(), "what nobody has is free");
    }

    #[test]
    fn a_flood_of_commands_is_refused() {
        let hub = hub();
        let begin = Instant::now();
        let mut admitted = 0;
        for i in 0..1000 {
            // A thousand a second, each answered at once.
            if hub.admit(begin + Duration::from_millis(i)).is_ok() {
                admitted += 1;
                hub.answered();
            }
        }
        assert!((32..=42).contains(&admitted), "{admitted}");
        let later = begin + Duration::from_secs(60);
        for _ in 0..COMMANDS_WAITING {
            hub.admit(later).unwrap();
        }
        let refused = hub.admit(later).unwrap_err();
        assert!(refused.contains("wait for the next step"), "{refused}");
    }
}
