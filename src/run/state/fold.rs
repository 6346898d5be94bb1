//! What each event does to a run's state.

use std::sync::atomic::{AtomicU64, Ordering};

use super::points::{
    CheckpointNote, ControlResult, EvalPoint, Level, Mark, MarkKind, Moved, Note, OpenDecision,
    PhaseNow, ProbePoint, RoundResult, Status,
};
use super::{CHECKPOINTS_KEPT, GPU_PERCENT, REMARKS_KEPT, RunState};
use crate::run::command::{By, Command};
use crate::run::event::foreign::MOST_COUNTED;
use crate::run::event::{
    Answer, Body, Change, CheckpointBegun, CheckpointWritten, CommandGiven, Decision,
    DecisionReason, DecisionStatus, Done, Evaluation, Event, Evidence, Gap, Growth, Inheritance,
    Log, Outcome, Phase, PhaseEvent, PhaseResult, Probe, Resumed, Rollback, RunEvent, RunInfo,
    RunStatus, Suggestion, TrainMetrics, Warning,
};
use crate::run::presence::is_departure;
use crate::run::series::pyramid::Place;
use crate::run::since::Left;
use crate::run::trouble::{JOURNAL_FAILS, JOURNAL_WORKS, UNWRITTEN};
use crate::run::{table, trend};

/// Names of controls that are kept.
const CONTROLS_KEPT: usize = 64;
/// Characters of a remark that stand at its mark.
const MARKED: usize = 24;

/// Values that were set which are kept, and the characters of each word of them.
const CHANGES_KEPT: usize = 64;
const CHANGE_KEPT: usize = 100;

