//! Finds in a run's events what an operator should know of.

use super::{Notice, Occasion, Waiting};
use crate::run::event::{
    Body, Decision, DecisionReason, DecisionStatus, Done, Evaluation, Event, Evidence, Phase,
    PhaseEvent, Suggestion, TrainMetrics,
};
use crate::run::state::RunState;
use crate::run::{losses, table};

/// Recognises all [occasions](Occasion) but a stall, which is the absence of events.
#[derive(Debug)]
pub struct Recogniser {
    /// The reason of the open decision.
    open: Option<DecisionReason>,
    /// Whether the present phase has been evaluated.
    evaluated: bool,
    /// The lowest finite validation loss of the present phase.
    best: Option<f64>,
    /// Whether the latest validation loss of the present phase, if there is one, is finite.
    val_is_finite: bool,
    /// The step of the latest value that was not finite.
    not_finite_at: Option<u64>,
}

impl Recogniser {
    /// Makes a recogniser for the events after those that `run` was folded from. Earlier events give no notices.
    pub fn new(run: &RunState) -> Self {
        let evals = run.evals_of_phase();
        let losses = evals.iter().map(|eval| eval.val_loss());
        Self {
            open: run.core.decision.as_ref().map(|open| open.reason),
            evaluated: !evals.is_empty(),
            best: losses
                .filter(|loss| loss.is_finite())
                .min_by(f64::total_cmp),
            val_is_finite: evals.last().is_none_or(|eval| eval.val_loss.is_some()),
            not_finite_at: None,
        }
    }

    /// Processes the next event; `run` is the state after it. Messages and warnings never give a notice, so that the
    /// journaled outcome of a notification does not cause another.
    pub fn recognise(&mut self, run: &RunState, event: &Event) -> Option<Notice> {
        let notice = match &event.body {
            Body::Decision(Decision {
                status: DecisionStatus::Open,
                reason,
                evidence: Some(evidence),
                ..
            }) => {
                // A decision that replaces an open one of the same kind only has fresher evidence.
                let is_news = self.open != Some(*reason);
                is_news.then(|| (Occasion::Decision, describe_decision(evidence)))
            }
            Body::Train(TrainMetrics {
                nonfinite,
                grad_norm,
                ..
            }) => {
                let what = match nonfinite {
                    Some(value) => Some(format!("the training loss is {value}")),
                    None if grad_norm.is_none() => Some("the gradient is not finite".into()),
                    None => None,
                };
                what.and_then(|what| self.on_not_finite(event, &what))
            }
            Body::Eval(Evaluation {
                val_loss,
                nonfinite,
                gap,
                gap_stderr,
                ..
            }) => match val_loss {
                Some(loss) => {
                    let is_best = self.on_loss(&event.phase, *loss);
                    let gap = gap
                        .map(|gap| format!(", gap {}", losses::gap_words(Some(gap), *gap_stderr)));
                    let gap = gap.unwrap_or_default();
                    let text = format!("best: val {loss:.4} at {}{gap}", place(event));
                    is_best.then_some((Occasion::Best, text))
                }
                None => {
                    self.evaluated = true;
                    let was_finite = std::mem::replace(&mut self.val_is_finite, false);
                    let value = nonfinite.map_or("not finite".into(), |value| value.to_string());
                    let what = format!("the validation loss is {value}");
                    let news = was_finite.then(|| self.on_not_finite(event, &what));
                    news.flatten()
                }
            },
            Body::Phase(PhaseEvent { result: None, .. }) | Body::Rollback(_) | Body::Resumed(_) => {
                *self = Self::new(run);
                None
            }
            Body::Done(Done {
                outcome,
                failed,
                message,
            }) => {
                let text = match outcome {
                    _ if *failed => format!("failed: {message}"),
                    Some(outcome) => format!("done: {outcome}, {message}"),
                    None => format!("done: {message}"),
                };
                Some((Occasion::Done, text))
            }
            _ => None,
        };
        self.open = run.core.decision.as_ref().map(|open| open.reason);
        notice.map(|(occasion, text)| Notice::new(occasion, event.step, &text))
    }

