//! The training loss prepared for drawing: running minima and maxima per block, so that a million points cost no more
//! than the columns of the screen, and an exponential average.

use crate::run::state::TrainPoint;

/// Points per block.
const BLOCK: usize = 256;

/// Follows `RunState::train` as it grows; starts over when a resume has cut it back.
#[derive(Debug, Clone, Default)]
pub struct Curve {
    seen: usize,
    last_seq: u64,
    last_step: u64,
    blocks: Vec<(f64, f64)>,
    decay: f64,
    /// Phase starts passed so far: the average begins anew at each.
    phases: usize,
    /// Debiased exponential average at every point.
    smooth: Vec<f32>,
    average: f64,
    weight: f64,
}

impl Curve {
    /// Takes in what is new; `decay` is that of one optimizer step, 0 means no smoothing. `starts` holds the event numbers at which phases began: a
    /// model's losses are not averaged with those of the one before.
    pub fn follow(&mut self, points: &[TrainPoint], starts: &[u64], decay: f64) {
        let cut = self.seen > points.len()
            || (self.seen > 0 && points[self.seen - 1].seq != self.last_seq);
        if cut || decay != self.decay {
            *self = Self {
                decay,
                ..Self::default()
            };
        }
        for p in &points[self.seen..] {
            if self.seen.is_multiple_of(BLOCK) {
                self.blocks.push((f64::INFINITY, f64::NEG_INFINITY));
            }
            let phases = starts.partition_point(|&seq| seq < p.seq);
            if phases != self.phases {
                (self.phases, self.average, self.weight) = (phases, 0.0, 0.0);
            }
            if p.loss.is_finite() {
                if let Some((low, high)) = self.blocks.last_mut() {
                    *low = low.min(p.loss);
                    *high = high.max(p.loss);
                }
                // The decay is one step's: a point stands for all the steps since the one before.
                let steps = p.step.saturating_sub(self.last_step).max(1);
                let decay = self.decay.powf(steps as f64);
                self.average = decay * self.average + (1.0 - decay) * p.loss;
                self.weight = decay * self.weight + (1.0 - decay);
            }
            // Nothing finite yet: 0/0, a point that is not drawn.
            self.smooth.push((self.average / self.weight) as f32);
            self.seen += 1;
            (self.last_seq, self.last_step) = (p.seq, p.step);
        }
    }

    /// Least and greatest loss among points `from..to`; `None` when none is finite.
    pub fn range(&self, points: &[TrainPoint], from: usize, to: usize) -> Option<(f64, f64)> {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        let mut i = from;
        while i < to {
            if i.is_multiple_of(BLOCK) && i + BLOCK <= to {
                let (l, h) = self.blocks[i / BLOCK];
                (low, high) = (low.min(l), high.max(h));
                i += BLOCK;
            } else {
                let loss = points[i].loss;
                if loss.is_finite() {
                    (low, high) = (low.min(loss), high.max(loss));
                }
                i += 1;
            }
        }
        (low <= high).then_some((low, high))
    }

    /// The averaged loss at point `i`.
    pub fn smooth(&self, i: usize) -> f64 {
        f64::from(self.smooth[i])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(i: u64, loss: f64) -> TrainPoint {
        TrainPoint {
            seq: i + 1,
            step: i,
            tokens: i,
            elapsed: i as f64,
            loss,
        }
    }

    #[test]
    fn a_single_spike_in_a_million_points_is_kept() {
        let mut points: Vec<_> = (0..1_000_000).map(|i| point(i, 2.0)).collect();
        points[777_777].loss = 9.5;
        points[5].loss = f64::NAN;
        let mut curve = Curve::default();
        curve.follow(&points, &[], 0.9);
        assert_eq!(curve.range(&points, 0, 1_000_000), Some((2.0, 9.5)));
        assert_eq!(curve.range(&points, 777_000, 778_001), Some((2.0, 9.5)));
        assert_eq!(curve.range(&points, 0, 777_777), Some((2.0, 2.0)));
        assert_eq!(curve.range(&points, 5, 6), None);
    }

    #[test]
    fn the_average_is_debiased_and_starts_over_after_a_cut() {
        let points: Vec<_> = (0..10).map(|i| point(i, 3.0)).collect();
        let mut curve = Curve::default();
        curve.follow(&points, &[], 0.98);
        assert!((curve.smooth(0) - 3.0).abs() < 1e-6);
        let other: Vec<_> = (0..4)
            .map(|i| TrainPoint {
                seq: 100 + i,
                ..point(i, 1.0)
            })
            .collect();
        curve.follow(&other, &[], 0.98);
        assert!((curve.smooth(3) - 1.0).abs() < 1e-6);
    }

    #[test]
    fn a_new_phase_starts_a_new_average() {
        let mut points: Vec<_> = (0..10).map(|i| point(i, 9.0)).collect();
        points.extend((10..20).map(|i| point(i, 1.0)));
        let mut curve = Curve::default();
        curve.follow(&points, &[10], 0.98);
        assert!((curve.smooth(9) - 9.0).abs() < 1e-6);
        assert!((curve.smooth(10) - 1.0).abs() < 1e-6);
    }
}
