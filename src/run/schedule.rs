//! Learning rates over the steps of a phase: as a schedule plans them, and as they were really used.

use serde::{Deserialize, Serialize};

use super::event::foreign::{MOST_COUNTED, counted};
use super::event::{self, Phase};
use crate::config::{Config, Schedule};

/// A warm-up and a decay over a phase.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LearningRate {
    pub kind: Schedule,
    pub peak: f64,
    /// Learning rate at the end, and past it.
    pub min: f64,
    /// Steps of linear warm-up.
    pub warmup: u64,
    /// Steps of the phase.
    pub steps: u64,
}

impl LearningRate {
    /// Returns it as the `phase` event has it.
    pub fn to_event(self) -> event::Schedule {
        event::Schedule {
            kind: self.kind.name().into(),
            peak: self.peak,
            min: self.min,
            warmup: self.warmup,
            steps: self.steps,
        }
    }

    /// The learning rate of a phase of `steps`; the reference's own where `[reference.train]` sets it.
    pub fn of_phase(config: &Config, phase: &Phase, steps: u64) -> Self {
        let t = &config.train;
        let reference = match phase {
            Phase::Reference => config.reference.train.as_ref(),
            _ => None,
        };
        let own = reference.and_then(|r| r.lr);
        let peak = own.unwrap_or(t.lr);
        // A reference with a peak of its own does not share the rounds' floor unless it sets one.
        let shared = if own.is_some() { None } else { t.min_lr };
        let min = reference.and_then(|r| r.min_lr).or(shared);
        let warmup = reference.and_then(|r| r.warmup).unwrap_or(t.warmup);
        Self {
            kind: reference.and_then(|r| r.schedule).unwrap_or(t.schedule),
            peak,
            min: min.unwrap_or(peak / 10.0),
            warmup: warmup.min(steps),
            steps,
        }
    }

    /// Reads a `phase` event's schedule; `None` for a kind that this program does not know, or rates that are not numbers
    /// of 0 or more.
    pub fn of_event(schedule: &event::Schedule) -> Option<Self> {
        let rate = |lr: f64| lr.is_finite() && lr >= 0.0;
        (rate(schedule.peak) && rate(schedule.min)).then_some(())?;
        Some(Self {
            kind: Schedule::of_name(&schedule.kind)?,
            peak: schedule.peak,
            min: schedule.min,
            warmup: schedule.warmup,
            steps: schedule.steps,
        })
    }

    /// Learning rate of the update that follows `step` finished ones. Past the end: the last value (`min`, or the
    /// peak of a constant schedule).
    pub fn at(&self, step: u64) -> f64 {
        if step < self.warmup {
            return self.peak * (step + 1) as f64 / self.warmup as f64;
        }
        if step >= self.steps {
            return match self.kind {
                Schedule::Constant => self.peak,
                _ => self.min,
            };
        }
        let done = (step - self.warmup) as f64 / (self.steps - self.warmup) as f64;
        let fall = self.peak - self.min;
        match self.kind {
            Schedule::Constant => self.peak,
            Schedule::Linear => self.peak - fall * done,
            Schedule::Cosine => self.min + fall * 0.5 * (1.0 + (std::f64::consts::PI * done).cos()),
            Schedule::Wsd => {
                // Warm up, stay, decay: linear over the last fifth of the phase.
                let left = (self.steps - step) as f64 / (0.2 * self.steps as f64);
                self.min + fall * left.min(1.0)
            }
        }
    }
}

/// Relative difference from which on a rate is another one than the schedule's. Journals print rates in full, answers with
/// four figures.
const SAME: f64 = 1e-3;
/// Changes of a phase's rates that are kept: far more than operators make. Later ones replace the last.
const MOST_CHANGES: usize = 256;

/// The learning rates of a phase: what is planned, and how that was changed while it ran.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Course {
    /// `None` where only the rates that were used are known, of which `seen` has some.
    schedule: Option<LearningRate>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    changes: Vec<Change>,
    /// Steps and their rates, ascending.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    seen: Vec<(u64, f64)>,
}

/// A change of the learning rates from a step on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Change {
    /// The planned rates are multiplied by `factor`.
    Scale { from: u64, factor: f64 },
    /// The rate falls linearly from `first`, which is the rate before the first of `steps` updates, to `last`.
    Cooldown {
        from: u64,
        steps: u64,
        first: f64,
        last: f64,
    },
    /// Another schedule, whose rates are used from here on: a resume may change the schedule.
    Schedule { from: u64, schedule: LearningRate },
}

