//! Learning-rate schedules.

use crate::config::Schedule;
use crate::run::event;

/// A warm-up and a decay over a phase.
#[derive(Debug, Clone, Copy, PartialEq)]
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

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(kind: Schedule) -> LearningRate {
        LearningRate {
            kind,
            peak: 1.0,
            min: 0.1,
            warmup: 10,
            steps: 110,
        }
    }

    #[test]
    fn every_schedule_warms_up_and_ends_where_it_should() {
        for kind in [
            Schedule::Cosine,
            Schedule::Linear,
            Schedule::Constant,
            Schedule::Wsd,
        ] {
            let lr = rate(kind);
            assert!((lr.at(0) - 0.1).abs() < 1e-12);
            assert!((lr.at(9) - 1.0).abs() < 1e-12);
            let end = if kind == Schedule::Constant { 1.0 } else { 0.1 };
            assert_eq!(lr.at(110), end);
            assert_eq!(lr.at(10_000), end);
            assert!(
                (lr.at(109) - end).abs() < 0.05,
                "{kind:?} has almost arrived"
            );
        }
    }

    #[test]
    fn the_middle_of_each_schedule() {
        assert!((rate(Schedule::Cosine).at(60) - 0.55).abs() < 1e-12);
        assert!((rate(Schedule::Linear).at(60) - 0.55).abs() < 1e-12);
        assert_eq!(rate(Schedule::Wsd).at(60), 1.0);
        assert!((rate(Schedule::Wsd).at(99) - 0.55).abs() < 1e-12);
    }
}
