//! Forecasts of curves whose end is known, because a law made them: L = L0 + A S1^-a - C S2.

use super::*;
use crate::config::Schedule;
use crate::run::event::{Forecast, Interval};
use crate::run::schedule::{Course, LearningRate};

const STEPS: u64 = 20_000;
const EVERY: u64 = 200;
const PEAK: f64 = 3e-4;
/// Standard deviation of an evaluation, in nats.
const SCATTER: f64 = 0.003;

/// Numbers that look random and are the same every time (SplitMix64).
struct Numbers(u64);

impl Numbers {
    /// Returns a number from 0 to 1.
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.uniform()
    }

    fn normal(&mut self, mean: f64, deviation: f64) -> f64 {
        let sum: f64 = (0..12).map(|_| self.uniform()).sum();
        mean + deviation * (sum - 6.0)
    }
}

/// The constants of a law. `gain` is the effect of annealing from the peak to nothing: C = gain / peak.
#[derive(Clone, Copy)]
struct Law {
    constant: f64,
    factor: f64,
    exponent: f64,
    gain: f64,
}

const REFERENCE: Law = Law {
    constant: 2.5,
    factor: 0.9,
    exponent: 0.45,
    gain: 0.2,
};
/// A round that begins with a part of the reference's layers.
const ROUND: Law = Law {
    constant: 2.55,
    factor: 0.6,
    ..REFERENCE
};

impl Law {
    /// The losses at steps.
    fn losses(&self, course: &Course, steps: &[u64]) -> Vec<f64> {
        let sums = course.sums(steps).expect("a schedule");
        let loss = |s: &crate::run::schedule::Sums| {
            let annealed = self.gain / PEAK * s.annealing;
            self.constant + self.factor * s.rates.powf(-self.exponent) - annealed
        };
        sums.iter().map(loss).collect()
    }

    fn at(&self, course: &Course, step: u64) -> f64 {
        self.losses(course, &[step])[0]
    }

    /// Evaluations up to `end` with scatter.
    fn evaluations(&self, course: &Course, end: u64, scatter: f64, seed: u64) -> Vec<(u64, f64)> {
        let steps: Vec<u64> = (1..=end / EVERY).map(|i| i * EVERY).collect();
        let losses = self.losses(course, &steps);
        let mut numbers = Numbers(seed);
        let scattered = losses
            .iter()
            .map(|loss| loss + numbers.normal(0.0, scatter));
        steps.iter().copied().zip(scattered).collect()
    }
}

fn schedule(kind: Schedule) -> LearningRate {
    LearningRate {
        kind,
        peak: PEAK,
        min: PEAK / 30.0,
        warmup: STEPS / 50,
        steps: STEPS,
    }
}

fn planned(kind: Schedule) -> Course {
    Course::planned(schedule(kind))
}

/// A finished phase of a law.
fn finished(law: Law, kind: Schedule, is_cold: bool) -> Curve {
    let course = planned(kind);
    let all = law.evaluations(&course, STEPS, SCATTER, 1);
    Curve::new(all, course, is_cold)
}

fn ask(curve: &Curve, templates: &[(&str, &Curve)], to: u64) -> Forecast {
    let templates: Vec<Template<'_>> = templates
        .iter()
        .map(|&(name, curve)| Template { name, curve })
        .collect();
    Question {
        curve,
        templates: &templates,
        to,
        benchmark: Some(2.8),
        tolerance: 0.0,
    }
    .answer()
}

#[track_caller]
fn close(name: &str, forecast: &Forecast, truth: f64, tolerance: f64) {
    let Some(Interval { value, low, high }) = forecast.final_loss else {
        panic!("{name}: {}", forecast.why);
    };
    let off = value - truth;
    assert!(off.abs() <= tolerance, "{name}: off by {off:+.4}");
    assert!(
        low <= truth && truth <= high,
        "{name}: {truth:.4} is not in {low:.4} to {high:.4}"
    );
}

/// A phase as it is known at `at`, whose loss at `to` is asked for.
struct Case {
    name: &'static str,
    law: Law,
    course: Course,
    at: u64,
    to: u64,
    /// Nats by which the forecast may be off.
    tolerance: f64,
    /// Changes the evaluations before the forecast.
    change: fn(&mut Vec<(u64, f64)>),
}

impl Case {
    fn of(name: &'static str, kind: Schedule) -> Self {
        Self {
            name,
            law: ROUND,
            course: planned(kind),
            at: STEPS / 4,
            to: STEPS,
            tolerance: 0.01,
            change: |_| {},
        }
    }

    fn check(&self, templates: &[(&str, &Curve)]) {
        let mut evaluations = self.law.evaluations(&self.course, self.at, SCATTER, 7);
        (self.change)(&mut evaluations);
        let curve = Curve::new(evaluations, self.course.clone(), false);
        let truth = self.law.at(&self.course, self.to);
        close(
            self.name,
            &ask(&curve, templates, self.to),
            truth,
            self.tolerance,
        );
    }
}

