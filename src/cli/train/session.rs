//! Runs the trainer on a thread of its own, in a compute pool of lower priority than the dashboard.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Result;

use crate::cli::exit;
use crate::dist::DistError;
use crate::failure::panic_words;
use crate::threads;
use crate::train::{Ended, Setup, Trainer, memory};

/// Added to the niceness of compute threads, so that keys and drawing stay quick on a busy machine.
const NICE: i32 = 5;

/// Longest time from the end of a preempted training to the end of its process: a batch system waits about half a
/// minute from its signal before it kills.
const FAREWELL: Duration = Duration::from_secs(10);

/// A started trainer.
pub struct Session {
    thread: JoinHandle<Ended>,
}

impl Session {
    /// Builds the trainer and starts it.
    ///
    /// # Errors
    /// When the trainer cannot be built (nothing has been trained then) or a thread cannot be started.
    pub fn start(setup: Setup) -> Result<Self> {
        let pool = pool(setup.threads)?;
        let mut trainer = Trainer::new(setup).map_err(exit::input)?;
        let thread = std::thread::Builder::new()
            .name("trainer".into())
            .spawn(move || {
                let work = AssertUnwindSafe(|| pool.install(|| trainer.run()));
                let ended = match catch_unwind(work) {
                    Ok(Ok(ended)) => {
                        if matches!(ended, Ended::Preempted | Ended::Lost(_)) {
                            end_soon();
                        }
                        return ended;
                    }
                    Ok(Err(error)) => {
                        // A launcher that has lost a rank kills this one soon, so the failure is written into the journal first.
                        let lost = error.downcast_ref().map(DistError::again);
                        if let Some(lost) = lost.or_else(|| trainer.lost()) {
                            trainer.note(&lost.to_string());
                        }
                        in_words(&error)
                    }
                    Err(panic) => format!("the trainer panicked: {}", panic_words(&*panic)),
                };
                // After a panic in a step, the journal can still be written.
                let told = AssertUnwindSafe(|| {
                    let ended = format!("{ended}; {}", trainer.way_back());
                    trainer.fail(&ended);
                    ended
                });
                Ended::Failed(catch_unwind(told).unwrap_or(ended))
            })
            .map_err(|why| threads::refused("the trainer's thread", &why))?;
        Ok(Self { thread })
    }

    /// Waits for the trainer's end.
    pub fn join(self) -> Ended {
        let lost = || Ended::Failed("the trainer's thread died".into());
        self.thread.join().unwrap_or_else(|_| lost())
    }
}

/// Starts the threads that compute.
///
/// # Errors
/// When the system refuses them.
pub fn pool(threads: usize) -> Result<rayon::ThreadPool> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(|i| format!("compute-{i}"))
        .start_handler(|_| be_nice())
        .build()
        .map_err(|why| threads::refused(&format!("{threads} compute threads"), &why).into())
}

/// Ends the process after [`FAREWELL`] if it still runs: a pipe that is not read, or a terminal that takes no frames, must not
/// keep the device in use. The checkpoint is on disk by now.
fn end_soon() {
    let wait = || {
        std::thread::sleep(FAREWELL);
        std::process::exit(exit::PREEMPTED);
    };
    // If this thread cannot be started, the process ends when its output has been read.
    let _ = std::thread::Builder::new()
        .name("farewell".into())
        .spawn(wait);
}

/// Lowers the calling thread's priority. (On Linux niceness belongs to threads.)
fn be_nice() {
    // SAFETY: `setpriority` takes plain numbers; 0 means the calling thread. A refusal changes nothing.
    unsafe {
        libc::setpriority(libc::PRIO_PROCESS, 0, NICE);
    }
}

/// Formats an error, with advice if memory is used up.
fn in_words(error: &anyhow::Error) -> String {
    match memory::out_of_memory(error) {
        Some(full) => format!(
            "{full}: a smaller train.micro_batch needs less, and so does train.recompute = true"
        ),
        None => format!("{error:#}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_helps_against_full_memory_is_said() {
        let error = anyhow::Error::from(candle_core::Error::from(crate::ops::OutOfMemory::Gpu));
        assert!(in_words(&error).contains("train.micro_batch"));
        assert_eq!(in_words(&anyhow::anyhow!("no such file")), "no such file");
    }
}
