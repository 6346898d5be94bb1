//! Runs the operator's command for what happens in a run.
//!
//! Only the process that trains has a [`Notifier`]. Its thread runs one command at a time, each for 10 s at most;
//! notices that come meanwhile [wait](Waiting), the latest of each occasion. The trainer never waits for a command.
//!
//! The outcome of each command is written to `log.txt`, after the command's own output, and is passed to the trainer,
//! which journals it at its next step boundary. The journal ends with the run's end: the outcome of the command for
//! `done` is only in `log.txt`.

use std::io::Write;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::signal::SigSet;

use super::execute::{self, Outcome};
use super::recognise::Recogniser;
use super::{Notice, Occasion, Waiting, stall};
use crate::run::handle::{LOG, RunHandle};
use crate::run::presence::Presence;
use crate::run::shared::{SharedRun, Sink};
use crate::run::state::SILENT;
use crate::signals::Signalled;
use crate::threads;

/// The command, and the occasions that it runs for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// The program and its arguments; empty: no command is run.
    pub command: Vec<String>,
    pub on: Vec<Occasion>,
}

/// The run that a notifier works for.
pub struct Place {
    pub handle: Arc<RunHandle>,
    pub run: Arc<SharedRun>,
    pub attendance: Arc<Presence>,
    pub signalled: Arc<Signalled>,
}

#[derive(Debug, Clone, Copy)]
struct Times {
    /// Time limit of one command.
    command: Duration,
    /// Time limit after the trainer has ended, for all commands but the one for `done`.
    last: Duration,
    /// Interval between checks for a stall.
    look: Duration,
    /// Seconds without an event below which a run is not stalled.
    silent: f64,
}

const TIMES: Times = Times {
    command: Duration::from_secs(10),
    last: Duration::from_secs(5),
    look: Duration::from_secs(5),
    silent: SILENT,
};

/// Runs commands on its own thread, until it is finished or dropped.
pub struct Notifier {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Notifier {
    /// Runs the command for occasions in the run from now on. Returns `None` without a command or without occasions.
    ///
    /// # Errors
    /// When the system refuses the thread.
    pub fn start(order: Order, place: Place) -> std::io::Result<Option<Self>> {
        match order.command.is_empty() || order.on.is_empty() {
            true => Ok(None),
            false => Self::start_with(order, place, TIMES).map(Some),
        }
    }

    fn start_with(order: Order, place: Place, times: Times) -> std::io::Result<Self> {
        let shared = Arc::<Shared>::default();
        let on = order.on.clone();
        let run = Arc::clone(&place.run);
        let worker = Worker {
            shared: Arc::clone(&shared),
            order,
            place,
            times,
        };
        let thread = threads::spawn("notify", move || worker.work())?;
        let recogniser = run.with(Recogniser::new);
        run.add_sink(sink(&shared, recogniser, on));
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Ends the commands of a run whose trainer has ended. With `wait`, the command for the run's end gets its full
    /// time, and those that still wait before it a few seconds; a signal that asks for a stop ends the wait. Without
    /// `wait`, a running command is killed at once.
    pub fn finish(mut self, wait: bool) {
        self.end(wait);
    }

    fn end(&mut self, wait: bool) {
        {
            let mut inner = self.shared.lock();
            inner.finishing.get_or_insert_with(Instant::now);
            inner.quit |= !wait;
        }
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has already been printed.
            let _ = thread.join();
        }
    }
}

impl Drop for Notifier {
    fn drop(&mut self) {
        self.end(false);
    }
}

#[derive(Debug, Default)]
struct Shared {
    inner: Mutex<Inner>,
    /// Wakes the thread.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    waiting: Waiting,
    /// The time of the last event.
    last_event: Option<Instant>,
    /// Whether a stall has been noticed since then.
    stalled: bool,
    /// Whether the events have ended.
    ended: bool,
    /// The time at which the process began to wait for the last commands.
    finishing: Option<Instant>,
    /// Whether no further command is to be run.
    quit: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Recognises occasions in events, on the thread that folds the run.
fn sink(shared: &Arc<Shared>, mut recogniser: Recogniser, on: Vec<Occasion>) -> Sink {
    let feeding = Feeding(Arc::clone(shared));
    Box::new(move |run, event| {
        let Feeding(shared) = &feeding;
        let notice = recogniser.recognise(run, event);
        let notice = notice.filter(|notice| on.contains(&notice.occasion));
        let mut inner = shared.lock();
        (inner.last_event, inner.stalled) = (Some(Instant::now()), false);
        if let Some(notice) = notice {
            inner.waiting.push(notice);
            drop(inner);
            shared.changed.notify_all();
        }
    })
}

/// Marks the end of the events when the run drops its sink.
struct Feeding(Arc<Shared>);

impl Drop for Feeding {
    fn drop(&mut self) {
        self.0.lock().ended = true;
        self.0.changed.notify_all();
    }
}

struct Worker {
    shared: Arc<Shared>,
    order: Order,
    place: Place,
    times: Times,
}

impl Worker {
    fn work(self) {
        // A command inherits the mask of the thread that starts it.
        let _ = SigSet::empty().thread_set_mask();
        while let Some(notice) = self.next() {
            let outcome = self.run(&notice);
            self.report(&notice, &outcome);
        }
    }

