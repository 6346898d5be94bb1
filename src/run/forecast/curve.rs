//! A phase's evaluations and its learning rates, as forecasts see them.

use crate::run::schedule::{Course, Sums};

/// Most points in a fit: of more evaluations, neighbours are averaged.
const MOST_POINTS: usize = 192;

/// The validation loss over a phase, and the rates it ran with.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Curve {
    /// Steps and losses in nats, ascending, all finite.
    points: Vec<(u64, f64)>,
    course: Course,
    /// Whether the model started from random weights.
    is_cold: bool,
    /// The latest evaluation was not finite.
    broken: bool,
}

/// A point of a [`Curve`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    pub step: f64,
    pub loss: f64,
    /// Interpolated where neighbours were averaged.
    pub sums: Sums,
}

impl Curve {
    /// Takes evaluations as (step of the phase, loss), in the order in which they were made. One of an earlier step takes the
    /// place of those from that step on: training went back. What is not finite is left out.
    pub fn new(
        evaluations: impl IntoIterator<Item = (u64, f64)>,
        course: Course,
        is_cold: bool,
    ) -> Self {
        let mut curve = Self {
            course,
            is_cold,
            ..Self::default()
        };
        for (step, loss) in evaluations {
            while curve.points.last().is_some_and(|last| last.0 >= step) {
                curve.points.pop();
            }
            curve.broken = !loss.is_finite();
            if loss.is_finite() {
                curve.points.push((step, loss));
            }
        }
        curve
    }

    pub fn course(&self) -> &Course {
        &self.course
    }

    pub fn is_cold(&self) -> bool {
        self.is_cold
    }

    /// Whether the latest evaluation was not finite.
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// Step and loss of the latest evaluation that is finite.
    pub fn last(&self) -> Option<(u64, f64)> {
        self.points.last().copied()
    }

    /// The steps and losses.
    pub fn points(&self) -> &[(u64, f64)] {
        &self.points
    }

    /// The same curve as it was known at a step.
    pub fn until(&self, step: u64) -> Self {
        let n = self.points.partition_point(|point| point.0 <= step);
        Self {
            points: self.points[..n].to_vec(),
            course: self.course.clone(),
            is_cold: self.is_cold,
            broken: false,
        }
    }

    /// The same evaluations under other learning rates.
    pub fn under(self, course: Course) -> Self {
        Self { course, ..self }
    }

    /// The points after `from`, at most [`MOST_POINTS`], with their sums of rates, and the sums at `to`; `None` where a rate
    /// up to there is not known.
    pub(super) fn with_sums(&self, from: f64, to: u64) -> Option<(Vec<Point>, Sums)> {
        let first = self.points.partition_point(|p| p.0 as f64 <= from);
        let all = &self.points[first..];
        let group = all.len().div_ceil(MOST_POINTS).max(1);
        let mut places = Vec::with_capacity(2 * MOST_POINTS + 1);
        let mut means = Vec::with_capacity(MOST_POINTS);
        for points in all.chunks(group) {
            let n = points.len() as f64;
            let step = points.iter().map(|p| p.0 as f64).sum::<f64>() / n;
            let loss = points.iter().map(|p| p.1).sum::<f64>() / n;
            // Steps are far below 2^53.
            places.push(step.round() as u64);
            means.push((step, loss));
        }
        let last = places.last().copied().unwrap_or(0);
        let end = places.len();
        places.push(to.max(last));
        let mut sums = self.course.sums(&places)?;
        if to < last {
            sums[end] = self.course.sums(&[to])?[0];
        }
        let point = |(&(step, loss), &sums): (&(f64, f64), &Sums)| Point { step, loss, sums };
        let points = means.iter().zip(&sums).map(point).collect();
        Some((points, sums[end]))
    }
}

/// The value at `x` of a line through points with ascending x; beyond them the first or the last value.
pub(super) fn interpolate(points: &[(f64, f64)], x: f64) -> f64 {
    let after = points.partition_point(|p| p.0 < x);
    match (after.checked_sub(1).map(|i| points[i]), points.get(after)) {
        (Some((x0, y0)), Some(&(x1, y1))) => y0 + (y1 - y0) * (x - x0) / (x1 - x0),
        (Some((_, y)), None) | (None, Some(&(_, y))) => y,
        (None, None) => f64::NAN,
    }
}
