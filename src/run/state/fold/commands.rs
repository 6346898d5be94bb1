//! Commands, their answers, and decisions.

use crate::run::command::{By, Command};
use crate::run::event::foreign::MOST_COUNTED;
use crate::run::event::{Change, DecisionReason, Event, Evidence, Suggestion};
use crate::run::state::points::{Level, MarkKind, Moved, Note, OpenDecision};
use crate::run::state::{REMARKS_KEPT, RunState};

/// Characters of a remark that its mark shows.
const MARKED: usize = 24;
/// Number of changed values that are kept, and the characters of each text in them.
const CHANGES_KEPT: usize = 64;
const CHANGE_KEPT: usize = 100;

impl RunState {
    /// Remembers to which step a command would move the end of the phase.
    pub(super) fn on_command(&mut self, event: &Event, id: u64, command: &Command) {
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
        // Both are bounded by `MOST_COUNTED`, so the sum cannot overflow.
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

    pub(super) fn on_answer(&mut self, id: u64, applied: bool) {
        if let Some((_, lr)) = self.core.new_rate.filter(|(of, _)| *of == id) {
            self.core.new_rate = None;
            if applied {
                self.core.lr = lr;
                let step = self.core.phase_step;
                if let Some(now) = &mut self.core.phase {
                    now.course.see(step, lr);
                }
            }
        }
        if let Some(moved) = self.core.moved.filter(|moved| moved.id == id) {
            self.core.moved = None;
            if let Some(now) = self.core.phase.as_mut().filter(|_| applied) {
                now.due = moved.due;
            }
        }
    }

    /// Marks the change that a command has made, and keeps it with the value before any command.
    pub(super) fn on_change(&mut self, event: &Event, change: &Change) {
        if let (Some(now), "cooldown") = (&mut self.core.phase, change.what.as_str()) {
            let (first, last) = (change.old.parse(), change.new.parse());
            let steps = now.due.saturating_sub(event.phase_step);
            if let (Ok(first), Ok(last)) = (first, last) {
                now.course.cool_down(event.phase_step, steps, first, last);
            }
        }
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

    pub(super) fn on_decision(
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
        // Journals of earlier versions have the tolerance only in their evidence.
        if let Some(info) = &mut self.info {
            info.tolerance.get_or_insert(evidence.tolerance);
        }
        self.core.last_decision = Some(open.clone());
        self.core.decision = Some(open);
        self.note(event, level, text);
    }

    pub(super) fn on_decided(
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
}
