//! The training loss as a number: an exponential average at every bucket of its series, kept as it grows.

use crate::run::series::pyramid::Series;
use crate::run::state::{History, LOSS};

/// Decay of the average per optimizer step.
const DECAY: f64 = 0.98;

/// The average of a run's loss on its live branch.
#[derive(Debug, Clone, Default)]
pub struct Curve {
    live: Average,
}

impl Curve {
    /// Takes in what is new. A model's losses are not averaged with those of the one before.
    pub fn follow(&mut self, history: &History) {
        let live = &history.live;
        self.live.follow(&live.train, &live.phase_starts(), DECAY);
    }

    /// The averaged live loss at bucket `i`.
    pub fn smooth(&self, i: usize) -> f64 {
        self.live.at(i)
    }
}

/// A debiased exponential average that follows a series as it grows, and starts over when the series has changed
/// otherwise.
#[derive(Debug, Clone, Default)]
struct Average {
    generation: u64,
    decay: f64,
    values: Vec<f32>,
    last_seq: u64,
    last_step: u64,
    /// Phase starts passed so far: the average starts over at each.
    phases: usize,
    average: f64,
    weight: f64,
}

impl Average {
    fn follow(&mut self, series: &Series, starts: &[u64], decay: f64) {
        let stretches = series.stretches();
        let seen = self.values.len();
        let other = seen > 0 && stretches.get(seen - 1).map(|s| s.last.seq) != Some(self.last_seq);
        if other || series.generation() != self.generation || decay != self.decay {
            *self = Self {
                decay,
                generation: series.generation(),
                ..Self::default()
            };
        }
        let spans = series.column(LOSS);
        for (s, span) in stretches.iter().zip(spans).skip(self.values.len()) {
            let phases = starts.partition_point(|&seq| seq < s.first.seq);
            if phases != self.phases {
                (self.phases, self.average, self.weight) = (phases, 0.0, 0.0);
            }
            if span.is_finite() {
                // The decay is one step's: a bucket stands for all the steps since the one before.
                let steps = s.last.step.saturating_sub(self.last_step).max(1);
                let decay = self.decay.powf(steps as f64);
                self.average = decay * self.average + (1.0 - decay) * span.value();
                self.weight = decay * self.weight + (1.0 - decay);
            }
            // Nothing finite yet: 0/0, a bucket that is not drawn.
            self.values.push((self.average / self.weight) as f32);
            (self.last_seq, self.last_step) = (s.last.seq, s.last.step);
        }
    }

    fn at(&self, i: usize) -> f64 {
        self.values.get(i).map_or(f64::NAN, |&v| f64::from(v))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::series::pyramid::Place;

    fn push(series: &mut Series, seq: u64, step: u64, loss: f64) {
        let place = Place {
            seq,
            step,
            tokens: step,
            elapsed: step as f64,
        };
        if series.push(place, &[loss]) {
            series.gather(&[]);
        }
    }

    fn series(points: u64, loss: impl Fn(u64) -> f64) -> Series {
        let mut series = Series::default();
        for i in 0..points {
            push(&mut series, i + 1, i, loss(i));
        }
        series
    }

    #[test]
    fn the_average_is_debiased_and_starts_over_after_a_cut() {
        let mut series = series(10, |_| 3.0);
        let mut average = Average::default();
        average.follow(&series, &[], 0.98);
        assert!((average.at(0) - 3.0).abs() < 1e-6);
        series.split_off(2);
        for i in 0..3 {
            push(&mut series, 100 + i, 2 + i, 1.0);
        }
        average.follow(&series, &[], 0.98);
        let mut fresh = Average::default();
        fresh.follow(&series, &[], 0.98);
        assert_eq!(average.values, fresh.values);
        assert!(average.at(4) < 2.5);
    }

    #[test]
    fn a_new_phase_starts_a_new_average() {
        let series = series(20, |i| if i < 10 { 9.0 } else { 1.0 });
        let mut average = Average::default();
        average.follow(&series, &[10], 0.98);
        assert!((average.at(9) - 9.0).abs() < 1e-6);
        assert!((average.at(10) - 1.0).abs() < 1e-6);
    }

    #[test]
    fn the_average_over_buckets_is_that_over_points() {
        let loss = |i: u64| 2.0 + 3.0 * (-(i as f64) / 40_000.0).exp() + 0.1 * (i % 7) as f64;
        let series = series(300_000, loss);
        let mut average = Average::default();
        average.follow(&series, &[], 0.999);
        let (mut exact, mut weight, mut at) = (0.0, 0.0, 0);
        let mut worst: f64 = 0.0;
        for i in 0..300_000 {
            exact = 0.999 * exact + 0.001 * loss(i);
            weight = 0.999 * weight + 0.001;
            if series.stretches()[at].last.step == i {
                worst = worst.max((average.at(at) - exact / weight).abs());
                at += 1;
            }
        }
        assert_eq!(at, series.len());
        assert!(worst < 0.05, "{worst}");
    }

    #[test]
    fn an_unchanged_series_is_only_extended() {
        let mut series = series(100, |_| 3.0);
        let mut average = Average::default();
        average.follow(&series, &[], 0.9);
        average.values[0] = 7.0;
        push(&mut series, 101, 100, 3.0);
        average.follow(&series, &[], 0.9);
        assert_eq!((average.values.len(), average.values[0]), (101, 7.0));
    }
}
