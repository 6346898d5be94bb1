//! A bounded queue of events: from the trainer to the [fold](super::shared), and from there to a printer.
//!
//! The trainer never waits for the reader. When [`CAPACITY`] events wait, the reader loses events, metric and log
//! events first, and finds a `gap` event in their place with their number. Events that later state depends on are never
//! lost: commands, answers, decisions, phases, checkpoints, the run's state and its end replace the newest event that
//! may be lost; only when no such event is left does the queue grow beyond its capacity, by those events alone. They
//! are few: operators, checkpoints and phases cause them, and the socket accepts ten commands a second at most.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::event::{Body, DropOrder, Event, Gap};

/// Events that may wait for a reader.
pub const CAPACITY: usize = 16_384;

/// A waiting event, with a text that was made for its reader when it was added. A gap made by the queue has no text.
#[derive(Debug)]
struct Entry {
    event: Event,
    text: Option<String>,
}

/// Waiting events, in order. A `gap` event has the number, step and time of the last event lost in its place.
#[derive(Debug)]
struct Waiting {
    events: VecDeque<Entry>,
    capacity: usize,
    /// Events that would be lost first, second and never; gaps are not counted.
    count: [usize; 3],
}

impl Waiting {
    fn new(capacity: usize) -> Self {
        Self {
            events: VecDeque::new(),
            capacity,
            count: [0; 3],
        }
    }

    fn len(&self) -> usize {
        self.count.iter().sum()
    }

    fn push(&mut self, event: &Event, text: Option<String>) {
        let order = event.body.dropped();
        if let Body::Gap(Gap { dropped }) = event.body {
            return self.push_gap(event, dropped);
        }
        if self.len() >= self.capacity && !self.make_room(order) {
            return self.push_gap(event, 1);
        }
        self.count[order as usize] += 1;
        let event = event.clone();
        self.events.push_back(Entry { event, text });
    }

    /// Returns how many events the gap at index `i` stands for; `None` if that event is not a gap.
    fn dropped_at(&self, i: usize) -> Option<u64> {
        match self.events.get(i)?.event.body {
            Body::Gap(Gap { dropped }) => Some(dropped),
            _ => None,
        }
    }

    /// Adds to the gap at the end, or starts one there.
    fn push_gap(&mut self, last_lost: &Event, dropped: u64) {
        let last = self.events.len().checked_sub(1);
        let before = last.and_then(|i| self.dropped_at(i));
        if before.is_some() {
            self.events.pop_back();
        }
        let dropped = before.unwrap_or(0).saturating_add(dropped);
        self.events.push_back(Entry {
            event: gap(last_lost, dropped),
            text: None,
        });
    }

    /// Drops the newest event that is lost sooner than `order`. Returns false when no such event waits and the new
    /// event itself may be lost.
    fn make_room(&mut self, order: DropOrder) -> bool {
        let victim = [DropOrder::First, DropOrder::Second]
            .into_iter()
            .find(|victim| *victim < order && self.count[*victim as usize] > 0);
        match victim {
            Some(victim) => {
                self.give_up(victim);
                true
            }
            None => order == DropOrder::Never,
        }
    }

    /// Replaces the newest event of a kind by a gap, and joins the gap with its neighbours.
    fn give_up(&mut self, kind: DropOrder) {
        let is_of_kind = |entry: &Entry| entry.event.body.dropped() == kind;
        let newest = self.events.iter().rposition(is_of_kind);
        let Some(mut at) = newest else { return };
        self.count[kind as usize] -= 1;
        let mut dropped: u64 = 1;
        let before = at.checked_sub(1);
        if let Some((before, more)) = before.and_then(|i| Some((i, self.dropped_at(i)?))) {
            dropped = dropped.saturating_add(more);
            self.events.remove(before);
            at = before;
        }
        // A gap has the place of the last event lost in it.
        if let Some(more) = self.dropped_at(at + 1) {
            dropped = dropped.saturating_add(more);
            self.events.remove(at);
        }
        let entry = &mut self.events[at];
        entry.event.body = Body::Gap(Gap { dropped });
        entry.text = None;
    }

