//! What a decision rests on: forecasts, and what the evidence speaks for.

use super::outcome::Choice;
use super::state::{AtStep, TrainState};
use crate::config::Config;
use crate::run::command::GrowMode;
use crate::run::event::{
    DecisionReason, Evaluation, Evidence, Forecast, GrowthCost, Outcome, PhaseResult, Plateau,
    Suggestion,
};
use crate::run::table;
use crate::run::trend::{self, GapData, Line, Trend};
use crate::run::trouble::is_diverged;

/// What is measured for a decision besides what the state holds.
pub struct Measured<'a> {
    /// The evaluation at the present step.
    pub record: &'a Evaluation,
    /// Layers of the present model.
    pub layers: usize,
    /// Cost of growing by `grow.step`, where layers are left.
    pub growth: Option<GrowthCost>,
    /// Cost of a round of the present model, and of each growth.
    pub costs: Vec<GrowthCost>,
}

/// Gathers what a decision rests on; `None` before there is a benchmark.
pub fn gather(
    state: &TrainState,
    config: &Config,
    reason: DecisionReason,
    measured: Measured<'_>,
) -> Option<Evidence> {
    let Measured {
        record,
        layers,
        growth,
        costs,
    } = measured;
    let benchmark = state.benchmark.as_ref()?;
    let gap = record.gap.unwrap_or(f64::NAN);
    let gap_stderr = record.gap_stderr.unwrap_or(f64::NAN);
    let losses = losses(&state.evals);
    let trend = Trend::of(&losses);
    let (slope, plateau) = (trend.slope_per_1k, trend.plateau);
    let at_end = reason == DecisionReason::EndOfSteps || state.phase_step >= state.due;
    let (suggestion, why) = suggest(
        divergence(&state.evals),
        record.matched,
        at_end,
        plateau,
        growth.is_some(),
        (gap, gap_stderr),
        layers,
    );
    let steps = config.train.steps;
    let grown_layers = growth.as_ref().map_or(layers, |g| g.layers);
    let rounds = rounds_so_far(state, layers, record.val_loss());
    let probe = state.probe.as_ref();
    Some(Evidence {
        round: state.round(),
        layers,
        val_loss: record.measured_val_loss(),
        stderr: record.stderr(),
        benchmark: benchmark.val_loss,
        reference_layers: benchmark.layers,
        gap,
        gap_stderr,
        tolerance: config.matching.tolerance,
        matched: record.matched,
        slope_per_1k: slope.map(|s| s.0),
        slope_stderr: slope.map(|s| s.1),
        plateau,
        forecast: trend.forecast(state.phase_step + steps),
        forecast_grown: forecast_grown(&rounds, grown_layers, steps),
        lazy_layers: probe.map_or(Vec::new(), |p| p.lazy_layers.clone()),
        reference_lazy_layers: benchmark.lazy_layers.clone(),
        growth,
        costs,
        suggestion,
        why,
    })
}

/// Algorithm 1 of arXiv 2404.08634: grow while worse than the benchmark. `None` where the gap is not finite: it shows
/// neither that the model is worse nor that it matches.
pub(super) fn algorithm_1(evidence: &Evidence, mode: GrowMode) -> Option<Choice> {
    if GapData::of(evidence.gap, evidence.gap_stderr) == GapData::NotFinite {
        return None;
    }
    Some(match &evidence.growth {
        _ if evidence.matched => Choice::Stop,
        Some(growth) => Choice::Grow {
            layers: growth.add,
            mode,
        },
        None => Choice::Limit(Outcome::LimitLayers),
    })
}

/// Validation loss expected at the end of a round with `layers`: a line through the rounds so far (the present one
/// included). `None` before two growths, and when a round's loss is not finite.
pub fn forecast_grown(
    rounds: &[(usize, f64)],
    layers: usize,
    at_phase_step: u64,
) -> Option<Forecast> {
    let points: Vec<_> = rounds.iter().map(|&(l, loss)| (l as f64, loss)).collect();
    let (val_loss, stderr) = Line::fit(&points)?.predict(layers as f64);
    Some(Forecast {
        val_loss,
        stderr,
        at_phase_step,
    })
}

/// Phase step and validation loss of every evaluation of the phase.
pub fn losses(evals: &[AtStep<Evaluation>]) -> Vec<(f64, f64)> {
    let pair = |e: &AtStep<Evaluation>| (e.phase_step as f64, e.val_loss());
    evals.iter().map(pair).collect()
}

/// Layers and validation loss of the finished rounds and the present one.
pub fn rounds_so_far(state: &TrainState, layers: usize, val_loss: f64) -> Vec<(usize, f64)> {
    let finished = |r: &PhaseResult| (r.layers, r.val_loss);
    let mut all: Vec<_> = state.rounds.iter().map(|r| finished(&r.result)).collect();
    all.push((layers, val_loss));
    all
}

