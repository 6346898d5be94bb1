//! Measurements: training, evaluations and probes.

use crate::run::event::{Evaluation, Event, Probe, TrainMetrics};
use crate::run::losses;
use crate::run::state::points::{EvalPoint, Level, ProbePoint};
use crate::run::state::{PARAM_NORM, RunState};

impl RunState {
    pub(super) fn on_train(&mut self, event: &Event, metrics: &TrainMetrics) {
        let nan = f64::NAN;
        let (loss, grad_norm) = (metrics.loss, metrics.grad_norm);
        self.core.lr = metrics.lr;
        // Where the schedule is not known, rates come from the curve.
        if let Some(now) = &mut self.core.phase
            && now.course.schedule().is_some()
        {
            // The rate of the update that was taken last.
            let step = event.phase_step.saturating_sub(1);
            now.course.see(step, metrics.lr);
        }
        self.core.grad_norm = grad_norm;
        let finite = loss.is_some() && grad_norm.is_some();
        self.core.not_finite = (!finite).then_some(event.step);
        self.core.tokens = metrics.tokens;
        self.core.tokens_per_second = metrics.tokens_per_second;
        let values = [
            loss.unwrap_or(nan),
            metrics.lr,
            grad_norm.unwrap_or(nan),
            metrics.tokens_per_second,
            metrics.param_norm.unwrap_or(nan),
            metrics.momentum_norm.unwrap_or(nan),
            metrics.clip_rate.unwrap_or(nan),
            self.gpu_percent(),
        ];
        // The last curves are missing without a GPU, and those before them in journals of earlier versions.
        let known = values.iter().rposition(|v| !v.is_nan());
        let values = &values[..known.map_or(0, |last| last + 1).max(PARAM_NORM)];
        let place = self.place(event);
        let live = &mut self.history.live;
        if live.train.push(place, values) {
            let barriers = self.snapshots.barriers(live);
            live.train.gather(&barriers);
        }
    }

    pub(super) fn on_eval(&mut self, event: &Event, evaluation: Evaluation) {
        let eval = EvalPoint {
            seq: event.seq,
            step: event.step,
            tokens: self.core.tokens,
            elapsed: event.elapsed,
            evaluation,
        };
        self.core.eval = Some(eval);
        let snapshots = &self.snapshots;
        let live = &mut self.history.live;
        live.push_eval(eval, |live| snapshots.barriers(live));
        let text = match (eval.val_loss, eval.gap) {
            (Some(v), Some(_)) => {
                let gap = losses::gap_words(eval.gap, eval.gap_stderr);
                format!("eval  val {v:.4}  gap {gap}")
            }
            (Some(v), None) => format!("eval  val {v:.4}"),
            (None, _) => "eval  val is not finite".into(),
        };
        self.note(event, Level::Info, text);
    }

    pub(super) fn on_probe(&mut self, event: &Event, probe: &Probe) {
        let point = ProbePoint {
            seq: event.seq,
            step: event.step,
            phase: event.phase.clone(),
            probe: probe.clone(),
        };
        let place = self.place(event);
        let snapshots = &self.snapshots;
        let live = &mut self.history.live;
        live.push_probe(place, point, |live| snapshots.barriers(live));
        let (lazy, all) = (probe.lazy_layers.len(), probe.rank.len());
        let text = format!("rank probe: {lazy} of {all} layers lazy");
        self.note(event, Level::Info, text);
    }

    /// The GPU's utilization at the last reading, in percent; NaN where it is not known.
    fn gpu_percent(&self) -> f64 {
        let gpu = self.core.gpu.as_ref();
        gpu.and_then(|g| g.utilization).map_or(f64::NAN, f64::from)
    }
}