    fn pop(&mut self) -> Option<Entry> {
        let entry = self.events.pop_front()?;
        let order = entry.event.body.dropped();
        if order != DropOrder::Gap {
            self.count[order as usize] -= 1;
        }
        Some(entry)
    }
}

fn gap(last_lost: &Event, dropped: u64) -> Event {
    Event {
        phase: last_lost.phase.clone(),
        body: Body::Gap(Gap { dropped }),
        ..*last_lost
    }
}

#[derive(Debug)]
struct Shared {
    inner: Mutex<Inner>,
    /// Wakes a reader that waits.
    arrived: Condvar,
}

#[derive(Debug)]
struct Inner {
    waiting: Waiting,
    /// Whether the events have ended.
    ended: bool,
    /// Whether the reader is gone.
    left: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The trainer's end. Dropped, it ends the queue.
#[derive(Debug)]
pub struct EventSender(Arc<Shared>);

/// The reader's end.
#[derive(Debug)]
pub struct EventReceiver(Arc<Shared>);

/// The reason why no event was returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Nothing {
    /// No event waits at present.
    Empty,
    /// No further event will come.
    Ended,
}

/// Makes a queue in which [`CAPACITY`] events may wait.
pub fn bounded() -> (EventSender, EventReceiver) {
    with_capacity(CAPACITY)
}

fn with_capacity(capacity: usize) -> (EventSender, EventReceiver) {
    let shared = Arc::new(Shared {
        inner: Mutex::new(Inner {
            waiting: Waiting::new(capacity),
            ended: false,
            left: false,
        }),
        arrived: Condvar::new(),
    });
    (EventSender(Arc::clone(&shared)), EventReceiver(shared))
}

impl EventSender {
    /// Adds an event, or counts it as lost. Never waits for the reader.
    pub fn send(&self, event: &Event) {
        self.send_with(event, None);
    }

    /// Adds an event with a text for its reader, or counts it as lost. Never waits for the reader.
    pub fn send_with(&self, event: &Event, text: Option<String>) {
        let mut inner = self.0.lock();
        if inner.left {
            return;
        }
        inner.waiting.push(event, text);
        drop(inner);
        self.0.arrived.notify_one();
    }
}

impl Drop for EventSender {
    fn drop(&mut self) {
        self.0.lock().ended = true;
        self.0.arrived.notify_one();
    }
}

impl EventReceiver {
    /// Returns the next event without waiting.
    ///
    /// # Errors
    /// When no event waits: whether one may still come.
    #[cfg(test)]
    fn poll(&self) -> Result<Event, Nothing> {
        self.0.lock().poll().map(|entry| entry.event)
    }

    /// Whether the queue is empty at present.
    pub fn is_empty(&self) -> bool {
        self.0.lock().waiting.events.is_empty()
    }

    /// Waits on this thread for the next event; `None` at the end.
    pub fn recv(&self) -> Option<Event> {
        self.recv_with().map(|(event, _)| event)
    }

    /// Waits on this thread for the next event and the text that was sent with it; `None` at the end.
    pub fn recv_with(&self) -> Option<(Event, Option<String>)> {
        let mut inner = self.0.lock();
        loop {
            match inner.poll() {
                Ok(entry) => return Some((entry.event, entry.text)),
                Err(Nothing::Ended) => return None,
                Err(Nothing::Empty) => {
                    let woken = self.0.arrived.wait(inner);
                    inner = woken.unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }
}

impl Drop for EventReceiver {
    fn drop(&mut self) {
        let mut inner = self.0.lock();
        inner.left = true;
        inner.waiting = Waiting::new(0);
    }
}

impl Inner {
    fn poll(&mut self) -> Result<Entry, Nothing> {
        let nothing = match self.ended {
            true => Nothing::Ended,
            false => Nothing::Empty,
        };
        self.waiting.pop().ok_or(nothing)
    }
}

#[cfg(test)]
mod tests;
