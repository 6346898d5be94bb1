//! The thread that brings checkpoints to disk, one at a time.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};

use super::{CheckpointError, Checkpoints, Copied};
use crate::threads;

/// Writes checkpoints while training goes on.
pub struct Writer {
    jobs: Sender<Copied>,
    done: Receiver<Result<u64, CheckpointError>>,
    busy: bool,
}

impl Writer {
    /// A writer for one run's checkpoints.
    ///
    /// # Errors
    /// When no thread can be had.
    pub fn start(to: Checkpoints) -> std::io::Result<Self> {
        let (jobs, waiting) = channel::<Copied>();
        let (tell, done) = channel();
        threads::spawn("checkpoints", move || {
            for job in waiting {
                let saved = catch_unwind(AssertUnwindSafe(|| job.save(&to)));
                let saved = saved.unwrap_or(Err(CheckpointError::WriterDied));
                // Its memory is free before anybody hears that it is written.
                drop(job);
                if tell.send(saved).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self {
            jobs,
            done,
            busy: false,
        })
    }

    /// Whether one is being written.
    pub fn is_busy(&self) -> bool {
        self.busy
    }

    /// Begins to write one. The writer must not be busy.
    pub fn begin(&mut self, checkpoint: Copied) {
        debug_assert!(!self.busy, "one at a time");
        // A thread that has died shows when its result is asked for.
        let _ = self.jobs.send(checkpoint);
        self.busy = true;
    }

    /// The size in bytes of the one that was begun, or why it was not written; `None` while it is being written, and
    /// when none was begun.
    pub fn poll(&mut self) -> Option<Result<u64, CheckpointError>> {
        if !self.busy {
            return None;
        }
        let result = match self.done.try_recv() {
            Err(TryRecvError::Empty) => return None,
            Ok(result) => result,
            Err(TryRecvError::Disconnected) => Err(CheckpointError::WriterDied),
        };
        self.busy = false;
        Some(result)
    }

    /// The same, waiting for the end.
    pub fn wait(&mut self) -> Option<Result<u64, CheckpointError>> {
        if !self.busy {
            return None;
        }
        self.busy = false;
        Some(self.done.recv().unwrap_or(Err(CheckpointError::WriterDied)))
    }
}