#[test]
fn every_schedule_is_forecast_by_a_reference_of_the_same() {
    for kind in Schedule::ALL {
        let reference = finished(REFERENCE, kind, true);
        Case::of(kind.name(), kind).check(&[("the reference", &reference)]);
    }
}

#[test]
fn what_happens_to_a_phase_is_taken_in() {
    let cosine = schedule(Schedule::Cosine);
    let reference = finished(REFERENCE, Schedule::Cosine, true);
    let round_1 = finished(ROUND, Schedule::Cosine, false);
    let case = |name| Case::of(name, Schedule::Cosine);
    let changed = |change: &dyn Fn(&mut Course)| {
        let mut course = planned(Schedule::Cosine);
        change(&mut course);
        course
    };
    // A new model with a higher start, and one that begins where the round before ended.
    let restart = Law {
        constant: 2.45,
        factor: 0.8,
        ..ROUND
    };
    let keep = Law {
        constant: 2.5,
        factor: 0.2,
        ..ROUND
    };
    let longer = LearningRate {
        steps: STEPS * 3 / 2,
        ..cosine
    };
    let cooled = STEPS * 3 / 5;
    let cases = [
        Case {
            law: restart,
            ..case("restart")
        },
        Case {
            law: keep,
            tolerance: 0.015,
            ..case("keep")
        },
        Case {
            course: changed(&|c| c.follow(STEPS / 4, longer)),
            at: STEPS * 3 / 4,
            to: longer.steps,
            tolerance: 0.03,
            ..case("extension")
        },
        Case {
            course: changed(&|c| c.see(STEPS / 4, 0.5 * cosine.at(STEPS / 4))),
            at: STEPS / 2,
            tolerance: 0.03,
            ..case("set lr")
        },
        Case {
            course: changed(&|c| c.cool_down(cooled, 2000, cosine.at(cooled), 0.0)),
            at: cooled + 1000,
            to: cooled + 2000,
            tolerance: 0.02,
            ..case("cooldown")
        },
        Case {
            // A branch that was left, which had diverged.
            change: |all| {
                let again = all.split_off(all.len() / 2);
                let left = again.iter().map(|&(step, loss)| (step, loss + 1.0));
                all.extend(left.chain(again.clone()).collect::<Vec<_>>());
            },
            ..case("rollback")
        },
        Case {
            change: |all| all[9].1 = f64::NAN,
            ..case("NaN in between")
        },
        Case {
            change: |all| all.retain(|&(step, _)| step % 400 == 0 && !(1500..3000).contains(&step)),
            tolerance: 0.015,
            ..case("missing evaluations")
        },
        Case {
            change: |all| {
                let twice = all
                    .iter()
                    .flat_map(|&(step, loss)| [(step, loss + 0.2), (step, loss)]);
                *all = twice.collect();
            },
            ..case("repeated steps")
        },
    ];
    for case in &cases {
        case.check(&[("round 1", &round_1), ("the reference", &reference)]);
        case.check(&[("the reference", &reference)]);
    }
}

#[test]
fn a_reference_that_ended_early_still_shows_what_annealing_brings() {
    let reference = finished(REFERENCE, Schedule::Cosine, true).until(STEPS * 4 / 5);
    let case = Case {
        at: STEPS / 2,
        tolerance: 0.04,
        ..Case::of("ended early", Schedule::Cosine)
    };
    case.check(&[("the reference", &reference)]);
}

#[test]
fn the_loss_is_of_use_without_a_reference_only_when_most_of_the_fall_is_seen() {
    let case = Case {
        at: STEPS * 3 / 4,
        tolerance: 0.05,
        ..Case::of("loaded reference", Schedule::Cosine)
    };
    case.check(&[]);
}

/// Name, curve, template, reason.
type Refused<'a> = (&'a str, Curve, Option<(&'a str, &'a Curve)>, &'a str);

