//! Carries out verdicts between two steps: commands, checkpoints, the end of the process, pauses.

use anyhow::Result;

use super::control::{Pause, Verdict};
use super::outcome::{Boundary, Choice, Ended, Insisted, Next};
use super::trainer::Trainer;
use crate::fault;
use crate::run::event::{Body, Log, Phase, RunStatus};
use crate::run::table;

impl Trainer {
    /// Carries out verdicts until a step is to be taken, or something else comes next.
    pub(super) fn boundary(&mut self) -> Result<Boundary> {
        loop {
            // This check comes first: a launcher that has lost a rank asks this one to stop by a signal, which would hide the reason.
            self.learner.peers().check()?;
            self.journal_news();
            for _ in 0..fault::owed_at("flood") {
                let message = "asked for by HEIRLOOM_FAULT".into();
                self.emit(Body::Log(Log { message }));
            }
            self.keeping().poll();
            self.look_after_directory();
            let elapsed = self.journal.elapsed();
            let (verdict, sender) = self.control.verdict(&mut self.state, &self.config, elapsed);
            match verdict {
                Verdict::Step { probe } => return Ok(Boundary::Step { probe }),
                Verdict::Obey { by, command } => match self.obey(by, command, sender)? {
                    Next::Boundary => {}
                    Next::Again => return Ok(Boundary::Again),
                    Next::Choice(choice) => return Ok(Boundary::Choice(choice)),
                    Next::End(ended) => return Ok(Boundary::End(ended)),
                },
                Verdict::Diverged { step, count } => {
                    self.state.repeat.clear();
                    self.warn(format!(
                        "diverged from the source run before step {step}: its last {count} decisions were not replayed"
                    ));
                }
                Verdict::Preempt { signal } => {
                    if let Some(signal) = signal {
                        let message = format!("{signal} received: checkpoint and stop");
                        self.emit(Body::Log(Log { message }));
                    }
                    let what = format!("the state at {}", self.place());
                    let written = self.insist_on_checkpoint(&what, "signal", false, false);
                    return Ok(Boundary::End(match written {
                        Insisted::Done(_) => Ended::Preempted,
                        Insisted::End(ended) => ended,
                    }));
                }
                Verdict::Limit { outcome } => {
                    return Ok(Boundary::Choice(Choice::Limit(outcome)));
                }
                Verdict::Leave => {
                    // No operator has ended the pause: free the device.
                    let what = format!("the state at {}", self.place());
                    match self.insist_on_checkpoint(&what, "unattended", false, false) {
                        // An operator has attached meanwhile.
                        Insisted::Done(_)
                            if self.control.verdict_on_failure(&self.state) == Verdict::Wait => {}
                        Insisted::Done(_) => return Ok(Boundary::End(Ended::Preempted)),
                        Insisted::End(ended) => return Ok(Boundary::End(ended)),
                    }
                }
                Verdict::Wait => {
                    self.journal.flush();
                    self.report_journal_problem();
                    self.control.wait();
                }
            }
        }
    }

    /// Journals the lines that other threads have left for the journal.
    pub(super) fn journal_news(&mut self) {
        while let Some(body) = self.control.news() {
            self.emit(body);
            self.journal.flush();
        }
    }

    /// Stops stepping until an answer comes.
    pub(super) fn pause(&mut self, kind: Pause, why: Option<String>) {
        if self.control.pause(kind) {
            self.report_run(RunStatus::Paused, None, why);
        }
    }

    pub(super) fn unpause(&mut self) {
        if self.control.resume() {
            self.report_run(RunStatus::Running, None, None);
        }
    }

    /// The present step: `step 49 of round 2`.
    pub(super) fn place(&self) -> String {
        let (step, phase) = (self.state.phase_step, &self.state.phase);
        match phase {
            Phase::Reference => format!("step {step} of the reference"),
            phase => format!("step {step} of {}", table::phase_name(phase)),
        }
    }
}