/// Whether the last of a phase's evaluations is far above the best of them, in a sentence; for the training that diverges.
pub fn divergence(evals: &[AtStep<Evaluation>]) -> Option<String> {
    let last = evals.last()?;
    let finite = evals.iter().filter(|e| e.val_loss.is_some());
    let best = finite.min_by(|a, b| a.val_loss().total_cmp(&b.val_loss()))?;
    is_diverged(last.val_loss(), best.val_loss(), best.stderr()).then(|| {
        format!(
            "diverged: val {} is far above {:.4}, the best of the phase, at its step {}",
            trend::loss(last.val_loss()),
            best.val_loss(),
            best.phase_step
        )
    })
}

/// What the evidence speaks for, and why. `diverged` is [`divergence`].
pub fn suggest(
    diverged: Option<String>,
    matched: bool,
    at_end: bool,
    plateau: Plateau,
    can_grow: bool,
    gap: (f64, f64),
    layers: usize,
) -> (Suggestion, String) {
    if let Some(why) = diverged {
        return (Suggestion::Rollback, why);
    }
    let (gap, stderr) = gap;
    let model = table::plural(layers, "layer");
    let (are, match_) = match layers {
        1 => ("is", "matches"),
        _ => ("are", "match"),
    };
    let insufficient = match GapData::of(gap, stderr) {
        GapData::Measured => None,
        GapData::NoError => Some(format!(
            "insufficient data: the gap {gap:+.4} of {model} has no error with one validation window"
        )),
        GapData::NotFinite => Some(format!(
            "insufficient data: the gap of {model} to the reference is not finite"
        )),
    };
    if let Some(why) = insufficient {
        return (Suggestion::InsufficientData, why);
    }
    if matched {
        let why = format!("{model} {match_} the reference: gap {gap:+.4} ±{stderr:.4}");
        return (Suggestion::Stop, why);
    }
    let behind = format!("{model} {are} {gap:.4} ±{stderr:.4} behind the reference");
    match (at_end || plateau == Plateau::Likely, can_grow) {
        (true, true) => (Suggestion::Grow, behind),
        (true, false) => (
            Suggestion::Stop,
            format!("{behind}, and no layer is left to inherit"),
        ),
        (false, _) => {
            let so_far = match plateau {
                Plateau::InsufficientData => "too early to tell",
                _ => "still improving",
            };
            (Suggestion::TrainOn, format!("{behind}, {so_far}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::event::finite;

    #[test]
    fn growth_is_forecast_only_after_two_growths() {
        assert!(forecast_grown(&[(4, 2.0), (6, 1.9)], 8, 200).is_none());
        let f = forecast_grown(&[(4, 2.0), (6, 1.9), (8, 1.8)], 10, 200).unwrap();
        assert!((f.val_loss - 1.7).abs() < 1e-9);
        assert!(forecast_grown(&[(4, 2.0), (6, f64::NAN), (8, 1.8)], 10, 200).is_none());
    }

    #[test]
    fn suggestions_follow_the_evidence() {
        let s = |matched, at_end, plateau, can_grow| {
            suggest(None, matched, at_end, plateau, can_grow, (0.04, 0.002), 4).0
        };
        assert_eq!(s(true, true, Plateau::No, true), Suggestion::Stop);
        assert_eq!(s(false, true, Plateau::No, true), Suggestion::Grow);
        assert_eq!(s(false, false, Plateau::No, true), Suggestion::TrainOn);
        assert_eq!(s(false, false, Plateau::Likely, true), Suggestion::Grow);
        assert_eq!(s(false, true, Plateau::No, false), Suggestion::Stop);
    }

    #[test]
    fn a_loss_far_above_its_best_suggests_a_rollback_and_nothing_else() {
        let eval = |phase_step, val_loss| AtStep {
            phase_step,
            measured: Evaluation {
                val_loss: finite(val_loss).0,
                stderr: Some(0.01),
                ..Evaluation::default()
            },
        };
        let evals = |last| [eval(10, 2.6), eval(20, 2.5), eval(30, last)];
        for last in [2.4, 2.6, 2.9, f64::NAN, f64::INFINITY] {
            assert_eq!(divergence(&evals(last)), None, "{last}");
        }
        let why = divergence(&evals(1.9e11)).unwrap();
        assert!(
            why.contains("val 1.9e11") && why.contains("2.5000"),
            "{why}"
        );
        for at_end in [true, false] {
            let diverged = divergence(&evals(3.1));
            let gap = (0.04, 0.002);
            let (suggestion, _) = suggest(diverged, false, at_end, Plateau::No, true, gap, 4);
            assert_eq!(suggestion, Suggestion::Rollback);
        }
        assert_eq!(divergence(&[]), None);
    }

    #[test]
    fn a_gap_that_is_not_finite_or_has_no_error_suggests_nothing() {
        let nan = f64::NAN;
        for (gap, words) in [
            ((nan, nan), "is not finite"),
            ((f64::INFINITY, 0.1), "is not finite"),
            ((-0.5, nan), "no error with one validation window"),
        ] {
            for at_end in [true, false] {
                let (suggestion, why) = suggest(None, true, at_end, Plateau::Likely, true, gap, 4);
                assert_eq!(suggestion, Suggestion::InsufficientData);
                assert!(
                    why.starts_with("insufficient data") && why.contains(words),
                    "{why}"
                );
            }
        }
    }
}
