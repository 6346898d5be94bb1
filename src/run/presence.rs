//! Whether an operator is there to answer a question, and the lines to journal about dashboards that come and go.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::event::{Body, Log, Warning};

/// The way in which a dashboard left while training continues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leave {
    Detached,
    HungUp,
    Failed,
    /// The dashboard was suspended by the shell, which may continue it.
    Suspended,
    /// A plain terminal's process is in the background; the shell may bring it back.
    Behind,
    /// The operator has ended the input of commands at a plain terminal.
    InputEnded,
}

impl Leave {
    fn words(self) -> &'static str {
        match self {
            Self::Detached => "the operator has detached",
            Self::HungUp => "the terminal is gone",
            Self::Failed => "the dashboard has failed",
            Self::Suspended => "the dashboard is suspended",
            Self::Behind => "no commands are read from the terminal in the background",
            Self::InputEnded => "no more commands are read from the terminal",
        }
    }
}

/// Ends the line about a client with control that has left.
const LEFT: &str = " has left; control is free";

/// Returns the line about a client with control that has left.
pub fn departure(name: &str) -> String {
    format!("{name}{LEFT}")
}

/// Whether a line of the journal reports that an operator has left.
pub fn is_departure(line: &str) -> bool {
    let all = [
        Leave::Detached,
        Leave::HungUp,
        Leave::Failed,
        Leave::Suspended,
        Leave::Behind,
        Leave::InputEnded,
    ];
    all.iter().any(|l| l.words() == line) || line.ends_with(LEFT)
}

/// Most lines that wait for the journal; further ones are dropped.
const NEWS_WAITING: usize = 64;

/// Shared by the trainer and by everything that shows or controls its run.
#[derive(Debug, Default)]
pub struct Presence {
    /// Whether this process has a dashboard, or a plain terminal whose commands are read.
    dashboard: AtomicBool,
    /// Dashboards attached over the control socket.
    attached: AtomicUsize,
    /// When the last operator left, or when the process started.
    since: Mutex<Option<Instant>>,
    /// Events for the journal.
    news: Mutex<VecDeque<Body>>,
}

impl Presence {
    /// Starts with a dashboard or a plain terminal that is read, or without either.
    pub fn new(dashboard: bool) -> Arc<Self> {
        let new = Self::default();
        new.dashboard.store(dashboard, Ordering::SeqCst);
        new.somebody_left();
        Arc::new(new)
    }

    /// Whether an operator can answer.
    pub fn is_present(&self) -> bool {
        self.dashboard.load(Ordering::SeqCst) || self.attached.load(Ordering::SeqCst) > 0
    }

    fn somebody_left(&self) {
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        *since = Some(Instant::now());
    }

    /// Returns for how long no operator has been there.
    pub fn alone_for(&self) -> Duration {
        let since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        match *since {
            Some(since) if !self.is_present() => since.elapsed(),
            _ => Duration::ZERO,
        }
    }

    /// The dashboard of this process has closed, or commands are not read from its terminal any more.
    pub fn leave(&self, how: Leave) {
        self.somebody_left();
        self.dashboard.store(false, Ordering::SeqCst);
        self.print(how.words().into());
    }

    /// The dashboard of this process is up again after it was suspended, or commands are read again after `how`.
    pub fn come_back(&self, how: Leave) {
        self.dashboard.store(true, Ordering::SeqCst);
        let back = match how {
            Leave::Behind => "commands are read from the terminal again",
            _ => "the dashboard is back",
        };
        self.print(back.into());
    }

    /// Registers a dashboard as attached until the guard is dropped.
    pub fn attach(self: &Arc<Self>) -> Attached {
        self.attached.fetch_add(1, Ordering::SeqCst);
        Attached(Arc::clone(self))
    }

    /// Queues a line for the journal.
    pub fn print(&self, message: String) {
        self.leave_news(Body::Log(Log { message }));
    }

    /// Queues a warning for the journal.
    pub fn warn(&self, message: String) {
        self.leave_news(Body::Warning(Warning { message }));
    }

    fn leave_news(&self, body: Body) {
        let mut news = self.news.lock().unwrap_or_else(PoisonError::into_inner);
        if news.len() < NEWS_WAITING {
            news.push_back(body);
        }
    }

    /// Returns the next event for the journal, which only the trainer writes.
    pub fn news(&self) -> Option<Body> {
        let mut news = self.news.lock().unwrap_or_else(PoisonError::into_inner);
        news.pop_front()
    }
}

/// An attached dashboard's presence.
#[derive(Debug)]
pub struct Attached(Arc<Presence>);

impl Drop for Attached {
    fn drop(&mut self) {
        self.0.somebody_left();
        self.0.attached.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_left_can_answer_and_partings_are_told_once() {
        let attendance = Presence::new(true);
        let guard = attendance.attach();
        attendance.leave(Leave::HungUp);
        assert!(attendance.is_present(), "one is attached");
        assert_eq!(attendance.alone_for(), Duration::ZERO);
        drop(guard);
        assert!(!attendance.is_present());
        let message = "the terminal is gone".into();
        assert_eq!(attendance.news(), Some(Body::Log(Log { message })));
        assert_eq!(attendance.news(), None);
    }

    #[test]
    fn a_suspended_dashboard_cannot_answer_until_it_is_back() {
        let attendance = Presence::new(true);
        attendance.leave(Leave::Suspended);
        assert!(!attendance.is_present());
        attendance.come_back(Leave::Suspended);
        assert!(attendance.is_present());
        let news: Vec<Body> = std::iter::from_fn(|| attendance.news()).collect();
        let log = |message: &str| {
            Body::Log(Log {
                message: message.into(),
            })
        };
        let wanted = ["the dashboard is suspended", "the dashboard is back"].map(log);
        assert_eq!(news, wanted);
    }

    #[test]
    fn a_flood_of_news_is_cut() {
        let attendance = Presence::new(false);
        (0..1000).for_each(|i| attendance.print(i.to_string()));
        assert_eq!(
            std::iter::from_fn(|| attendance.news()).count(),
            NEWS_WAITING
        );
    }
}
