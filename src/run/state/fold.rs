//! Applies events to a run's state: [`RunState::apply`] hands it to the method for its kind.

mod checkpoints;
mod commands;
mod measurements;
mod phases;
mod tasks;

use std::sync::atomic::{AtomicU64, Ordering};

use super::RunState;
use super::points::{CheckpointNote, Level, Mark, MarkKind, Note, PhaseNow};
use crate::run::event::{
    Answer, Body, CheckpointBegun, CheckpointWritten, CommandGiven, Decision, DecisionStatus, Done,
    Event, Gap, Growth, Inheritance, Log, PhaseEvent, Resumed, Rollback, RunEvent, Warning,
};
use crate::run::presence::is_departure;
use crate::run::schedule::{Course, LearningRate};
use crate::run::series::pyramid::Place;
use crate::run::since::Left;

/// Number of events that this process has folded, into any state.
static APPLIED: AtomicU64 = AtomicU64::new(0);

/// Returns how often this process has folded an event, for tests that count.
#[doc(hidden)]
pub fn applied() -> u64 {
    APPLIED.load(Ordering::Relaxed)
}

impl RunState {
    /// Folds one event in.
    pub fn apply(&mut self, event: &Event) {
        APPLIED.fetch_add(1, Ordering::Relaxed);
        self.version += 1;
        self.noted = false;
        if let Some(status) = self.journaled.take() {
            self.core.status = status;
        }
        self.seq = event.seq;
        self.t = event.t;
        self.elapsed = event.elapsed;
        self.core.step = event.step;
        self.core.phase_step = event.phase_step;
        if !matches!(
            event.body,
            Body::Train(_)
                | Body::Probe(_)
                | Body::Ranks(_)
                | Body::Gpu(_)
                | Body::Log(_)
                | Body::Task(_)
                | Body::Tasking(_)
                | Body::Sample(_)
        ) {
            self.forget_forecasts();
        }
        // An evaluation on tasks is over once something else is done.
        if !matches!(
            event.body,
            Body::Tasking(_)
                | Body::Ranks(_)
                | Body::Gpu(_)
                | Body::Log(_)
                | Body::Warning(_)
                | Body::Gap(_)
                | Body::Command(_)
                | Body::Checkpoint(_)
        ) {
            self.core.tasking = None;
        }
        match &event.body {
            Body::Run(RunEvent {
                status,
                info,
                message,
            }) => self.on_run(event, *status, info.as_ref(), message.as_deref()),
            Body::Phase(PhaseEvent {
                layers,
                parameters,
                steps,
                start,
                source_layers,
                result,
                schedule,
                ..
            }) => match result {
                Some(result) => self.on_phase_end(event, result),
                None => self.on_phase_start(
                    event,
                    PhaseNow {
                        phase: event.phase.clone(),
                        began_at: event.step - event.phase_step.min(event.step),
                        layers: *layers,
                        parameters: *parameters,
                        steps: *steps,
                        due: *steps,
                        start: *start,
                        source_layers: source_layers.clone(),
                        added: 0,
                        began_seq: event.seq,
                        course: schedule
                            .as_ref()
                            .and_then(LearningRate::of_event)
                            .map(Course::planned)
                            .unwrap_or_default(),
                    },
                ),
            },
            Body::Train(metrics) => self.on_train(event, metrics),
            Body::Eval(evaluation) => self.on_eval(event, *evaluation),
            Body::Probe(probe) => self.on_probe(event, probe),
            Body::Ranks(times) => self.on_ranks(event, times),
            Body::Task(result) => self.on_task(event, result),
            Body::Tasking(progress) => self.on_tasking(event, progress),
            Body::Sample(sample) => self.on_sample(event, sample),
            Body::Checkpointing(CheckpointBegun { reason, .. }) => {
                self.snapshots.begin(event.seq, reason, &self.core);
            }
            Body::Checkpoint(CheckpointWritten {
                name,
                bytes,
                val_loss,
                reason,
                begun,
                of_step,
                ..
            }) => {
                if begun.is_none() {
                    self.snapshots.begin(event.seq, reason, &self.core);
                }
                self.core.unwritten = None;
                let note = CheckpointNote {
                    seq: begun.unwrap_or(event.seq),
                    name: name.clone(),
                    step: of_step.unwrap_or(event.step),
                    t: event.t,
                    bytes: *bytes,
                    reason: reason.clone(),
                    val_loss: *val_loss,
                };
                self.on_checkpoint(event, note, reason);
            }
            Body::Command(CommandGiven {
                id, by, command, ..
            }) => {
                self.on_command(event, *id, command);
                self.note(event, Level::Info, format!("{by}: {}", command.describe()));
            }
            Body::Answer(Answer {
                id,
                applied,
                message,
                change,
            }) => {
                self.on_answer(*id, *applied);
                if let Some(change) = change.as_ref().filter(|_| *applied) {
                    self.on_change(event, change);
                }
                self.refusals += u64::from(!*applied);
                match applied {
                    true => self.note(event, Level::Good, message.clone()),
                    false => self.note(event, Level::Refused, format!("refused: {message}")),
                }
            }
            Body::Decision(Decision {
                id,
                status,
                reason,
                evidence,
                evidence_step,
                choice,
                by,
            }) => match (status, evidence) {
                (DecisionStatus::Open, Some(evidence)) => {
                    self.on_decision(event, *id, *reason, evidence, *evidence_step);
                }
                _ => self.on_decided(event, choice.as_deref(), *by, *evidence_step),
            },
            Body::Inherit(Inheritance {
                layers,
                from,
                measured,
                ..
            }) => {
                let n = layers.len();
                let mut text = format!("inherit {n} layers of {from}");
                if let Some(measured) = measured {
                    text.push_str(&format!(" {}", measured.words()));
                }
                self.core.chosen_by.clone_from(measured);
                self.note(event, Level::Info, text);
            }
            Body::Grow(Growth {
                from_layers,
                to_layers,
                mode,
                source,
                ..
            }) => {
                self.mark(event, MarkKind::Growth(*from_layers, *to_layers));
                let how = match source.copies() {
                    true => format!("{mode}, {source}"),
                    false => mode.to_string(),
                };
                let text = format!("grow  {from_layers} → {to_layers} layers ({how})");
                self.note(event, Level::Good, text);
            }
            Body::Rollback(Rollback {
                checkpoint,
                from_seq,
                why,
                overruled,
            }) => {
                self.on_rollback(event, *from_seq, checkpoint, why);
                self.core.changes.retain(|c| !overruled.contains(&c.what));
            }
            Body::Resumed(Resumed {
                from_seq,
                checkpoint,
                overruled,
            }) => {
                self.on_resumed(event, *from_seq, checkpoint);
                self.core.changes.retain(|c| !overruled.contains(&c.what));
            }
            Body::Gpu(reading) => self.core.gpu = Some(*reading),
            Body::Warning(Warning { message }) => {
                self.on_warning(event, message);
                self.note(event, Level::Warning, message.clone());
            }
            Body::Gap(Gap { dropped }) => self.dropped += dropped,
            Body::Log(Log { message }) => {
                if is_departure(message) {
                    self.left = Some(Left {
                        seq: event.seq,
                        t: event.t,
                        step: event.step,
                        notes: self.notes_gone + self.notes.len() as u64 + 1,
                    });
                }
                self.note(event, Level::Info, message.clone());
            }
            Body::Done(Done {
                outcome,
                failed,
                message,
            }) => self.on_done(event, *outcome, *failed, message),
            Body::Unknown(rest) => {
                let kind = rest.get("kind").and_then(|k| k.as_str()).unwrap_or("?");
                self.note(event, Level::Info, format!("unknown event {kind}"));
            }
        }
    }

    pub(super) fn place(&self, event: &Event) -> Place {
        Place {
            seq: event.seq,
            step: event.step,
            tokens: self.core.tokens,
            elapsed: event.elapsed,
        }
    }

    fn mark(&mut self, event: &Event, kind: MarkKind) {
        self.history.live.push_mark(Mark {
            seq: event.seq,
            step: event.step,
            kind,
        });
    }

    fn note(&mut self, event: &Event, level: Level, text: String) {
        self.noted = true;
        self.push_note(Note {
            t: event.t,
            step: event.step,
            level,
            text,
        });
    }
}
