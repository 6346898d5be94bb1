//! The evidence for a decision: forecasts, and the choice that the evidence suggests.

use super::outcome::Choice;
use super::state::{AtStep, TrainState};
use crate::config::Config;
use crate::run::command::GrowMode;
use crate::run::event::{
    DecisionReason, Evaluation, Evidence, GrowthCost, Outcome, Phase, Plateau, Prospect, Start,
    Suggestion, Verdict,
};
use crate::run::forecast::{Curve, Known, Outlook, Past};
use crate::run::losses::{self, GapData};
use crate::run::schedule::{Course, LearningRate};
use crate::run::state::RoundResult;
use crate::run::table;
use crate::run::trouble::is_diverged;

/// Measurements for a decision that the state does not hold.
pub struct Measured<'a> {
    /// The evaluation at the present step.
    pub record: &'a Evaluation,
    /// Layers and parameters of the present model.
    pub layers: usize,
    pub parameters: u64,
    /// Cost of growing by `grow.step`, where layers are left.
    pub growth: Option<GrowthCost>,
    /// Cost of a round of the present model, and of each growth.
    pub costs: Vec<GrowthCost>,
}

/// Gathers the evidence for a decision; `None` before there is a benchmark.
pub fn gather(
    state: &TrainState,
    config: &Config,
    reason: DecisionReason,
    measured: Measured<'_>,
) -> Option<Evidence> {
    let Measured {
        record,
        layers,
        parameters,
        growth,
        costs,
    } = measured;
    let benchmark = state.benchmark.as_ref()?;
    let gap = record.gap.unwrap_or(f64::NAN);
    let gap_stderr = record.gap_stderr.unwrap_or(f64::NAN);
    let known = known(state, config, layers);
    let outlook = known.outlook();
    let at_end = reason == DecisionReason::EndOfSteps || state.phase_step >= state.due;
    let (suggestion, why) = suggest(
        divergence(&state.evals),
        record.matched,
        at_end,
        &outlook,
        growth.is_some(),
        (gap, gap_stderr),
        layers,
    );
    let probe = state.probe.as_ref();
    let train_on = Prospect::TrainOn {
        steps: known.round_steps,
    };
    let grow = growth.as_ref().map(|g| Prospect::Grow { layers: g.add });
    let prospects = [Some(Prospect::AsPlanned), Some(train_on), grow];
    let prospects = prospects.into_iter().flatten();
    // At the end of the phase, the result as planned is known and needs no forecast.
    let open = prospects.filter(|p| *p != Prospect::AsPlanned || known.due > known.step);
    let forecasts = open.map(|prospect| known.forecast(prospect)).collect();
    let grown = growth.as_ref().map(|g| g.parameters);
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
        slope_per_1k: None,
        slope_stderr: None,
        plateau: outlook.plateau,
        forecast: None,
        forecast_grown: None,
        forecasts,
        lazy_layers: probe.map_or(Vec::new(), |p| p.lazy_layers.clone()),
        reference_lazy_layers: benchmark.lazy_layers.clone(),
        growth,
        costs,
        rules: rules(state.phase_tokens, parameters, grown),
        suggestion,
        why,
    })
}

/// Tokens per parameter beyond which growing gains less, and the factor at once beyond which it is unreliable
/// (arXiv 2605.13405).
const MOST_TOKENS: f64 = 20.0;
const MOST_FACTOR: f64 = 2.0;

