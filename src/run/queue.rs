//! A bounded queue of events from the trainer to one reader: a printer, a dashboard, the control socket.
//!
//! The trainer never waits for the reader. When [`CAPACITY`] events wait, the reader loses events, metric and log events
//! first, and finds a `gap` event in their place that says how many. What a run's story rests on is never lost: commands,
//! answers, decisions, phases, checkpoints, the run's state and its end take the place of the newest event that may be
//! lost, and only when no such event is left does the queue grow beyond its capacity, by those events alone. They are
//! few: operators, checkpoints and phases make them, and the socket takes ten commands a second at most.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::event::{Body, Event};

/// Events that may wait for a reader.
pub const CAPACITY: usize = 16_384;

/// How soon an event is given up for a reader that does not keep up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Loss {
    First,
    Second,
    Never,
    /// Stands for lost events itself.
    Gap,
}

/// Names every kind, so that a new one is given its place.
fn loss(body: &Body) -> Loss {
    match body {
        Body::Train { .. } | Body::Log { .. } => Loss::First,
        Body::Eval { .. } | Body::Probe { .. } | Body::Gpu(_) => Loss::Second,
        Body::Run { .. }
        | Body::Phase { .. }
        | Body::Checkpointing { .. }
        | Body::Checkpoint { .. }
        | Body::Command { .. }
        | Body::Answer { .. }
        | Body::Decision { .. }
        | Body::Inherit { .. }
        | Body::Grow { .. }
        | Body::Rollback { .. }
        | Body::Resumed { .. }
        | Body::Warning { .. }
        | Body::Done { .. }
        | Body::Unknown(_) => Loss::Never,
        Body::Gap { .. } => Loss::Gap,
    }
}

/// What waits, in order. A `gap` event has the number, step and time of the last event lost in its place.
#[derive(Debug)]
struct Waiting {
    events: VecDeque<Event>,
    capacity: usize,
    /// Events that would be lost first, second and never; gaps are not counted.
    count: [usize; 3],
}

impl Waiting {
    fn len(&self) -> usize {
        self.count.iter().sum()
    }

    fn push(&mut self, event: &Event) {
        let loss = loss(&event.body);
        if let Body::Gap { dropped } = event.body {
            return self.push_gap(event, dropped);
        }
        if self.len() >= self.capacity && !self.make_room(loss) {
            return self.push_gap(event, 1);
        }
        self.count[loss as usize] += 1;
        self.events.push_back(event.clone());
    }

    /// Adds to the gap at the end, or begins one there.
    fn push_gap(&mut self, last_lost: &Event, dropped: u64) {
        let before = match self.events.back() {
            Some(Event {
                body: Body::Gap { dropped },
                ..
            }) => *dropped,
            _ => 0,
        };
        if before > 0 {
            self.events.pop_back();
        }
        self.events
            .push_back(gap(last_lost, before.saturating_add(dropped)));
    }

    /// Gives up the newest event that is lost sooner than `loss`. False when there is none and the new event itself may be
    /// lost.
    fn make_room(&mut self, loss: Loss) -> bool {
        let victim = [Loss::First, Loss::Second]
            .into_iter()
            .find(|victim| *victim < loss && self.count[*victim as usize] > 0);
        match victim {
            Some(victim) => {
                self.give_up(victim);
                true
            }
            None => loss == Loss::Never,
        }
    }

    /// Replaces the newest event of a kind by a gap, and joins it with the gaps next to it.
    fn give_up(&mut self, kind: Loss) {
        let newest = self.events.iter().rposition(|e| loss(&e.body) == kind);
        let Some(mut at) = newest else { return };
        self.count[kind as usize] -= 1;
        let mut dropped = 1;
        let dropped_at = |events: &VecDeque<Event>, i: usize| match events.get(i)?.body {
            Body::Gap { dropped } => Some(dropped),
            _ => None,
        };
        if let Some(before) = at.checked_sub(1).and_then(|i| dropped_at(&self.events, i)) {
            dropped += before;
            at -= 1;
            self.events.remove(at);
        }
        match dropped_at(&self.events, at + 1) {
            Some(after) => {
                self.events.remove(at);
                self.events[at].body = Body::Gap {
                    dropped: dropped + after,
                };
            }
            None => self.events[at].body = Body::Gap { dropped },
        }
    }