    /// Waits for the next notice; `None` at the end.
    fn next(&self) -> Option<Notice> {
        let mut inner = self.shared.lock();
        loop {
            if inner.quit || self.is_interrupted(&inner) {
                return None;
            }
            if self.is_late(&inner) {
                inner.waiting.keep_only(Occasion::Done);
            }
            let next = inner.waiting.pop();
            if next.is_some() || inner.ended {
                return next;
            }
            let waited = self.shared.changed.wait_timeout(inner, self.times.look);
            let (woken, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            inner = woken;
            if timeout.timed_out() && self.order.on.contains(&Occasion::Stall) {
                inner = self.look_for_stall(inner);
            }
        }
    }

    /// Adds a notice when no event has come for unusually long; one per stall.
    fn look_for_stall<'a>(&'a self, inner: MutexGuard<'a, Inner>) -> MutexGuard<'a, Inner> {
        let Some(last) = inner.last_event.filter(|_| !inner.stalled) else {
            return inner;
        };
        // The sink takes this lock while the run is locked, so this thread must not hold it while it locks the run.
        drop(inner);
        let silence = last.elapsed().as_secs_f64();
        let notice = self.place.run.with(|run| {
            let is_stalled = run.is_quiet_for(silence, self.times.silent);
            is_stalled.then(|| stall::notice(run, silence))
        });
        let mut inner = self.shared.lock();
        if let Some(notice) = notice
            && inner.last_event == Some(last)
        {
            inner.stalled = true;
            inner.waiting.push(notice);
        }
        inner
    }

    fn run(&self, notice: &Notice) -> Outcome {
        let handle = &self.place.handle;
        let dir = handle.dir().path();
        let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.to_path_buf());
        let step = notice.step.to_string();
        let env = [
            ("HEIRLOOM_RUN", dir.as_os_str()),
            ("HEIRLOOM_EVENT", notice.occasion.name().as_ref()),
            ("HEIRLOOM_STEP", step.as_ref()),
            ("HEIRLOOM_TEXT", notice.text.as_ref()),
        ];
        // Without a log the command's output is lost; the notification matters more.
        let log = handle.root().open_to_append(LOG).ok();
        let must_stop = || {
            let inner = self.shared.lock();
            let is_last = notice.occasion == Occasion::Done;
            inner.quit || self.is_interrupted(&inner) || (!is_last && self.is_late(&inner))
        };
        execute::run(
            &self.order.command,
            &env,
            log,
            self.times.command,
            must_stop,
        )
    }

    /// Whether a signal asks for a stop while the process waits for the last commands.
    fn is_interrupted(&self, inner: &Inner) -> bool {
        inner.finishing.is_some() && self.place.signalled.stop()
    }

    /// Whether the time for what waited before the run's end is over.
    fn is_late(&self, inner: &Inner) -> bool {
        let since = inner.finishing;
        since.is_some_and(|since| since.elapsed() >= self.times.last)
    }

    fn report(&self, notice: &Notice, outcome: &Outcome) {
        let program = self.order.command.first().map_or("", String::as_str);
        let line = format!(
            "notify {}: {}",
            notice.occasion.name(),
            outcome.describe(program)
        );
        if let Ok(mut log) = self.place.handle.root().open_to_append(LOG) {
            // In one write, so that lines of other writers stay intact.
            let _ = log.write_all(format!("{line}\n").as_bytes());
        }
        match outcome.is_success() {
            true => self.place.attendance.print(line),
            false => self.place.attendance.warn(line),
        }
    }
}

#[cfg(test)]
mod tests;
