//! The state of the run that this process trains: folded once, read by all.
//!
//! The trainer puts its events into one bounded [queue]. A thread takes them out, folds each into the one [`RunState`] of
//! the process and shows state and event to the [sinks](Sink): the control socket's [hub](super::control::hub) and the
//! printer. The dashboard copies the state when it has changed, `status` on the socket reads it, and the keeper of
//! `series.bin` takes a [`Snapshot`].
//!
//! Nothing here holds up the trainer: it takes the lock of the queue, which is held for moments, and never that of the
//! state.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::event::{Body, Event};
use super::journal::Observer;
use super::queue;
use super::state::RunState;
use crate::threads;

/// Interval between two checks of the queue, in which events gather. Otherwise each event would wake the folding
/// thread, and on a machine whose cores are all busy that thread may take the processor from the trainer in the middle
/// of its `emit`.
const REST: Duration = Duration::from_millis(2);

/// Called with each event and the state after it, on the thread that folds. Must not wait, since the state is locked
/// during the call. Dropped after the last event.
pub type Sink = Box<dyn FnMut(&RunState, &Event) + Send>;

/// A state that one thread folds and others read.
pub struct SharedRun {
    fold: Mutex<Fold>,
    /// Wakes the threads that wait for the end.
    over: Condvar,
    /// Number of the last event before the first one folded here.
    past_seq: u64,
}

struct Fold {
    state: RunState,
    sinks: Vec<Sink>,
    /// Events folded here.
    folded: u64,
    digest: Digest,
    /// Whether the events have ended.
    ended: bool,
}

/// Identifies a sequence of events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Digest(u64);

impl Digest {
    /// Adds the next event.
    pub fn add(&mut self, event: &Event) {
        let mut hasher = DefaultHasher::new();
        (self.0, event.to_line()).hash(&mut hasher);
        self.0 = hasher.finish();
    }
}

/// The state after an event, and the digest of the events folded here up to it.
#[derive(Debug)]
pub struct Snapshot {
    pub state: RunState,
    pub digest: Digest,
}

impl SharedRun {
    /// Folds events on a separate thread from now on; `past` is the run as its journal describes it so far. Returns the
    /// run and the observer that feeds it. The events end when the observer is dropped.
    ///
    /// # Errors
    /// When the system refuses the thread.
    pub fn begin(past: RunState) -> io::Result<(Arc<Self>, Observer)> {
        let shared = Arc::new(Self {
            past_seq: past.seq,
            over: Condvar::new(),
            fold: Mutex::new(Fold {
                state: past,
                sinks: Vec::new(),
                folded: 0,
                digest: Digest::default(),
                ended: false,
            }),
        });
        let (sender, events) = queue::bounded();
        let ending = Ending(Arc::clone(&shared));
        threads::spawn("fold", move || {
            let Ending(shared) = &ending;
            while let Some(event) = events.recv() {
                shared.fold(&event);
                if events.is_empty() {
                    std::thread::sleep(REST);
                }
            }
        })?;
        Ok((shared, Box::new(move |event: &Event| sender.send(event))))
    }

