//! The thread that brings checkpoints to disk, one at a time.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::time::{Duration, Instant};

use super::fetch::{Fetch, Piece, Serve};
use super::{CheckpointError, Checkpoints, Copied};
use crate::threads;

/// Interval between two checks for lost ranks while the trainer waits for a checkpoint.
const GLANCE: Duration = Duration::from_millis(200);

/// Time that the checkpoint under way may still take after a rank is lost: the run's processes must end soon.
const GRACE: Duration = Duration::from_secs(5);

/// Writes checkpoints while training continues.
pub struct Writer {
    jobs: Sender<Copied>,
    words: Receiver<Word>,
    busy: bool,
    /// The time at which a wait first found that a rank is lost.
    lost: Option<Instant>,
}

/// A message from the thread.
enum Word {
    /// The thread needs moments that other ranks hold.
    Wants(Piece),
    /// A checkpoint has been written, or has failed.
    Done(Result<u64, CheckpointError>),
}

impl Writer {
    /// Starts a writer for one run's checkpoints.
    ///
    /// # Errors
    /// When the system refuses the thread.
    pub fn start(to: Checkpoints) -> std::io::Result<Self> {
        let (jobs, waiting) = channel::<Copied>();
        let (tell, words) = channel();
        threads::spawn("checkpoints", move || {
            for job in waiting {
                let ask = |piece| tell.send(Word::Wants(piece)).is_ok();
                let fetch = Fetch::by(&ask);
                let saved = catch_unwind(AssertUnwindSafe(|| job.save(&to, &fetch)));
                let saved = saved.unwrap_or(Err(CheckpointError::WriterDied));
                // The copy's memory is freed before the result is sent.
                drop(job);
                if tell.send(Word::Done(saved)).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self {
            jobs,
            words,
            busy: false,
            lost: None,
        })
    }

    /// Whether one is being written.
    pub fn is_busy(&self) -> bool {
        self.busy
    }

    /// Begins to write one. The writer must not be busy.
    pub fn begin(&mut self, checkpoint: Copied) {
        debug_assert!(!self.busy, "one at a time");
        // If the thread has died, that shows when its result is asked for.
        let _ = self.jobs.send(checkpoint);
        self.busy = true;
    }

    /// Returns the size in bytes of the checkpoint that was begun, or why it was not written; `None` while it is being written, and when
    /// none was begun. `serve` gets the moments that other ranks hold.
    pub fn poll(&mut self, serve: &mut Serve<'_>) -> Option<Result<u64, CheckpointError>> {
        while self.busy {
            match self.words.try_recv() {
                Err(TryRecvError::Empty) => return None,
                Ok(Word::Wants(piece)) => piece.answer(serve),
                Ok(Word::Done(result)) => return Some(self.end(result)),
                Err(TryRecvError::Disconnected) => {
                    return Some(self.end(Err(CheckpointError::WriterDied)));
                }
            }
        }
        None
    }

    /// As [`Self::poll`], but waits for the end. Returns `None` also if the wait is given up, [`GRACE`] after a rank is lost.
    pub fn wait(
        &mut self,
        serve: &mut Serve<'_>,
        is_lost: &dyn Fn() -> bool,
    ) -> Option<Result<u64, CheckpointError>> {
        while self.busy {
            match self.words.recv_timeout(GLANCE) {
                Ok(Word::Wants(piece)) => piece.answer(serve),
                Ok(Word::Done(result)) => return Some(self.end(result)),
                Err(RecvTimeoutError::Disconnected) => {
                    return Some(self.end(Err(CheckpointError::WriterDied)));
                }
                Err(RecvTimeoutError::Timeout) if is_lost() => {
                    let since = self.lost.get_or_insert_with(Instant::now);
                    if since.elapsed() >= GRACE {
                        return None;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
        None
    }

    fn end(&mut self, result: Result<u64, CheckpointError>) -> Result<u64, CheckpointError> {
        self.busy = false;
        result
    }
}
