//! State that the library's thread and its callers share.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::dist::{DistError, Waited};

/// Shared by a rank's threads.
#[derive(Debug)]
pub struct Board {
    state: Mutex<State>,
    changed: Condvar,
    /// Whether a caller does nothing but wait.
    waiting: AtomicBool,
    failed: AtomicBool,
    timeout: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    /// Sums that were started and are not done.
    sums: usize,
    /// The start of the first sum since the last wait, and the end of the last one.
    began: Option<Instant>,
    ended: Option<Instant>,
    failure: Option<DistError>,
}

impl Board {
    /// Makes a board on which nothing has happened yet.
    pub fn new(timeout: Duration) -> Self {
        Self {
            state: Mutex::default(),
            changed: Condvar::new(),
            waiting: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            timeout: AtomicU64::new(timeout.as_secs()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Time that ranks wait for one that does not come.
    pub fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout.load(Ordering::Relaxed))
    }

    /// Sets [`Self::timeout`].
    pub fn set_timeout(&self, timeout: Duration) {
        self.timeout.store(timeout.as_secs(), Ordering::Relaxed);
    }

    /// Whether a caller waits.
    pub fn is_waited_for(&self) -> bool {
        self.waiting.load(Ordering::Acquire)
    }

    /// Runs `wait`, and marks the caller as waiting meanwhile.
    pub fn waiting<T>(&self, wait: impl FnOnce() -> T) -> T {
        self.waiting.store(true, Ordering::Release);
        let done = wait();
        self.waiting.store(false, Ordering::Release);
        done
    }

    /// Notes a sum that is about to be started.
    pub fn begin_sum(&self) {
        let mut state = self.lock();
        state.sums += 1;
        state.began.get_or_insert_with(Instant::now);
    }

    /// Notes a sum that is done.
    pub fn end_sum(&self) {
        let mut state = self.lock();
        state.sums -= 1;
        state.ended = Some(Instant::now());
        if state.sums == 0 {
            self.changed.notify_all();
        }
    }

    /// Waits until all sums are done.
    ///
    /// # Errors
    /// The failure that has come first.
    pub fn wait_for_sums(&self) -> Result<Waited, DistError> {
        let since = Instant::now();
        let mut state = self.lock();
        while state.sums > 0 && state.failure.is_none() {
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        if let Some(failure) = &state.failure {
            return Err(failure.again());
        }
        let (began, ended) = (state.began.take(), state.ended.take());
        let exchange = began
            .zip(ended)
            .map(|(began, ended)| ended.saturating_duration_since(began));
        Ok(Waited {
            wait: since.elapsed(),
            exchange: exchange.unwrap_or_default(),
        })
    }

    /// Notes why the ranks cannot be used any more; the first reason counts.
    pub fn fail(&self, failure: DistError) {
        let mut state = self.lock();
        state.failure.get_or_insert(failure);
        self.failed.store(true, Ordering::Release);
        self.changed.notify_all();
    }

    /// Whether the ranks can still be used.
    ///
    /// # Errors
    /// The failure that has come first.
    pub fn check(&self) -> Result<(), DistError> {
        if !self.failed.load(Ordering::Acquire) {
            return Ok(());
        }
        match &self.lock().failure {
            Some(failure) => Err(failure.again()),
            None => Ok(()),
        }
    }

    /// The failure that has come first, or that the library's thread has ended.
    pub fn failure(&self) -> DistError {
        let ended =
            || DistError::Library("the thread that exchanges with other ranks has ended".into());
        self.check().err().unwrap_or_else(ended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_waited_for_until_done_or_failed() {
        let board = Board::new(Duration::from_secs(5));
        assert_eq!(board.wait_for_sums().unwrap().exchange, Duration::ZERO);
        let both = std::thread::scope(|scope| {
            board.begin_sum();
            board.begin_sum();
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(30));
                board.end_sum();
                board.end_sum();
            });
            board.waiting(|| board.wait_for_sums()).unwrap()
        });
        assert!(both.wait >= Duration::from_millis(30), "{both:?}");
        assert!(both.exchange >= Duration::from_millis(30), "{both:?}");
        board.begin_sum();
        board.fail(DistError::Library("first".into()));
        board.fail(DistError::Library("second".into()));
        for error in [
            board.wait_for_sums().unwrap_err(),
            board.check().unwrap_err(),
        ] {
            assert_eq!(error.to_string(), "first");
        }
    }
}
