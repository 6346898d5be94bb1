//! What forecasts need to know of a run.

use std::sync::Arc;

use super::{EvalPoint, PhaseNow, RunState};
use crate::run::event::{Forecast, Phase, Plateau, Start};
use crate::run::forecast::{Curve, Known, Past};

/// Where a phase is going.
#[derive(Debug, Clone, PartialEq)]
pub struct Outlook {
    /// Of its end or, where that is reached, of another round's steps.
    pub forecast: Forecast,
    pub plateau: Plateau,
}

impl RunState {
    /// What is known of the present phase and of those before it on the live branch; `None` before any phase.
    pub fn known(&self) -> Option<Known> {
        let now = self.core.phase.as_ref()?;
        let live = self.live();
        let past: Vec<&PhaseNow> = self
            .phases
            .iter()
            .filter(|p| p.began_seq < now.began_seq && live.contains(p.began_seq))
            .collect();
        let ends = past.iter().skip(1).map(|p| p.began_seq);
        let ends = ends.chain(std::iter::once(now.began_seq));
        let past = past.iter().zip(ends).map(|(phase, end)| Past {
            phase: phase.phase.clone(),
            curve: self.curve(phase, end),
        });
        let info = self.info.as_ref();
        let mut rounds: Vec<(usize, f64)> = Vec::new();
        for round in &self.core.rounds {
            if !matches!(now.phase, Phase::Round(n) if round.round >= n) {
                rounds.push((round.result.layers, round.result.val_loss));
            }
        }
        Some(Known {
            phase: now.phase.clone(),
            layers: now.layers,
            curve: self.curve(now, u64::MAX),
            step: self.core.phase_step,
            due: now.due,
            past: past.collect(),
            rounds,
            round_steps: info.map_or(0, |info| info.round_steps),
            benchmark: self.benchmark().filter(|_| now.phase != Phase::Reference),
            tolerance: info.and_then(|info| info.tolerance).unwrap_or(0.0),
        })
    }

    /// Where the present phase is going; `None` before any phase. It is worked out once for each evaluation.
    pub fn outlook(&self) -> Option<Arc<Outlook>> {
        let outlook = self.outlook.get_or_init(|| {
            let known = self.known()?;
            Some(Arc::new(Outlook {
                forecast: known.ahead(),
                plateau: known.plateau(),
            }))
        });
        outlook.clone()
    }

    /// The evaluations of a phase up to the event with which the next one began.
    fn curve(&self, phase: &PhaseNow, end: u64) -> Curve {
        let evals = &self.live().evals;
        let from = evals.partition_point(|e| e.seq < phase.began_seq);
        let to = evals.partition_point(|e| e.seq < end);
        let point = |e: &EvalPoint| (e.step.saturating_sub(phase.began_at), e.val_loss());
        let points = evals[from..to.max(from)].iter().map(point);
        Curve::new(points, phase.course.clone(), phase.start == Start::Random)
    }
}
