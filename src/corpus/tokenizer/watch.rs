//! Work of a foreign tokenizer that may never end: it runs on a thread of its own and is given up after a time in
//! proportion to the text. The thread cannot be stopped; it ends with the process, which such an error ends.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

/// How often the clock is looked at. Looks are counted and not time, so that a process that is suspended (Ctrl-Z, a
/// laptop's lid) is not taken for a slow one.
const LOOK: Duration = Duration::from_millis(100);
const LOOKS_A_SECOND: u64 = 10;

/// Why there is no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GivenUp {
    TooSlow,
    Panicked,
    /// The system has no thread for it.
    NoThread,
}

impl GivenUp {
    /// What to say of a tokenizer's work on `what`.
    pub fn describe(self, what: &str) -> String {
        match self {
            Self::TooSlow => format!("{what} takes too long: it was given up"),
            Self::Panicked => format!("{what} fails in the tokenizers library"),
            Self::NoThread => format!("{what} needs a thread, and the system has none to give"),
        }
    }
}

/// Looks that work on `bytes` of text may take: `seconds`, and 20 µs for each byte. The slowest tokenizers in use take
/// about 1 µs a byte.
pub fn looks(seconds: u64, bytes: usize) -> u64 {
    seconds * LOOKS_A_SECOND + bytes as u64 / 50_000 * LOOKS_A_SECOND
}

/// Runs `work` on a thread and calls `look` ten times a second until it is done; an error of `look` gives the work up.
pub fn run<T: Send + 'static, E: From<GivenUp>>(
    start: impl FnOnce(Box<dyn FnOnce() + Send>) -> bool,
    work: impl FnOnce() -> T + Send + 'static,
    mut look: impl FnMut() -> Result<(), E>,
) -> Result<T, E> {
    let (sender, result) = channel();
    let work = move || {
        // The receiver is gone when the work was given up.
        let _ = sender.send(catch_unwind(AssertUnwindSafe(work)));
    };
    if !start(Box::new(work)) {
        return Err(GivenUp::NoThread.into());
    }
    loop {
        match result.recv_timeout(LOOK) {
            Ok(Ok(done)) => return Ok(done),
            Ok(Err(_)) | Err(RecvTimeoutError::Disconnected) => {
                return Err(GivenUp::Panicked.into());
            }
            Err(RecvTimeoutError::Timeout) => look()?,
        }
    }
}

/// Runs `work` on a thread of its own for at most `most` looks.
pub fn run_for<T: Send + 'static>(
    most: u64,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, GivenUp> {
    let start = |work: Box<dyn FnOnce() + Send>| {
        let thread = thread::Builder::new().name("tokenizer".into());
        thread.spawn(work).is_ok()
    };
    let mut looks = 0;
    run(start, work, || {
        looks += 1;
        match looks > most {
            true => Err(GivenUp::TooSlow),
            false => Ok(()),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_given_up_after_its_time() {
        assert_eq!(run_for(1, || 5), Ok(5));
        let endless = || loop {
            thread::sleep(Duration::from_secs(1));
        };
        assert_eq!(run_for::<()>(2, endless), Err(GivenUp::TooSlow));
        let quiet = || std::panic::resume_unwind(Box::new("of the test"));
        assert_eq!(run_for::<()>(50, quiet), Err(GivenUp::Panicked));
        assert_eq!(looks(10, 0), 100);
        assert_eq!(looks(10, 1_000_000), 300);
    }
}