#[test]
fn what_cannot_be_forecast_is_refused_in_a_sentence() {
    let course = planned(Schedule::Cosine);
    let reference = finished(REFERENCE, Schedule::Cosine, true);
    let other = finished(REFERENCE, Schedule::Wsd, true);
    let known = |at| ROUND.evaluations(&course, at, SCATTER, 7);
    let curve = |all: Vec<(u64, f64)>| Curve::new(all, course.clone(), false);
    let mut broken = known(STEPS / 2);
    broken.last_mut().unwrap().1 = f64::NAN;
    let idle = Course::planned(LearningRate {
        peak: 0.0,
        min: 0.0,
        ..schedule(Schedule::Constant)
    });
    let unknown = Curve::new(known(STEPS / 2), Course::default(), false);
    let noisy: Vec<(u64, f64)> = known(STEPS / 5)
        .iter()
        .enumerate()
        .map(|(i, &(step, loss))| (step, loss + if i % 2 == 0 { 0.3 } else { -0.3 }))
        .collect();
    let same = Some(("the reference", &reference));
    let cases: [Refused<'_>; 9] = [
        (
            "NaN",
            curve(broken),
            same,
            "the latest evaluation is not finite",
        ),
        (
            "no evaluation",
            curve(Vec::new()),
            same,
            "nothing has been evaluated yet",
        ),
        ("past", curve(known(STEPS)), same, "step 20,000 is past"),
        (
            "few evaluations",
            curve(known(STEPS / 20 + 3 * EVERY)),
            same,
            "3 evaluations after the first 5 % of 20,000 steps, and a forecast needs 4",
        ),
        (
            "one evaluation",
            curve(known(STEPS / 20 + EVERY)),
            same,
            "1 evaluation after the first 5 % of 20,000 steps, and a forecast needs 4",
        ),
        (
            "rates that are not known",
            unknown,
            same,
            "the learning rates of this phase are not known",
        ),
        (
            "rates of 0",
            Curve::new(known(STEPS / 2), idle, false),
            same,
            "the learning rate is 0",
        ),
        (
            "another schedule",
            curve(noisy.clone()),
            Some(("the reference", &other)),
            "the reference ran another schedule",
        ),
        (
            "no curve",
            curve(noisy),
            None,
            "no finished phase shows the effect of annealing",
        ),
    ];
    for (name, curve, template, why) in cases {
        let forecast = ask(&curve, template.as_slice(), STEPS);
        assert_eq!(forecast.final_loss, None, "{name}");
        assert_eq!(forecast.why, format!("insufficient data: {why}"), "{name}");
    }
}

/// A reference and a smaller model with the spread of published pairs.
fn pair(numbers: &mut Numbers, is_cold: bool) -> (Law, Law) {
    let reference = Law {
        constant: numbers.between(2.0, 3.0),
        factor: numbers.between(0.4, 1.5),
        exponent: numbers.between(0.35, 0.6),
        gain: numbers.between(0.1, 0.25),
    };
    let (share, spread, factor) = match is_cold {
        true => (0.9, 0.12, numbers.between(0.9, 1.15)),
        false => (0.97, 0.05, numbers.between(0.3, 0.8)),
    };
    let target = Law {
        constant: reference.constant + numbers.normal(0.03, 0.05),
        factor: factor * reference.factor,
        exponent: reference.exponent * numbers.normal(0.0, 0.1).exp(),
        gain: reference.gain * numbers.normal(share, spread),
    };
    (reference, target)
}

#[test]
fn nine_of_ten_intervals_hold_what_a_law_comes_to() {
    let mut numbers = Numbers(20_240_829);
    let course = planned(Schedule::Cosine);
    let (mut held, mut all) = (0.0, 0.0);
    for i in 0..240u64 {
        let is_cold = i % 3 == 2;
        let (reference, target) = pair(&mut numbers, is_cold);
        let scatter = numbers.between(0.003, 0.015);
        let seed = 2 * i;
        let reference = reference.evaluations(&course, STEPS, scatter, seed);
        let reference = Curve::new(reference, course.clone(), true);
        let share = [0.2, 0.3, 0.5, 0.7][(i / 3 % 4) as usize];
        let known = target.evaluations(&course, (share * STEPS as f64) as u64, scatter, seed + 1);
        let curve = Curve::new(known, course.clone(), is_cold);
        let forecast = ask(&curve, &[("the reference", &reference)], STEPS);
        let interval = forecast.final_loss.expect("enough evaluations");
        let truth = target.at(&course, STEPS);
        let is_held = interval.low <= truth && truth <= interval.high;
        held += f64::from(u8::from(is_held));
        all += 1.0;
        // For --nocapture.
        println!(
            "{share} {} off by {:+.4} of {:.4}, {}",
            if is_cold { "cold" } else { "warm" },
            interval.value - truth,
            interval.half_width(),
            if is_held { "held" } else { "missed" },
        );
    }
    let share = held / all;
    println!("{held} of {all} held");
    assert!((0.80..=0.98).contains(&share), "{held} of {all}");
}

#[test]
fn a_plateau_is_likely_only_where_nothing_is_to_come() {
    let reference = finished(REFERENCE, Schedule::Cosine, true);
    let round = finished(ROUND, Schedule::Cosine, false);
    let end = round.points().last().unwrap().1;
    let mut likely = 0;
    for at in (2000..STEPS).step_by(1000) {
        let known = round.until(at);
        let forecast = ask(&known, &[("the reference", &reference)], STEPS);
        if plateau(&known, &forecast) == crate::run::event::Plateau::Likely {
            likely += 1;
            let fall = known.last().unwrap().1 - end;
            assert!(fall <= PLATEAU, "{fall} to come at step {at}");
        }
    }
    assert!(likely > 0, "the end of a cosine is flat");
}