    fn pop(&mut self) -> Option<Event> {
        let event = self.events.pop_front()?;
        let loss = loss(&event.body);
        if loss != Loss::Gap {
            self.count[loss as usize] -= 1;
        }
        Some(event)
    }
}

fn gap(last_lost: &Event, dropped: u64) -> Event {
    Event {
        phase: last_lost.phase.clone(),
        body: Body::Gap { dropped },
        ..*last_lost
    }
}

#[derive(Debug)]
struct Shared {
    inner: Mutex<Inner>,
    /// Wakes a reader that waits on its thread, and one that waits in a runtime.
    arrived: Condvar,
    notify: Notify,
}

#[derive(Debug)]
struct Inner {
    waiting: Waiting,
    /// No event will come any more.
    ended: bool,
    /// Nobody reads any more.
    left: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        self.arrived.notify_one();
        self.notify.notify_one();
    }
}

/// The trainer's end. Dropped, it ends the queue.
#[derive(Debug)]
pub struct EventSender(Arc<Shared>);

/// The reader's end.
#[derive(Debug)]
pub struct EventReceiver(Arc<Shared>);

/// What a reader finds that does not wait.
#[derive(Debug, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "taken apart at once, never kept")]
pub enum Polled {
    Event(Event),
    /// Nothing at present.
    Empty,
    /// Nothing, and nothing will come.
    Ended,
}

/// Makes a queue in which [`CAPACITY`] events may wait.
pub fn bounded() -> (EventSender, EventReceiver) {
    with_capacity(CAPACITY)
}

fn with_capacity(capacity: usize) -> (EventSender, EventReceiver) {
    let shared = Arc::new(Shared {
        inner: Mutex::new(Inner {
            waiting: Waiting {
                events: VecDeque::new(),
                capacity,
                count: [0; 3],
            },
            ended: false,
            left: false,
        }),
        arrived: Condvar::new(),
        notify: Notify::new(),
    });
    (EventSender(Arc::clone(&shared)), EventReceiver(shared))
}

impl EventSender {
    /// Adds an event, or counts it as lost. Never waits for the reader.
    pub fn send(&self, event: &Event) {
        let mut inner = self.0.lock();
        if inner.left {
            return;
        }
        inner.waiting.push(event);
        drop(inner);
        self.0.wake();
    }
}

impl Drop for EventSender {
    fn drop(&mut self) {
        self.0.lock().ended = true;
        self.0.wake();
    }
}

impl EventReceiver {
    /// Returns the next event without waiting.
    pub fn poll(&self) -> Polled {
        self.0.lock().poll()
    }

    /// Waits on this thread for the next event; `None` at the end.
    pub fn recv(&self) -> Option<Event> {
        let mut inner = self.0.lock();
        loop {
            match inner.poll() {
                Polled::Event(event) => return Some(event),
                Polled::Ended => return None,
                Polled::Empty => {
                    let woken = self.0.arrived.wait(inner);
                    inner = woken.unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }

    /// Waits in a runtime for the next event; `None` at the end.
    pub async fn next(&self) -> Option<Event> {
        loop {
            match self.poll() {
                Polled::Event(event) => return Some(event),
                Polled::Ended => return None,
                // A word that came since the poll is kept for this wait.
                Polled::Empty => self.0.notify.notified().await,
            }
        }
    }
}

impl Drop for EventReceiver {
    fn drop(&mut self) {
        let mut inner = self.0.lock();
        inner.left = true;
        inner.waiting.events = VecDeque::new();
        inner.waiting.count = [0; 3];
    }
}

impl Inner {
    fn poll(&mut self) -> Polled {
        match self.waiting.pop() {
            Some(event) => Polled::Event(event),
            None if self.ended => Polled::Ended,
            None => Polled::Empty,
        }
    }
}

#[cfg(test)]
mod tests;
