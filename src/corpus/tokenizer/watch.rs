//! Watches work of the `tokenizers` crate, which may never end: an expression of an untrusted `tokenizer.json` can take
//! time that grows with the square of a text's length, inside a call that cannot be interrupted. After a time in
//! proportion to the text, the process ends with a message and exit code 2: a thread cannot be stopped otherwise, and
//! at this point there is nothing to save.

use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use super::bounded::Stage;

/// Interval between checks. Checks are counted instead of time, so that a suspended process (Ctrl-Z, a laptop's lid) does
/// not count as a slow one.
const LOOK: Duration = Duration::from_millis(100);
const LOOKS_A_SECOND: u64 = 10;
/// Exit code for wrong input.
const INPUT: i32 = 2;

/// Number of checks that work on `bytes` of text may take: `seconds`, and 20 µs for each byte. The slowest tokenizers
/// in use take about 1 µs a byte.
fn most_looks(seconds: u64, bytes: usize) -> u64 {
    seconds * LOOKS_A_SECOND + bytes as u64 / 50_000 * LOOKS_A_SECOND
}

/// One part of the work.
#[derive(Debug)]
pub struct Part {
    bytes: usize,
    /// Describes the work.
    pub stage: Stage,
    /// The check at which it was begun, from 1 on; 0 before, [`DONE`] after.
    begun: AtomicU64,
}

const DONE: u64 = u64::MAX;

/// Work that is watched until this is dropped.
#[derive(Debug)]
pub struct Watch {
    parts: Arc<Vec<Part>>,
    looks: Arc<AtomicU64>,
    /// Closed when the work is done.
    _done: Sender<()>,
}

impl Watch {
    /// Watches work in parts of these lengths in bytes. When one of them takes more than `seconds` and 20 µs for each
    /// byte, the process prints the message of `describe` and ends.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn start(
        lengths: impl IntoIterator<Item = usize>,
        seconds: u64,
        describe: impl Fn(&Part) -> String + Send + 'static,
    ) -> io::Result<Self> {
        Self::start_with(lengths, seconds, move |part| end(&describe(part)))
    }

    fn start_with(
        lengths: impl IntoIterator<Item = usize>,
        seconds: u64,
        mut give_up: impl FnMut(&Part) + Send + 'static,
    ) -> io::Result<Self> {
        let part = |bytes| Part {
            bytes,
            stage: Stage::default(),
            begun: AtomicU64::new(0),
        };
        let parts: Arc<Vec<Part>> = Arc::new(lengths.into_iter().map(part).collect());
        let looks = Arc::new(AtomicU64::new(1));
        let (sender, done) = channel::<()>();
        let watched = (Arc::clone(&parts), Arc::clone(&looks));
        let look = move || {
            let (parts, looks) = watched;
            while let Err(RecvTimeoutError::Timeout) = done.recv_timeout(LOOK) {
                let now = looks.fetch_add(1, Ordering::Relaxed) + 1;
                if let Some(slow) = parts.iter().find(|part| part.is_slow(now, seconds)) {
                    give_up(slow);
                }
            }
        };
        thread::Builder::new().name("watch".into()).spawn(look)?;
        Ok(Self {
            parts,
            looks,
            _done: sender,
        })
    }

    /// Does part `i` of the work.
    ///
    /// # Errors
    /// Those of `work`, and a message in place of a panic.
    pub fn run<T>(
        &self,
        i: usize,
        work: impl FnOnce(&Stage) -> Result<T, String>,
    ) -> Result<T, String> {
        let part = &self.parts[i];
        part.begun
            .store(self.looks.load(Ordering::Relaxed), Ordering::Relaxed);
        let done = catch_unwind(AssertUnwindSafe(|| work(&part.stage)));
        part.begun.store(DONE, Ordering::Relaxed);
        done.unwrap_or_else(|_| Err("the tokenizers library fails with it".into()))
    }
}

impl Part {
    fn is_slow(&self, now: u64, seconds: u64) -> bool {
        let begun = self.begun.load(Ordering::Relaxed);
        let is_on = begun > 0 && begun < DONE;
        is_on && now.saturating_sub(begun) > most_looks(seconds, self.bytes)
    }

    /// Length of its text.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

fn end(message: &str) {
    // The reader may have exited.
    let _ = writeln!(io::stderr(), "heirloom: {message}");
    std::process::exit(INPUT);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_work_is_found() {
        let (sender, slow) = channel();
        let watch = Watch::start_with([5, 70], 0, move |part| {
            let _ = sender.send(part.bytes());
        });
        let watch = watch.unwrap();
        assert_eq!(watch.run(0, |_| Ok(5)), Ok(5));
        let found = watch.run(1, |_| slow.recv().map_err(|e| e.to_string()));
        assert_eq!(found, Ok(70));
        let quiet = watch.run(0, |_| -> Result<(), String> {
            std::panic::resume_unwind(Box::new("of the test"))
        });
        assert_eq!(quiet, Err("the tokenizers library fails with it".into()));
        assert_eq!(most_looks(10, 0), 100);
        assert_eq!(most_looks(10, 1_000_000), 300);
        let part = |begun| Part {
            bytes: 50_000,
            stage: Stage::default(),
            begun: AtomicU64::new(begun),
        };
        assert!(part(1).is_slow(22, 1) && !part(1).is_slow(21, 1));
        assert!(!part(0).is_slow(1000, 1) && !part(DONE).is_slow(1000, 1));
    }
}