/// Sums over the learning rates up to a step, which the loss follows (momentum law, arXiv 2408.11029).
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Sums {
    /// S1: the sum of the rates.
    pub rates: f64,
    /// (1 - λ) S2, where S2 is the sum over steps of m_i = λ m_(i-1) + (η_(i-1) - η_i): how far the rates have been
    /// annealed, smoothed. It comes to the fall of the rates, whatever the number of steps.
    pub annealing: f64,
}

/// 1/(1 - λ) of [`Sums::annealing`] in steps, the time that the loss takes to follow the rates; and the largest share of a schedule that
/// this time may take, since the loss of short trainings follows sooner.
const RELAXATION: f64 = 1000.0;
const MOST_RELAXATION: f64 = 0.1;
/// Most steps whose sums are computed one by one. In longer phases, blocks of steps are summed together, over which the rates are assumed
/// to be linear.
const MOST_BLOCKS: u64 = 1 << 15;

/// Steps of a phase at which rates are compared.
const SAMPLES: u64 = 256;
/// Difference of rates, as a share of the highest, up to which two phases are taken to have run the same schedule.
const ALIKE: f64 = 0.02;

/// At most [`SAMPLES`] steps of the first `steps`, the first and the last among them.
fn samples(steps: u64) -> impl Iterator<Item = u64> {
    let last = steps.saturating_sub(1);
    let n = SAMPLES.min(steps).max(1);
    (0..n).map(move |i| (last as f64 * i as f64 / (n - 1).max(1) as f64).round() as u64)
}

impl Course {
    /// The rates of a schedule that was not changed.
    pub fn planned(schedule: LearningRate) -> Self {
        Self {
            schedule: Some(schedule),
            ..Self::default()
        }
    }

    /// The schedule that is followed last, where it is known.
    pub fn schedule(&self) -> Option<LearningRate> {
        let later = self.changes.iter().rev().find_map(|change| match change {
            Change::Schedule { schedule, .. } => Some(*schedule),
            _ => None,
        });
        later.or(self.schedule)
    }

    /// Follows a schedule from the update after `step` finished ones on, with the factor that rates have been changed by.
    pub fn follow(&mut self, step: u64, schedule: LearningRate) {
        if self.schedule() == Some(schedule) {
            return;
        }
        match self.schedule {
            Some(_) if step > 0 => self.change(Change::Schedule {
                from: step,
                schedule,
            }),
            _ => {
                self.schedule = Some(schedule);
                self.seen.clear();
            }
        }
    }

    /// Takes in the rate of the update that follows `step` finished ones, which may be another than the planned one.
    pub fn see(&mut self, step: u64, rate: f64) {
        if !(rate.is_finite() && rate >= 0.0) {
            return;
        }
        if self.schedule.is_none() {
            // Old journals without a config: a phase of many steps is thinned out.
            if self.seen.len() >= 2 * MOST_CHANGES {
                let mut i = 0;
                self.seen.retain(|_| {
                    i += 1;
                    i % 2 == 1
                });
            }
            if self.seen.last().is_none_or(|last| last.0 < step) {
                self.seen.push((step, rate));
            }
            return;
        }
        let is_same = |planned: f64| (planned - rate).abs() <= SAME * planned.max(rate);
        if self.at(step).is_some_and(is_same) {
            return;
        }
        let base = self.unscaled(step);
        if base > 0.0 {
            self.change(Change::Scale {
                from: step,
                factor: rate / base,
            });
        }
    }

    /// Lets the rate fall linearly from `first` to `last` over `steps` updates from `step` on.
    pub fn cool_down(&mut self, step: u64, steps: u64, first: f64, last: f64) {
        self.change(Change::Cooldown {
            from: step,
            steps: steps.max(1),
            first,
            last,
        });
    }

    fn change(&mut self, change: Change) {
        if self.changes.len() >= MOST_CHANGES {
            self.changes.pop();
        }
        self.changes.push(change);
    }

    /// Whether it holds no more than a fold keeps, and only numbers that schedules have.
    pub fn is_sound(&self) -> bool {
        let schedule = |s: &LearningRate| {
            counted("", s.steps).is_ok()
                && counted("", s.warmup).is_ok()
                && s.peak.is_finite()
                && s.min.is_finite()
        };
        let change = |change: &Change| match change {
            Change::Scale { from, factor } => counted("", *from).is_ok() && factor.is_finite(),
            Change::Cooldown {
                from,
                steps,
                first,
                last,
            } => {
                counted("", *from).is_ok()
                    && (1..=MOST_COUNTED).contains(steps)
                    && first.is_finite()
                    && last.is_finite()
            }
            Change::Schedule { from, schedule: s } => counted("", *from).is_ok() && schedule(s),
        };
        self.schedule.iter().all(schedule)
            && self.changes.len() <= MOST_CHANGES
            && self.changes.iter().all(change)
            && self.seen.len() <= 2 * MOST_CHANGES
            && self
                .seen
                .iter()
                .all(|s| counted("", s.0).is_ok() && s.1.is_finite())
    }