/// Returns rules from the literature on growing from here to `grown` parameters, with their sources.
fn rules(tokens: u64, parameters: u64, grown: Option<u64>) -> Vec<String> {
    let share = |n: u64| n as f64 / parameters.max(1) as f64;
    let mut rules = vec![format!(
        "{:.2} tokens per parameter in this round; growing gains less beyond {MOST_TOKENS} (arXiv 2605.13405)",
        share(tokens)
    )];
    let factor = grown.map_or(1.0, share);
    if factor > MOST_FACTOR {
        rules.push(format!(
            "grow.step makes the model {factor:.1} times as large; growing by more than {MOST_FACTOR} at once is unreliable (arXiv 2605.13405)"
        ));
    }
    rules
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

/// Collects the facts about the present phase and those before it that forecasts need.
pub fn known(state: &TrainState, config: &Config, layers: usize) -> Known {
    let curve = |evals: &[AtStep<Evaluation>], course: &Course, is_cold: bool| {
        let points = evals.iter().map(|e| (e.phase_step, e.val_loss()));
        Curve::new(points, course.clone(), is_cold)
    };
    let past = state.finished.iter().map(|finished| {
        let (phase, evals) = (&finished.phase, &finished.evals);
        let mut course = finished.course.clone();
        // States of earlier versions have neither rates nor starts.
        if course.schedule().is_none() {
            let steps = evals.last().map_or(0, |e| e.phase_step);
            course.follow(0, LearningRate::of_phase(config, phase, steps));
        }
        let start = finished.start;
        let is_cold = start.map_or(*phase == Phase::Reference, |s| s == Start::Random);
        Past {
            phase: phase.clone(),
            curve: curve(evals, &course, is_cold),
        }
    });
    let is_cold = state.start == Start::Random;
    let finished = |r: &RoundResult| (r.result.layers, r.result.val_loss);
    Known {
        phase: state.phase.clone(),
        layers,
        curve: curve(&state.evals, &state.course, is_cold),
        step: state.phase_step,
        due: state.due,
        past: past.collect(),
        rounds: state.rounds.iter().map(finished).collect(),
        round_steps: config.train.steps,
        benchmark: state.benchmark.as_ref().map(|b| b.val_loss),
        tolerance: config.matching.tolerance,
    }
}

/// Whether the last of a phase's evaluations is far above the best of them, in a sentence; for the training that diverges.
pub fn divergence(evals: &[AtStep<Evaluation>]) -> Option<String> {
    let last = evals.last()?;
    let finite = evals.iter().filter(|e| e.val_loss.is_some());
    let best = finite.min_by(|a, b| a.val_loss().total_cmp(&b.val_loss()))?;
    is_diverged(last.val_loss(), best.val_loss(), best.stderr()).then(|| {
        format!(
            "diverged: val {} is far above {:.4}, the best of the phase, at its step {}",
            losses::loss(last.val_loss()),
            best.val_loss(),
            best.phase_step
        )
    })
}

/// Returns the suggestion that follows from the evidence, and why. `diverged` is [`divergence`], `outlook` the forecast of training on.
pub fn suggest(
    diverged: Option<String>,
    matched: bool,
    at_end: bool,
    outlook: &Outlook,
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
    let ahead = &outlook.forecast;
    let expected = match ahead.verdict {
        Verdict::InsufficientData => None,
        _ => Some(&ahead.why),
    };
    let grows = match ahead.verdict {
        Verdict::WillMatch => false,
        Verdict::WillNotMatch => true,
        _ => at_end || outlook.plateau == Plateau::Likely,
    };
    let why = match expected {
        Some(expected) => format!("{behind}; {expected}"),
        None if at_end => behind,
        None => format!("{behind}; {}", ahead.why),
    };
    match (grows, can_grow) {
        (true, true) => (Suggestion::Grow, why),
        (true, false) => (
            Suggestion::Stop,
            format!("{why}; no layer is left to inherit"),
        ),
        (false, _) => (Suggestion::TrainOn, why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::event::{Forecast, finite};

    fn outlook(verdict: Verdict, plateau: Plateau) -> Outlook {
        let forecast = Forecast {
            prospect: Prospect::AsPlanned,
            at_phase_step: 300,
            final_loss: None,
            final_gap: None,
            verdict,
            why: format!("{verdict}: a sentence"),
            evaluations_used: 8,
        };
        Outlook { forecast, plateau }
    }

    #[test]
    fn suggestions_follow_the_evidence() {
        let s = |matched, at_end, plateau, can_grow| {
            let gap = (0.04, 0.002);
            let outlook = outlook(Verdict::TooClose, plateau);
            suggest(None, matched, at_end, &outlook, can_grow, gap, 4).0
        };
        assert_eq!(s(true, true, Plateau::No, true), Suggestion::Stop);
        assert_eq!(s(false, true, Plateau::No, true), Suggestion::Grow);
        assert_eq!(s(false, false, Plateau::No, true), Suggestion::TrainOn);
        assert_eq!(s(false, false, Plateau::Likely, true), Suggestion::Grow);
        assert_eq!(s(false, true, Plateau::No, false), Suggestion::Stop);
    }

    #[test]
    fn a_forecast_overrules_the_plateau_and_the_end() {
        let s = |verdict, at_end| {
            let gap = (0.04, 0.002);
            let outlook = outlook(verdict, Plateau::No);
            suggest(None, false, at_end, &outlook, true, gap, 4)
        };
        assert_eq!(s(Verdict::WillNotMatch, false).0, Suggestion::Grow);
        assert_eq!(s(Verdict::WillMatch, false).0, Suggestion::TrainOn);
        assert_eq!(s(Verdict::WillMatch, true).0, Suggestion::TrainOn);
        assert_eq!(s(Verdict::InsufficientData, false).0, Suggestion::TrainOn);
        let (suggestion, why) = s(Verdict::InsufficientData, true);
        assert_eq!(suggestion, Suggestion::Grow);
        assert_eq!(why, "4 layers are 0.0400 ±0.0020 behind the reference");
        let (_, why) = s(Verdict::WillNotMatch, false);
        assert!(
            why.ends_with("reference; will not match: a sentence"),
            "{why}"
        );
    }

    #[test]
    fn the_literature_is_cited_with_the_present_numbers() {
        let few = rules(500, 1000, Some(1900));
        assert_eq!(few.len(), 1);
        assert!(few[0].starts_with("0.50 tokens per parameter"), "{few:?}");
        let steep = rules(30_000, 1000, Some(2500));
        assert!(steep[0].starts_with("30.00 tokens"), "{steep:?}");
        assert!(steep[1].contains("2.5 times as large"), "{steep:?}");
        assert_eq!(rules(0, 1000, None).len(), 1);
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
            let (suggestion, _) = suggest(
                diverged,
                false,
                at_end,
                &outlook(Verdict::TooClose, Plateau::No),
                true,
                gap,
                4,
            );
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
                let (suggestion, why) = suggest(
                    None,
                    true,
                    at_end,
                    &outlook(Verdict::TooClose, Plateau::Likely),
                    true,
                    gap,
                    4,
                );
                assert_eq!(suggestion, Suggestion::InsufficientData);
                assert!(
                    why.starts_with("insufficient data") && why.contains(words),
                    "{why}"
                );
            }
        }
    }
}
