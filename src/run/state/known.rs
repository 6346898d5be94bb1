//! The facts of a run that forecasts need.

use std::sync::{Arc, OnceLock};

use super::{EvalPoint, LR, PhaseNow, Prospects, RunState, Status};
use crate::config::Config;
use crate::run::event::{Forecast, Phase, Prospect, Start};
use crate::run::forecast::{Curve, Known, Outlook, Past};
use crate::run::schedule::{Course, LearningRate};

impl RunState {
    /// Returns the facts of the present phase and of those before it on the live branch; `None` before any phase.
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

    /// Whether a phase has no schedule, because the journal is of an earlier version, and the run's config has not been read for it yet.
    pub fn lacks_schedules(&self) -> bool {
        let mut all = self.phases.iter().chain(&self.core.phase);
        self.configured.get().is_none() && all.any(|p| p.steps > 0 && p.course.schedule().is_none())
    }

    /// Takes the schedules of phases that have none from the run's config, where it could be read.
    pub fn configure(&mut self, config: Option<Config>) {
        self.configured = OnceLock::from(config.map(Arc::new));
        self.forget_forecasts();
        self.version += 1;
    }

    /// Returns the forecast of the present phase; `None` before any phase and once the run is done. It is computed once for each
    /// evaluation.
    pub fn outlook(&self) -> Option<Arc<Outlook>> {
        if self.core.status == Status::Done {
            return None;
        }
        let outlook = self.outlook.get_or_init(|| {
            let known = self.known()?;
            Some(Arc::new(known.outlook()))
        });
        outlook.clone()
    }

    /// Takes in the rates of a phase's training curve.
    fn see_rates(&self, course: &mut Course, phase: &PhaseNow, end: u64) {
        let train = &self.live().train;
        for (bucket, rate) in train.stretches().iter().zip(train.column(LR)) {
            let is_within = bucket.first.seq > phase.began_seq && bucket.last.seq < end;
            // A mean over several steps differs from every schedule.
            if is_within && (bucket.count == 1 || course.schedule().is_none()) {
                let middle = u64::midpoint(bucket.first.step, bucket.last.step);
                // The rate of the update that was taken last.
                course.see(middle.saturating_sub(phase.began_at + 1), rate.value());
            }
        }
    }

    /// Returns the expected result of a choice; `None` before any phase and once the run is done. It is worked out once
    /// for each evaluation, and counts from the step at which it was asked for first.
    pub fn prospect(&self, prospect: Prospect) -> Option<Arc<Forecast>> {
        if self.core.status == Status::Done {
            return None;
        }
        self.prospects
            .get(prospect, || Some(self.known()?.forecast(prospect)))
    }

    /// Has every forecast worked out again.
    pub(super) fn forget_forecasts(&mut self) {
        self.outlook = OnceLock::new();
        self.prospects = Prospects::default();
    }

    /// The evaluations of a phase up to the event with which the next one began.
    fn curve(&self, phase: &PhaseNow, end: u64) -> Curve {
        let evals = &self.live().evals;
        let from = evals.partition_point(|e| e.seq < phase.began_seq);
        let to = evals.partition_point(|e| e.seq < end);
        let mut course = phase.course.clone();
        // A control goes through several rounds' schedules, which its config alone does not have.
        let is_control = !matches!(phase.phase, Phase::Reference | Phase::Round(_));
        if let (None, Some(Some(config)), false) =
            (course.schedule(), self.configured.get(), is_control)
        {
            course = Course::planned(LearningRate::of_phase(config, &phase.phase, phase.steps));
        }
        if phase.course.schedule().is_none() {
            self.see_rates(&mut course, phase, end);
        }
        let point = |e: &EvalPoint| (e.step.saturating_sub(phase.began_at), e.val_loss());
        let points = evals[from..to.max(from)].iter().map(point);
        Curve::new(points, course, phase.start == Start::Random)
    }
}