/// How often this process has folded an event, into whatever state.
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
                    },
                ),
            },
            Body::Train(TrainMetrics {
                loss,
                lr,
                grad_norm,
                tokens,
                tokens_per_second,
                ..
            }) => {
                self.core.lr = *lr;
                self.core.grad_norm = *grad_norm;
                let finite = loss.is_some() && grad_norm.is_some();
                self.core.not_finite = (!finite).then_some(event.step);
                self.core.tokens = *tokens;
                self.core.tokens_per_second = *tokens_per_second;
                let nan = f64::NAN;
                let values = [
                    loss.unwrap_or(nan),
                    *lr,
                    grad_norm.unwrap_or(nan),
                    *tokens_per_second,
                    self.gpu_percent(),
                ];
                // Without a GPU there is no such curve.
                let values = match values[GPU_PERCENT].is_nan() {
                    true => &values[..GPU_PERCENT],
                    false => &values[..],
                };
                let place = self.place(event);
                let live = &mut self.history.live;
                if live.train.push(place, values) {
                    let barriers = self.snapshots.barriers(live);
                    live.train.gather(&barriers);
                }
            }
            Body::Eval(Evaluation {
                val_loss,
                stderr,
                windows,
                gap,
                gap_stderr,
                matched,
                ..
            }) => {
                let eval = EvalPoint {
                    seq: event.seq,
                    step: event.step,
                    tokens: self.core.tokens,
                    elapsed: event.elapsed,
                    val_loss: val_loss.unwrap_or(f64::NAN),
                    stderr: stderr.unwrap_or(f64::NAN),
                    gap: *gap,
                    gap_stderr: *gap_stderr,
                    matched: *matched,
                };
                self.core.eval = Some(eval);
                self.core.eval_windows = *windows;
                let snapshots = &self.snapshots;
                let live = &mut self.history.live;
                live.push_eval(eval, |live| snapshots.barriers(live));
                let text = match (val_loss, gap) {
                    (Some(v), Some(_)) => {
                        let gap = trend::gap_words(*gap, *gap_stderr);
                        format!("eval  val {v:.4}  gap {gap}")
                    }
                    (Some(v), None) => format!("eval  val {v:.4}"),
                    (None, _) => "eval  val is not finite".into(),
                };
                self.note(event, Level::Info, text);
            }
            Body::Probe(Probe {
                max_rank,
                avg_mass,
                rank,
                lazy_layers,
                block_influence,
                ..
            }) => {
                let probe = ProbePoint {
                    seq: event.seq,
                    step: event.step,
                    phase: event.phase.clone(),
                    max_rank: max_rank.clone(),
                    avg_mass: avg_mass.clone(),
                    rank: rank.clone(),
                    lazy_layers: lazy_layers.clone(),
                    block_influence: block_influence.clone(),
                };
                let place = self.place(event);
                let snapshots = &self.snapshots;
                let live = &mut self.history.live;
                live.push_probe(place, probe, |live| snapshots.barriers(live));
                let (lazy, all) = (lazy_layers.len(), rank.len());
                let text = format!("rank probe: {lazy} of {all} layers lazy");
                self.note(event, Level::Info, text);
            }
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
            Body::Inherit(Inheritance { layers, from, .. }) => {
                let n = layers.len();
                self.note(event, Level::Info, format!("inherit {n} layers of {from}"));
            }
            Body::Grow(Growth {
                from_layers,
                to_layers,
                mode,
                ..
            }) => {
                self.mark(event, MarkKind::Growth(*from_layers, *to_layers));
                let text = format!("grow  {from_layers} → {to_layers} layers ({mode})");
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

    /// Remembers what could not be written until it could.
    fn on_warning(&mut self, event: &Event, message: &str) {
        if message.starts_with(JOURNAL_WORKS) {
            self.core.unwritten = None;
        } else if message.starts_with(UNWRITTEN) || message.starts_with(JOURNAL_FAILS) {
            let since = self.core.unwritten.as_ref().map_or(event.step, |u| u.0);
            let why = message.split("; ").next().unwrap_or(message);
            self.core.unwritten = Some((since, why.into()));
        }
    }

    fn on_run(
        &mut self,
        event: &Event,
        status: RunStatus,
        info: Option<&RunInfo>,
        message: Option<&str>,
    ) {
        if let Some(info) = info {
            self.info = Some(info.clone());
            // A resume may bring another number of steps.
            if let Some(now) = &mut self.core.phase {
                let planned = match now.phase {
                    Phase::Reference => info.reference_steps,
                    Phase::Round(_) => info.round_steps,
                    _ => now.steps,
                };
                // An end that was moved stays where it is.
                if now.due == now.steps {
                    now.due = planned;
                }
                now.steps = planned;
            }
        }
        self.core.status = match status {
            RunStatus::Started | RunStatus::Running => Status::Running,
            RunStatus::Paused => Status::Paused,
            RunStatus::Interrupted => Status::Interrupted,
        };
        if self.core.status == Status::Running {
            self.running_since = event.seq;
        }
        let paused = self.core.status == Status::Paused;
        self.core.pause = message.filter(|_| paused).map(String::from);
        let text = match message {
            Some(m) => format!("{}: {m}", self.core.status),
            None => self.core.status.to_string(),
        };
        self.note(event, Level::Info, text);
    }

    /// How busy the GPU was when it was last asked, in percent; NaN where that is not known.
    fn gpu_percent(&self) -> f64 {
        let gpu = self.core.gpu.as_ref();
        gpu.and_then(|g| g.utilization).map_or(f64::NAN, f64::from)
    }

    fn on_phase_start(&mut self, event: &Event, mut now: PhaseNow) {
        if let (Some(before), Phase::Round(n)) = (&self.core.phase, &now.phase)
            && *n > 1
        {
            now.added = now.layers.saturating_sub(before.layers);
        }
        let text = format!(
            "{} starts: {} ({})",
            table::phase_name(&now.phase),
            table::plural(now.layers, "layer"),
            now.start
        );
        // Rates belong to their phase, and a model that is not a growth has other layers.
        let grows = matches!(now.phase, Phase::Round(n) if n > 1);
        self.core.changes.retain(|c| match c.what.as_str() {
            "lr" | "cooldown" => false,
            "frozen layers" => grows,
            _ => true,
        });
        self.core.phase = Some(now);
        self.core.decision = None;
        self.mark(event, MarkKind::Phase(event.phase.clone()));
        self.note(event, Level::Info, text);
    }

    fn on_phase_end(&mut self, event: &Event, result: &PhaseResult) {
        let result = result.clone();
        let phase = table::phase_name(&event.phase);
        let text = match result.gap {
            Some(gap) => format!("{phase} finished: gap {gap:+.4}"),
            None => format!("{phase} finished: val {:.4}", result.val_loss),
        };
        match &event.phase {
            Phase::Reference => self.core.reference = Some(result),
            Phase::Round(round) => {
                self.core.rounds.retain(|r| r.round != *round);
                self.core.rounds.push(RoundResult {
                    round: *round,
                    result,
                });
            }
            Phase::ControlRandom => self.on_control("random", result),
            Phase::ControlReference => self.on_control("reference_continued", result),
            // A newer program's.
            Phase::Other(name) => self.on_control(name, result),
        }
        self.note(event, Level::Good, text);
    }

    /// Keeps a control's result: one of a name, the latest.
    fn on_control(&mut self, name: &str, result: PhaseResult) {
        let controls = &mut self.core.controls;
        controls.retain(|c| c.name != name);
        if controls.len() < CONTROLS_KEPT {
            controls.push(ControlResult {
                name: name.into(),
                result,
            });
        }
    }

    /// Remembers where a command would move the end of the phase to.
    fn on_command(&mut self, event: &Event, id: u64, command: &Command) {
        if let Command::Note { text } = command {
            self.on_remark(event, text);
        }
        if let Command::SetLr { lr } = command {
            self.core.new_rate = Some((id, *lr));
        }
        let due = self.core.phase.as_ref().map_or(0, |now| now.due);
        let (from, steps) = match command {
            Command::TrainOn { steps, .. } => (event.phase_step, *steps),
            Command::Extend { steps } => (due.max(event.phase_step), *steps),
            Command::Cooldown { steps } => (event.phase_step, *steps),
            _ => return,
        };
        // Both are counted, so that their sum is far from the end of the numbers.
        let due = from.saturating_add(steps).min(MOST_COUNTED);
        self.core.moved = Some(Moved { id, due });
    }

    fn on_remark(&mut self, event: &Event, text: &str) {
        let remark = Note {
            t: event.t,
            step: event.step,
            level: Level::Info,
            text: text.into(),
        };
        if self.remarks.len() >= REMARKS_KEPT {
            self.remarks.remove(0);
        }
        self.remarks.push(remark);
        self.mark(event, MarkKind::Note(text.chars().take(MARKED).collect()));
    }

    fn on_answer(&mut self, id: u64, applied: bool) {
        if let Some((_, lr)) = self.core.new_rate.filter(|(of, _)| *of == id) {
            self.core.new_rate = None;
            if applied {
                self.core.lr = lr;
            }
        }
        if let Some(moved) = self.core.moved.filter(|moved| moved.id == id) {
            self.core.moved = None;
            if let Some(now) = self.core.phase.as_mut().filter(|_| applied) {
                now.due = moved.due;
            }
        }
    }

    /// Marks what a command has set, and keeps it with the value that it had before any command.
    fn on_change(&mut self, event: &Event, change: &Change) {
        let text = format!("{} {}", change.what, change.new);
        self.mark(event, MarkKind::Change(text.chars().take(MARKED).collect()));
        let short = |text: &str| text.chars().take(CHANGE_KEPT).collect::<String>();
        let mut now = Change {
            what: short(&change.what),
            old: short(&change.old),
            new: short(&change.new),
        };
        let changes = &mut self.core.changes;
        if let Some(i) = changes.iter().position(|c| c.what == now.what) {
            now.old = changes.remove(i).old;
        }
        if now.old == now.new {
            return;
        }
        if changes.len() >= CHANGES_KEPT {
            changes.remove(0);
        }
        changes.push(now);
    }

    /// A checkpoint is on disk. After a rollback or a resume from an earlier one that happened meanwhile, its place is
    /// on what was left.
    fn on_checkpoint(&mut self, event: &Event, note: CheckpointNote, reason: &str) {
        self.snapshots.written(note.seq, note.val_loss);
        let text = format!("checkpoint {} ({reason})", note.name);
        if self.live().contains(note.seq) {
            self.history.live.push_mark(Mark {
                seq: note.seq,
                step: note.step,
                kind: MarkKind::Checkpoint,
            });
        }
        if self.checkpoints.len() >= CHECKPOINTS_KEPT {
            self.checkpoints.drain(..CHECKPOINTS_KEPT / 4);
        }
        self.checkpoints.push(note);
        self.note(event, Level::Info, text);
    }

    fn on_decision(
        &mut self,
        event: &Event,
        id: u64,
        reason: DecisionReason,
        evidence: &Evidence,
        evidence_step: Option<u64>,
    ) {
        let step = evidence_step.unwrap_or(event.step).min(event.step);
        let open = OpenDecision {
            id,
            reason,
            step,
            phase_step: event.phase_step.saturating_sub(event.step - step),
            evidence: evidence.clone(),
        };
        let (age, words) = (open.age(event.step), open.evidence_words(event.step));
        let text = match age {
            0 => format!("decision: {}", evidence.why),
            _ => format!("decision ({words}): {}", evidence.why),
        };
        let level = match evidence.suggestion {
            Suggestion::InsufficientData => Level::Warning,
            _ => Level::Good,
        };
        // Journals of earlier versions have it in their evidence alone.
        if let Some(info) = &mut self.info {
            info.tolerance.get_or_insert(evidence.tolerance);
        }
        self.core.last_decision = Some(open.clone());
        self.core.decision = Some(open);
        self.note(event, level, text);
    }

    fn on_decided(
        &mut self,
        event: &Event,
        choice: Option<&str>,
        by: Option<By>,
        evidence_step: Option<u64>,
    ) {
        let open = self.core.decision.take();
        let by = by.map(|b| format!(" by {b}")).unwrap_or_default();
        let choice = choice.unwrap_or("closed");
        let step = evidence_step.or(open.map(|d| d.step));
        let age = step.map_or(0, |step| event.step.saturating_sub(step));
        let on = match (age, step) {
            (1.., Some(step)) => format!(" (on evidence of step {step}, {age} steps old)"),
            _ => String::new(),
        };
        self.note(event, Level::Good, format!("decided{by}: {choice}{on}"));
    }

    fn on_done(&mut self, event: &Event, outcome: Option<Outcome>, failed: bool, message: &str) {
        self.core.status = if failed { Status::Failed } else { Status::Done };
        self.core.outcome = outcome;
        self.core.decision = None;
        self.core.pause = None;
        self.core.message = message.into();
        let (level, how) = match outcome {
            Some(outcome) => (Level::Good, outcome.to_string()),
            None if failed => (Level::Warning, "failed".into()),
            None => (Level::Good, "done".into()),
        };
        self.note(event, level, format!("{how}: {message}"));
    }

    /// Goes back to a checkpoint and keeps what was done since in sight.
    fn on_rollback(&mut self, event: &Event, from_seq: u64, checkpoint: &str, why: &str) {
        let barriers = self.snapshots.barriers(self.live());
        self.history.roll_back(from_seq, event.seq, &barriers);
        let core = &mut self.core;
        let (status, pause) = (core.status, core.pause.take());
        // The disk is what it is, whatever the model goes back to.
        let unwritten = core.unwritten.take();
        self.restore(event, from_seq);
        self.core.status = status;
        (self.core.pause, self.core.unwritten) = (pause, unwritten);
        self.mark(event, MarkKind::Rollback);
        let text = format!("rollback to {checkpoint} at step {}: {why}", event.step);
        self.note(event, Level::Warning, text);
    }

    /// Drops what the resumed process does again: everything after `from_seq`, a rollback among it.
    fn on_resumed(&mut self, event: &Event, from_seq: u64, checkpoint: &str) {
        let barriers = self.snapshots.barriers(self.live());
        self.history.resume(from_seq, event.seq, &barriers);
        self.checkpoints.retain(|c| c.seq <= from_seq);
        self.snapshots.cut(from_seq);
        self.restore(event, from_seq);
        self.core.status = Status::Running;
        self.core.pause = None;
        // The process that could not write, and the rate that was set in it, are gone.
        (self.core.unwritten, self.core.new_rate) = (None, None);
        self.mark(event, MarkKind::Resumed);
        self.note(event, Level::Good, format!("resumed from {checkpoint}"));
    }

    /// Puts the core back to what it was at event `seq`, as far as that is known.
    fn restore(&mut self, event: &Event, seq: u64) {
        let known = self.snapshots.core_at(seq, self.live());
        self.core = known.unwrap_or_default();
        self.core.step = event.step;
        self.core.phase_step = event.phase_step;
        self.running_since = event.seq;
    }

    fn place(&self, event: &Event) -> Place {
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