    /// Whether an operator, or another config, has changed the planned rates.
    pub fn is_changed(&self) -> bool {
        !self.changes.is_empty()
    }

    /// Learning rate of the update that follows `step` finished ones; `None` where it is not known.
    pub fn at(&self, step: u64) -> Option<f64> {
        if self.schedule.is_none() {
            let i = self.seen.partition_point(|seen| seen.0 <= step);
            let after = self.seen.get(i);
            return match (i.checked_sub(1).map(|i| self.seen[i]), after) {
                (None, first) => first.map(|seen| seen.1),
                (Some((at, rate)), _) if at == step => Some(rate),
                (Some((at, rate)), Some(&(next, other))) => {
                    let share = (step - at) as f64 / (next - at) as f64;
                    Some(rate + share * (other - rate))
                }
                // What comes after the last one seen is not known.
                (Some(_), None) => None,
            };
        }
        let mut factor = 1.0;
        for change in self.changes.iter().rev() {
            match *change {
                Change::Scale { from, factor: f } if from <= step => {
                    factor = f;
                    break;
                }
                Change::Cooldown { from, .. } if from <= step => break,
                _ => {}
            }
        }
        Some(factor * self.unscaled(step))
    }

    /// The rate without the factor of the last [`Change::Scale`].
    fn unscaled(&self, step: u64) -> f64 {
        let base = self.changes.iter().rev().find_map(|change| match *change {
            Change::Cooldown {
                from,
                steps,
                first,
                last,
            } if from <= step => {
                let taken = (step - from).saturating_add(1).min(steps);
                let share = taken as f64 / steps as f64;
                Some(first * (1.0 - share) + last * share)
            }
            Change::Schedule { from, schedule } if from <= step => Some(schedule.at(step)),
            _ => None,
        });
        let planned = || self.schedule.map_or(0.0, |schedule| schedule.at(step));
        base.unwrap_or_else(planned)
    }

    /// The highest rate of the first `steps` updates, looked for at [`SAMPLES`] of them; `None` where one is not known.
    pub fn peak(&self, steps: u64) -> Option<f64> {
        let mut rates = samples(steps).map(|step| self.at(step));
        rates.try_fold(0.0f64, |most, rate| Some(most.max(rate?)))
    }

    /// Whether the first `steps` updates have the same rates in both, to [`ALIKE`] of the highest.
    pub fn is_like(&self, other: &Self, steps: u64) -> bool {
        let Some(peak) = self.peak(steps) else {
            return false;
        };
        samples(steps).all(|step| match (self.at(step), other.at(step)) {
            (Some(a), Some(b)) => (a - b).abs() <= ALIKE * peak,
            _ => false,
        })
    }

    /// The sums after each of `steps` (ascending numbers of finished updates); `None` where a rate is not known.
    ///
    /// The rise of the first warm-up counts for S1 alone: S2 begins with the first fall.
    pub fn sums(&self, steps: &[u64]) -> Option<Vec<Sums>> {
        let last = *steps.last()?;
        let block = last.div_ceil(MOST_BLOCKS).max(1);
        let planned = self.schedule.map_or(last, |schedule| schedule.steps);
        let relaxation = RELAXATION.min(MOST_RELAXATION * planned as f64).max(1.0);
        let lambda = 1.0 - 1.0 / relaxation;
        let kept_by_block = lambda.powf(block as f64);
        let (mut sums, mut momentum, mut has_fallen) = (Sums::default(), 0.0, false);
        let (mut done, mut rate) = (0u64, None);
        let mut all = Vec::with_capacity(steps.len());
        for &step in steps {
            while done < step {
                let n = block.min(step - done);
                // The block's last update; rates within the block are assumed to be linear.
                let new = self.at(done + n - 1)?;
                let before = rate.replace(new).unwrap_or(new);
                let count = n as f64;
                sums.rates += match n {
                    1 => new,
                    _ => count * (before + new) / 2.0 + (new - before) / 2.0,
                };
                let fall = before - new;
                has_fallen |= fall > 0.0;
                if has_fallen {
                    let kept = match n == block {
                        true => kept_by_block,
                        false => lambda.powf(count),
                    };
                    let weights = lambda * (1.0 - kept) * relaxation;
                    let each = fall / count;
                    let sum = momentum * weights + each * relaxation * (count - weights);
                    sums.annealing += sum / relaxation;
                    momentum = kept * momentum + each * (1.0 - kept) * relaxation;
                }
                done += n;
            }
            all.push(sums);
        }
        Some(all)
    }
}

#[cfg(test)]
mod tests;