    /// Records a finite validation loss. Returns whether it is the best of a round that has been evaluated before.
    fn on_loss(&mut self, phase: &Phase, loss: f64) -> bool {
        let is_lowest = self.best.is_none_or(|best| loss < best);
        let is_first = !std::mem::replace(&mut self.evaluated, true);
        self.val_is_finite = true;
        if is_lowest {
            self.best = Some(loss);
        }
        is_lowest && !is_first && matches!(phase, Phase::Round(_))
    }

    /// Describes a value that is not finite, once per step.
    fn on_not_finite(&mut self, event: &Event, what: &str) -> Option<(Occasion, String)> {
        let is_news = self.not_finite_at.replace(event.step) != Some(event.step);
        is_news.then(|| (Occasion::Nan, format!("nan: {what} at {}", place(event))))
    }
}

/// `step 20 of round 1`.
fn place(event: &Event) -> String {
    format!(
        "step {} of {}",
        event.phase_step,
        table::phase_name(&event.phase)
    )
}

/// A recogniser, and the notices that have not been taken from it.
#[derive(Debug)]
pub struct Listener {
    recogniser: Recogniser,
    waiting: Waiting,
}

impl Listener {
    /// A listener to the events after those that `run` was folded from.
    pub fn new(run: &RunState) -> Self {
        Self {
            recogniser: Recogniser::new(run),
            waiting: Waiting::default(),
        }
    }

    /// Keeps the notice of the next event, if it gives one; `run` is the state after it.
    pub fn listen(&mut self, run: &RunState, event: &Event) {
        let notice = self.recogniser.recognise(run, event);
        notice.into_iter().for_each(|n| self.waiting.push(n));
    }

    /// Skips events, up to those that `run` was folded from.
    pub fn skip(&mut self, run: &RunState) {
        self.recogniser = Recogniser::new(run);
    }

    /// Returns the notices that have been kept: the latest of each occasion.
    pub fn take(&mut self) -> Vec<Notice> {
        self.waiting.take_all()
    }
}

