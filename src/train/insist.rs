//! Results that exist in memory only: the trainer pauses until the disk has them.
//!
//! A scheduled checkpoint that cannot be written is only a warning, since another one follows. At the end of a phase, the next model takes
//! the memory of the result, so the result must be on disk first. [`Trainer::insist`] retries automatically and on command, and gives
//! up only on command or when a process that was asked to stop must end.

use std::time::{Duration, Instant};

use super::control::{Retry, STOP_PATIENCE, Sender};
use super::outcome::{Ended, Insisted, Promise};
use super::trainer::Trainer;
use crate::run::command::{By, Command};
use crate::run::event::{Body, Log, RunStatus};
use crate::run::trouble::IN_MEMORY;

/// Seconds between attempts; the last number repeats.
const WAITS: [u64; 4] = [1, 2, 5, 10];

/// The event that ends the wait for the next attempt.
enum Next {
    /// The time is over, or a client asked for an attempt and is owed an answer.
    Try(Option<(Promise, Command)>),
    GiveUp(Promise),
    /// The process was asked to stop and has no time left.
    TooLate,
}

impl Trainer {
    /// Has a checkpoint written that must not be missing, and waits for it. `what` names the state that it holds.
    pub(super) fn insist_on_checkpoint(
        &mut self,
        what: &str,
        reason: &str,
        milestone: bool,
        verify: bool,
    ) -> Insisted<String> {
        self.insist(what, |trainer| {
            // Known before a copy is made.
            let space = trainer
                .keeper
                .checkpoints()
                .check_space(trainer.learner.shape());
            space.map_err(|error| error.to_string())?;
            trainer.keeping().checkpoint(reason, milestone, verify)
        })
    }

    /// Waits until the journal's lines are on disk.
    pub(super) fn insist_on_journal(&mut self) -> Insisted<()> {
        self.insist("the end of the journal", |trainer| {
            match trainer.journal.flush() {
                true => Ok(()),
                false => Err(trainer.journal.failure().unwrap_or_default().to_string()),
            }
        })
    }

    /// Repeats `attempt` until it succeeds. Meanwhile the run is paused and reports why; each attempt starts from scratch.
    fn insist<T>(
        &mut self,
        what: &str,
        mut attempt: impl FnMut(&mut Self) -> Result<T, String>,
    ) -> Insisted<T> {
        let mut error = match attempt(self) {
            Ok(done) => return Insisted::Done(done),
            Err(error) => error,
        };
        let began = Instant::now();
        let mut reported = String::new();
        let mut waits = WAITS.into_iter();
        self.keeper.set_insisting(true);
        let insisted = loop {
            if let Err(lost) = self.learner.peers().check() {
                self.warn(lost.to_string());
                break Insisted::End(Ended::Failed(lost.to_string()));
            }
            // Numbers in it change with every attempt.
            let news = without_digits(&error);
            if news != reported {
                self.report_run(RunStatus::Paused, None, Some(self.describe(what, &error)));
                reported = news;
            }
            let wait = waits.next().unwrap_or(WAITS[WAITS.len() - 1]);
            let asked = match self.wait_for_attempt(Duration::from_secs(wait), what) {
                Next::Try(asked) => asked,
                Next::GiveUp(promise) => {
                    let lost = format!("given up, and lost: {what}; {}", self.way_back());
                    self.warn(lost.clone());
                    self.answer(promise, Ok(lost));
                    break Insisted::End(Ended::Stopped);
                }
                Next::TooLate => {
                    let message = format!(
                        "{what} could not be written within {} s of the signal and is lost ({error}); {}",
                        STOP_PATIENCE.as_secs(),
                        self.way_back()
                    );
                    self.warn(message.clone());
                    break Insisted::End(Ended::Lost(message));
                }
            };
            match (attempt(self), asked) {
                (Ok(done), asked) => {
                    let seconds = began.elapsed().as_secs_f64();
                    let message = format!("{what} is on disk, after {seconds:.0} s");
                    self.end_wait(&message);
                    if let Some((promise, command)) = asked {
                        self.answer(promise, Ok(message));
                        if command == Command::Quit {
                            break Insisted::End(Ended::Stopped);
                        }
                    }
                    break Insisted::Done(done);
                }
                (Err(again), asked) => {
                    if let Some((promise, _)) = asked {
                        let message = self.describe(what, &again);
                        self.answer(promise, Err(message));
                    }
                    error = again;
                }
            }
        };
        self.keeper.set_insisting(false);
        insisted
    }

    /// Describes why something is in memory only, what it is, and what can be done. The reason comes first, because a narrow screen cuts
    /// the rest.
    fn describe(&self, what: &str, error: &str) -> String {
        let (run, most) = (self.directory.run().argument(), WAITS[WAITS.len() - 1]);
        format!(
            "{error}; {what} {IN_MEMORY}. Another attempt follows every {most} s; \
             heirloom ctl {run} checkpoint makes one now, heirloom ctl {run} stop gives it up and ends the process"
        )
    }

    /// Shows that the wait is over. A run that was paused before is still paused.
    fn end_wait(&mut self, message: &str) {
        let status = match self.control.paused().is_some() {
            true => RunStatus::Paused,
            false => RunStatus::Running,
        };
        self.report_run(status, None, Some(message.into()));
        self.report_journal_problem();
    }

    /// Takes care of everything that does not wait for the disk, until another attempt is due.
    fn wait_for_attempt(&mut self, wait: Duration, what: &str) -> Next {
        let began = Instant::now();
        loop {
            self.journal_news();
            self.journal.flush();
            self.report_journal_problem();
            self.look_after_directory();
            if self.learner.peers().check().is_err() {
                return Next::Try(None);
            }
            let (retry, sender) = self.control.retry(began.elapsed(), wait);
            match retry {
                Retry::Wait => {}
                Retry::Attempt => return Next::Try(None),
                Retry::LastAttempts { signal } => {
                    if let Some(signal) = signal {
                        let seconds = STOP_PATIENCE.as_secs();
                        let message =
                            format!("{signal} received: {seconds} s more to write {what}");
                        self.emit(Body::Log(Log { message }));
                    }
                    return Next::Try(None);
                }
                Retry::TooLate => return Next::TooLate,
                Retry::Obey { by, command } => {
                    if let Some(next) = self.obey_waiting(by, command, sender, what) {
                        return next;
                    }
                }
            }
        }
    }

    /// Journals a command and obeys it, as far as that is possible between two phases.
    fn obey_waiting(
        &mut self,
        by: By,
        command: Command,
        sender: Sender,
        what: &str,
    ) -> Option<Next> {
        let promise = self.take_down(by, &command, sender);
        match command {
            Command::Checkpoint | Command::Resume | Command::Quit => {
                Some(Next::Try(Some((promise, command))))
            }
            Command::Stop { .. } => Some(Next::GiveUp(promise)),
            Command::Pause => {
                self.answer(promise, Err("the run is paused already".into()));
                None
            }
            _ => {
                let refusal = format!(
                    "the run waits until {what} is on disk; checkpoint makes an attempt now, stop gives it up"
                );
                self.answer(promise, Err(refusal));
                None
            }
        }
    }
}

/// Removes the digits of a message, so that messages that differ only in numbers are equal.
fn without_digits(text: &str) -> String {
    text.chars().filter(|c| !c.is_ascii_digit()).collect()
}