    /// Shows `sink` every event from now on. After the last event, drops it at once.
    pub fn add_sink(&self, sink: Sink) {
        let mut fold = self.lock();
        if !fold.ended {
            fold.sinks.push(sink);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Fold> {
        self.fold.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fold(&self, event: &Event) {
        let mut fold = self.lock();
        let fold = &mut *fold;
        fold.state.apply(event);
        fold.digest.add(event);
        // A gap stands for events that the queue dropped.
        fold.folded += u64::from(!matches!(event.body, Body::Gap(_)));
        for sink in &mut fold.sinks {
            sink(&fold.state, event);
        }
    }

    /// Calls `look` with the state, which does not change during the call.
    pub fn with<T>(&self, look: impl FnOnce(&RunState) -> T) -> T {
        look(&self.lock().state)
    }

    /// Copies the present state into `state`, unless that has its version already. Returns false when no event will come
    /// any more, so that `state` is the last one.
    pub fn copy_to(&self, state: &mut RunState) -> bool {
        let fold = self.lock();
        let running = !fold.ended;
        let copy = (fold.state.version != state.version).then(|| fold.state.clone());
        drop(fold);
        // The old state is freed without the lock.
        if let Some(copy) = copy {
            *state = copy;
        }
        running
    }

    /// Copies the state with the digest of its events.
    pub fn snapshot(&self) -> Snapshot {
        let fold = self.lock();
        Snapshot {
            state: fold.state.clone(),
            digest: fold.digest,
        }
    }

    /// Waits until every event has been folded, at most for `patience`. Returns whether all have been.
    pub fn wait_for_end(&self, patience: Duration) -> bool {
        let waited = self
            .over
            .wait_timeout_while(self.lock(), patience, |fold| !fold.ended);
        let (fold, _) = waited.unwrap_or_else(PoisonError::into_inner);
        fold.ended
    }

    /// Returns how many events have been folded here.
    pub fn folded(&self) -> u64 {
        self.lock().folded
    }

    /// Returns the number of the last event before the first one folded here.
    pub fn past_seq(&self) -> u64 {
        self.past_seq
    }
}

/// Ends a run's events when dropped, even by a panic of the folding thread: readers must not wait for further events.
struct Ending(Arc<SharedRun>);

impl Drop for Ending {
    fn drop(&mut self) {
        let mut fold = self.0.lock();
        fold.ended = true;
        let sinks = std::mem::take(&mut fold.sinks);
        drop(fold);
        // A sink may take its own locks when it is dropped.
        drop(sinks);
        self.0.over.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::event::{Log, Warning};
    use std::sync::mpsc::channel;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn log(seq: u64) -> Event {
        let message = format!("{seq}");
        Event::numbered(seq, Body::Log(Log { message }))
    }

    #[test]
    fn each_event_is_folded_once_and_shown_with_the_state_after_it() {
        let (shared, mut observer) = SharedRun::begin(RunState::default()).unwrap();
        let (show, shown) = channel();
        shared.add_sink(Box::new(move |state, event| {
            show.send((state.seq, state.version, event.seq)).unwrap();
        }));
        (1..=100).for_each(|seq| observer(&log(seq)));
        drop(observer);
        // Ends when the sink is dropped.
        let seen: Vec<_> = shown.iter().collect();
        let wanted: Vec<_> = (1..=100).map(|i| (i, i, i)).collect();
        assert_eq!(seen, wanted);
        assert_eq!(shared.folded(), 100);
    }

    #[test]
    fn a_locked_state_does_not_hold_up_the_trainer() {
        let (shared, mut observer) = SharedRun::begin(RunState::default()).unwrap();
        let (done, emitted) = channel();
        let message = "kept".to_string();
        let last = 2 * queue::CAPACITY as u64;
        let warning = Event::numbered(last, Body::Warning(Warning { message }));
        shared.with(|_| {
            let emitting = std::thread::spawn(move || {
                (1..last).for_each(|seq| observer(&log(seq)));
                observer(&warning);
                done.send(()).unwrap();
            });
            emitted
                .recv_timeout(PATIENCE)
                .expect("emitted while the state is locked");
            emitting.join().unwrap();
        });
        assert!(shared.wait_for_end(PATIENCE));
        let mut state = RunState::default();
        assert!(!shared.copy_to(&mut state));
        // Only metrics were dropped by the queue, and they are counted.
        assert_eq!(shared.folded() + state.dropped, last);
        assert!(state.dropped > 0);
        assert_eq!(state.notes.back().unwrap().text, "kept");
    }

    #[test]
    fn a_sink_that_panics_ends_the_events_for_every_reader() {
        let (shared, mut observer) = SharedRun::begin(RunState::default()).unwrap();
        shared.add_sink(Box::new(|_, event| assert!(event.seq < 2, "as asked")));
        (1..=3).for_each(|seq| observer(&log(seq)));
        assert!(shared.wait_for_end(PATIENCE));
        assert!(!shared.copy_to(&mut RunState::default()));
        // A sink that is added after the end is dropped at once.
        let (held, end) = channel::<()>();
        shared.add_sink(Box::new(move |_, _| drop(held.clone())));
        assert!(end.recv_timeout(PATIENCE).is_err());
    }
}