fn describe_decision(evidence: &Evidence) -> String {
    let suggestion = match evidence.suggestion {
        Suggestion::Grow => "grow suggested",
        Suggestion::Stop => "stop suggested",
        Suggestion::TrainOn => "train on suggested",
        Suggestion::Rollback => "rollback suggested",
        Suggestion::InsufficientData => "insufficient data",
    };
    let gap = losses::gap_words(Some(evidence.gap), Some(evidence.gap_stderr));
    // The first forecast is of the end as planned, else of training on.
    let expected = evidence.forecasts.first();
    let expected = expected.map_or(String::new(), |f| format!("; forecast: {}", f.words()));
    format!("decision: {suggestion}, gap {gap}{expected}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::event::{Forecast, Interval, Prospect, Verdict};
    use crate::run::event::{Log, Rollback, Warning};
    use crate::run::event::{Outcome, Plateau, Start, finite};

    /// A run and the notices recognised in it.
    struct Story {
        run: RunState,
        recogniser: Recogniser,
        seq: u64,
        phase: Phase,
    }

    impl Story {
        fn new() -> Self {
            let run = RunState::default();
            let mut new = Self {
                recogniser: Recogniser::new(&run),
                run,
                seq: 0,
                phase: Phase::Reference,
            };
            new.begin(Phase::Round(1));
            new
        }

        /// Applies an event at a step, and returns the text of its notice.
        fn at(&mut self, step: u64, body: Body) -> Option<String> {
            self.seq += 1;
            let event = Event {
                step,
                phase_step: step,
                phase: self.phase.clone(),
                ..Event::numbered(self.seq, body)
            };
            self.run.apply(&event);
            let notice = self.recogniser.recognise(&self.run, &event)?;
            assert_eq!(notice.step, step);
            Some(notice.text)
        }

        fn begin(&mut self, phase: Phase) {
            self.phase = phase;
            let begun = self.at(
                0,
                Body::Phase(PhaseEvent {
                    layers: 1,
                    parameters: 1,
                    steps: 100,
                    start: Start::Inherit,
                    source_layers: Vec::new(),
                    result: None,
                    schedule: None,
                    planned: Vec::new(),
                }),
            );
            assert_eq!(begun, None);
        }

        fn eval(&mut self, step: u64, loss: f64) -> Option<String> {
            let (val_loss, nonfinite) = finite(loss);
            self.at(
                step,
                Body::Eval(Evaluation {
                    val_loss,
                    nonfinite,
                    stderr: val_loss.map(|_| 0.01),
                    windows: 16,
                    blocks: None,
                    gap: val_loss.map(|loss| loss - 2.0),
                    gap_stderr: val_loss.map(|_| 0.002),
                    matched: false,
                    seconds: 0.1,
                }),
            )
        }

        fn train(&mut self, step: u64, loss: f64, grad: f64) -> Option<String> {
            let (loss, nonfinite) = finite(loss);
            self.at(
                step,
                Body::Train(TrainMetrics {
                    loss,
                    nonfinite,
                    lr: 1e-3,
                    grad_norm: finite(grad).0,
                    tokens: step,
                    tokens_per_second: 1.0,
                    ..Default::default()
                }),
            )
        }

        fn decision(&mut self, step: u64, reason: DecisionReason, open: bool) -> Option<String> {
            self.at(
                step,
                Body::Decision(Decision {
                    id: step,
                    status: match open {
                        true => DecisionStatus::Open,
                        false => DecisionStatus::Resolved,
                    },
                    reason,
                    evidence: open.then(|| Box::new(evidence())),
                    evidence_step: Some(step),
                    choice: None,
                    by: None,
                }),
            )
        }
    }

    fn evidence() -> Evidence {
        Evidence {
            round: 1,
            layers: 2,
            val_loss: 2.0611,
            stderr: 0.1,
            benchmark: 2.0,
            reference_layers: 4,
            gap: 0.0611,
            gap_stderr: 0.0022,
            tolerance: 0.0,
            matched: false,
            slope_per_1k: None,
            slope_stderr: None,
            plateau: Plateau::InsufficientData,
            forecast: None,
            forecast_grown: None,
            forecasts: Vec::new(),
            lazy_layers: Vec::new(),
            reference_lazy_layers: Vec::new(),
            growth: None,
            costs: Vec::new(),
            rules: Vec::new(),
            suggestion: Suggestion::Grow,
            why: "2 layers are behind".into(),
        }
    }

    #[test]
    fn a_decision_is_one_notice_until_it_is_answered() {
        let mut run = Story::new();
        let wanted = Some("decision: grow suggested, gap +0.0611 ±0.0022".to_string());
        assert_eq!(run.decision(10, DecisionReason::Plateau, true), wanted);
        // Fresh evidence for the same question.
        assert_eq!(run.decision(11, DecisionReason::Plateau, true), None);
        assert_eq!(run.decision(20, DecisionReason::EndOfSteps, true), wanted);
        assert_eq!(run.decision(20, DecisionReason::EndOfSteps, false), None);
        assert_eq!(run.decision(30, DecisionReason::EndOfSteps, true), wanted);
    }

    #[test]
    fn a_decision_says_what_is_expected() {
        let interval = |value: f64| Interval {
            value,
            low: value - 0.01,
            high: value + 0.01,
        };
        let forecast = Forecast {
            prospect: Prospect::AsPlanned,
            at_phase_step: 100,
            final_loss: Some(interval(2.05)),
            final_gap: Some(interval(0.05)),
            verdict: Verdict::WillNotMatch,
            why: "a sentence".into(),
            evaluations_used: 8,
        };
        let evidence = Evidence {
            forecasts: vec![forecast],
            ..evidence()
        };
        assert_eq!(
            describe_decision(&evidence),
            "decision: grow suggested, gap +0.0611 ±0.0022; forecast: gap +0.0500 ±0.0100 at step 100, will not match"
        );
    }

    #[test]
    fn the_best_loss_of_a_round_is_lower_than_those_before() {
        let mut run = Story::new();
        assert_eq!(run.eval(0, 3.0), None, "the first of a phase");
        assert_eq!(
            run.eval(10, 2.5).as_deref(),
            Some("best: val 2.5000 at step 10 of round 1, gap +0.5000 ±0.0020")
        );
        assert_eq!(run.eval(20, 2.5), None);
        assert_eq!(run.eval(30, 2.7), None);
        assert!(run.eval(40, 2.4).is_some());
        run.begin(Phase::Round(2));
        assert_eq!(run.eval(40, 2.3), None, "the first of the next round");
        assert!(run.eval(50, 2.2).is_some());
        // A reader that starts here knows the best value so far.
        run.recogniser = Recogniser::new(&run.run);
        assert_eq!(run.eval(60, 2.25), None);
        assert!(run.eval(70, 2.1).is_some());
        run.begin(Phase::from("control-random"));
        assert_eq!(run.eval(70, 3.0).or(run.eval(80, 1.0)), None, "no round");
    }

    #[test]
    fn a_value_that_is_not_finite_is_a_notice_once() {
        let mut run = Story::new();
        assert_eq!(run.train(1, 2.0, 1.0), None);
        let text = run.train(2, f64::NAN, f64::NAN);
        assert_eq!(
            text.as_deref(),
            Some("nan: the training loss is nan at step 2 of round 1")
        );
        assert_eq!(run.eval(2, f64::NAN), None, "the same step");
        assert_eq!(run.eval(3, f64::NAN), None, "as before");
        assert_eq!(run.train(4, 2.0, 1.0), None);
        let text = run.train(5, 2.0, f64::INFINITY);
        assert_eq!(
            text.as_deref(),
            Some("nan: the gradient is not finite at step 5 of round 1")
        );
        assert!(run.eval(6, 2.0).is_some(), "finite again, and the best");
        let text = run.eval(7, f64::INFINITY);
        assert_eq!(
            text.as_deref(),
            Some("nan: the validation loss is inf at step 7 of round 1")
        );
    }

    #[test]
    fn the_end_is_a_notice_and_messages_are_none() {
        let mut run = Story::new();
        let done = |failed: bool, message: &str| {
            Body::Done(Done {
                outcome: (!failed).then_some(Outcome::Matched),
                failed,
                message: message.into(),
            })
        };
        let message = || "notify done: exit 0, nan, decision".to_string();
        assert_eq!(run.at(1, Body::Log(Log { message: message() })), None);
        assert_eq!(
            run.at(1, Body::Warning(Warning { message: message() })),
            None
        );
        let text = run.at(2, done(false, "4 of 12 layers"));
        assert_eq!(text.as_deref(), Some("done: matched, 4 of 12 layers"));
        let text = run.at(3, done(true, "out of \u{1b}[2Jmemory"));
        assert_eq!(text.as_deref(), Some("failed: out of memory"));
    }

    #[test]
    fn a_rollback_brings_back_what_was_the_best() {
        let mut run = Story::new();
        run.eval(0, 3.0);
        run.eval(10, 2.5);
        let (checkpoint, from_seq) = ("b0".to_string(), run.seq);
        run.eval(20, 2.0);
        let why = "asked for".to_string();
        let rollback = Body::Rollback(Rollback {
            checkpoint,
            from_seq,
            why,
            overruled: Vec::new(),
        });
        assert_eq!(run.at(10, rollback), None);
        assert!(run.eval(20, 2.4).is_some(), "lower than 2.5");
    }
}
