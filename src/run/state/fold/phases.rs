//! The run's status, its phases and their results.

use crate::run::baseline::BaselinePhase;
use crate::run::event::{Event, Outcome, Phase, PhaseResult, RunInfo, RunStatus};
use crate::run::schedule::LearningRate;
use crate::run::state::points::{
    BaselineResult, ControlResult, Level, MarkKind, PhaseNow, RoundResult, Status,
};
use crate::run::state::{PHASES_KEPT, RunState};
use crate::run::table;

/// Largest number of control results.
const CONTROLS_KEPT: usize = 64;

impl RunState {
    pub(super) fn on_run(
        &mut self,
        event: &Event,
        status: RunStatus,
        info: Option<&RunInfo>,
        message: Option<&str>,
    ) {
        if let Some(info) = info {
            self.info = Some(info.clone());
            // A resume may change the number of steps.
            if let Some(now) = &mut self.core.phase {
                let planned = match now.phase {
                    Phase::Reference => info.reference_steps,
                    Phase::Round(_) => info.round_steps,
                    _ => now.steps,
                };
                // An end that an operator has moved stays.
                if now.due == now.steps {
                    now.due = planned;
                }
                if let Some(schedule) = now.course.schedule().filter(|s| s.steps == now.steps) {
                    let schedule = LearningRate {
                        steps: planned,
                        warmup: schedule.warmup.min(planned),
                        ..schedule
                    };
                    now.course.follow(event.phase_step, schedule);
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

    pub(super) fn on_phase_start(&mut self, event: &Event, mut now: PhaseNow) {
        let mut grows = matches!(now.phase, Phase::Round(n) if n > 1);
        if let (Some(before), Phase::Round(n)) = (&self.core.phase, &now.phase)
            && *n > 1
        {
            // Copies in the middle are not on top, and move the layers above them.
            grows = now.source_layers.starts_with(&before.source_layers);
            if grows {
                now.added = now.layers.saturating_sub(before.layers);
            }
        }
        let text = format!(
            "{} starts: {} ({})",
            table::phase_name(&now.phase),
            table::plural(now.layers, "layer"),
            now.start
        );
        // Rates belong to their phase, and a model that is not a growth has other layers.
        self.core.changes.retain(|c| match c.what.as_str() {
            "lr" | "cooldown" => false,
            "frozen layers" => grows,
            _ => true,
        });
        if let Some(before) = self.core.phase.take() {
            if self.phases.len() >= PHASES_KEPT {
                self.phases.remove(0);
            }
            self.phases
                .retain(|phase| phase.began_seq != before.began_seq);
            self.phases.push(before);
        }
        self.core.phase = Some(now);
        self.core.decision = None;
        self.mark(event, MarkKind::Phase(event.phase.clone()));
        self.note(event, Level::Info, text);
    }

    pub(super) fn on_phase_end(&mut self, event: &Event, result: &PhaseResult) {
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
            Phase::Control(control) => self.on_control(control.result, result),
            Phase::Baseline(phase) => self.on_baseline(phase, result),
            // A phase of a newer program.
            Phase::Other(name) => self.on_control(name, result),
        }
        self.note(event, Level::Good, text);
    }

    /// Keeps a control's result: the latest of each name.
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

    /// Keeps the latest result of each baseline's phase.
    fn on_baseline(&mut self, phase: &BaselinePhase, result: PhaseResult) {
        let planned = self.info.iter().flat_map(|info| &info.baselines);
        let known = planned
            .filter(|b| b.name == phase.name())
            .find(|b| b.part == phase.part());
        let baselines = &mut self.core.baselines;
        let objective = known.map_or_else(|| "ce".into(), |b| b.objective.clone());
        baselines.retain(|b| (b.name.as_str(), b.part) != (phase.name(), phase.part()));
        if baselines.len() < CONTROLS_KEPT {
            baselines.push(BaselineResult {
                name: phase.name().into(),
                part: phase.part(),
                objective,
                result,
            });
        }
    }

    pub(super) fn on_done(
        &mut self,
        event: &Event,
        outcome: Option<Outcome>,
        failed: bool,
        message: &str,
    ) {
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
}
