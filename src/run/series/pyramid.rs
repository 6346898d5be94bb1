//! A few curves over one axis in a bounded number of buckets.
//!
//! The newest points are buckets of one. When the bound is reached, the older part is gathered pairwise until it takes
//! half of the bound: the whole past at one resolution, which halves as the run doubles. Appending costs O(1) on
//! average.

use serde::{Deserialize, Serialize};

use super::bounded::at_most;

/// Buckets of a series unless it is made with another bound.
pub const BOUND: usize = 32_768;
/// Upper bound on the curves of one series.
pub const MOST_COLUMNS: usize = 1024;

/// The place of an event on the axes.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Place {
    pub seq: u64,
    pub step: u64,
    pub tokens: u64,
    /// Seconds of run time.
    pub elapsed: f64,
}

/// The part of the axis that a bucket covers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Bucket {
    pub first: Place,
    pub last: Place,
    /// Points in it.
    pub count: u32,
}

/// The values of one curve in a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Span {
    /// `low > high` where no point is finite.
    pub low: f32,
    pub high: f32,
    /// Mean of the finite points.
    pub mean: f32,
    /// Points that are missing or not finite.
    pub gaps: u32,
}

impl Span {
    /// A span of `count` points, none of which is finite.
    fn gap(count: u32) -> Self {
        Self {
            low: f32::INFINITY,
            high: f32::NEG_INFINITY,
            mean: 0.0,
            gaps: count,
        }
    }

    /// One value; what `f32` cannot hold is a gap.
    fn of(value: f64) -> Self {
        let value = value as f32;
        if value.is_finite() {
            Self {
                low: value,
                high: value,
                mean: value,
                gaps: 0,
            }
        } else {
            Self::gap(1)
        }
    }

    /// Whether any point is finite.
    pub fn is_finite(&self) -> bool {
        self.low <= self.high
    }

    /// The mean, NaN where no point is finite.
    pub fn value(&self) -> f64 {
        if self.is_finite() {
            f64::from(self.mean)
        } else {
            f64::NAN
        }
    }

    /// Both spans as one, of `n` and `m` points.
    fn join(self, n: u32, other: Self, m: u32) -> Self {
        let finite = |span: Self, count: u32| f64::from(count.saturating_sub(span.gaps));
        let (a, b) = (finite(self, n), finite(other, m));
        let mean = match a + b > 0.0 {
            true => (a * f64::from(self.mean) + b * f64::from(other.mean)) / (a + b),
            false => 0.0,
        };
        Self {
            low: self.low.min(other.low),
            high: self.high.max(other.high),
            mean: mean as f32,
            gaps: self.gaps.saturating_add(other.gaps),
        }
    }
}

/// Curves over one axis, sorted by event number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Series {
    #[serde(deserialize_with = "at_most::<BOUND_READ, _, _>")]
    stretches: Vec<Bucket>,
    /// Each has one span per bucket.
    #[serde(deserialize_with = "at_most::<MOST_COLUMNS, _, _>")]
    columns: Vec<Column>,
    bound: usize,
    /// Points that a bucket of the older part holds.
    stride: u32,
    /// Rises whenever buckets change that were there before.
    generation: u64,
}

/// Largest number of buckets of a series that is read back.
const BOUND_READ: usize = 2 * BOUND;

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
struct Column(#[serde(deserialize_with = "at_most::<BOUND_READ, _, _>")] Vec<Span>);

impl Default for Series {
    fn default() -> Self {
        Self::new(BOUND)
    }
}

impl Series {
    /// A series without points, of at most `bound` buckets.
    pub fn new(bound: usize) -> Self {
        Self {
            stretches: Vec::new(),
            columns: Vec::new(),
            bound: bound.clamp(8, BOUND),
            stride: 1,
            generation: 0,
        }
    }

    /// Number of buckets.
    pub fn len(&self) -> usize {
        self.stretches.len()
    }

    pub fn is_empty(&self) -> bool {
        self.stretches.is_empty()
    }

    /// Number of points appended and not cut off since.
    pub fn points(&self) -> u64 {
        self.stretches.iter().map(|s| u64::from(s.count)).sum()
    }

    /// The buckets' places, oldest first.
    pub fn stretches(&self) -> &[Bucket] {
        &self.stretches
    }

    /// Rises whenever buckets change that were there before; appending alone does not.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Number of curves.
    pub fn columns(&self) -> usize {
        self.columns.len()
    }

    /// Returns the buckets of curve `column`; empty when it does not exist.
    pub fn column(&self, column: usize) -> &[Span] {
        self.columns.get(column).map_or(&[], |c| &c.0)
    }

    /// Appends a point, one value for each curve; a new curve has gaps before this point. Returns true when the bound
    /// is reached: [`Self::gather`] is due.
    pub fn push(&mut self, place: Place, values: &[f64]) -> bool {
        self.widen(values.len().min(MOST_COLUMNS));
        self.stretches.push(Bucket {
            first: place,
            last: place,
            count: 1,
        });
        for (i, Column(column)) in self.columns.iter_mut().enumerate() {
            column.push(values.get(i).map_or(Span::gap(1), |&value| Span::of(value)));
        }
        self.len() >= self.limit()
    }

    /// Buckets that fit: fewer when there are many curves.
    fn limit(&self) -> usize {
        self.bound.min(8 * BOUND / self.columns.len().max(1)).max(8)
    }

    fn widen(&mut self, columns: usize) {
        let before = &self.stretches;
        while self.columns.len() < columns {
            let gaps = before.iter().map(|s| Span::gap(s.count)).collect();
            self.columns.push(Column(gaps));
        }
    }

    /// Gathers the older part until it takes half of the bound. No bucket will span one of `barriers`, sorted event
    /// numbers after which the series may have to be cut, or another model begins.
    pub fn gather(&mut self, barriers: &[u64]) {
        let limit = self.limit();
        let old = self.len().saturating_sub(limit / 4);
        let mut barriers = barriers;
        while self.groups(old, barriers) > limit / 2 {
            match self.stride.checked_mul(2) {
                Some(stride) => self.stride = stride,
                // More barriers than buckets: they cannot all be kept.
                None if !barriers.is_empty() => (barriers, self.stride) = (&[], 2),
                None => break,
            }
        }
        self.generation += 1;
        let mut to = 0;
        for from in 1..self.len() {
            if from < old && self.joins(to, from, barriers) {
                self.join(to, from);
            } else {
                to += 1;
                self.stretches[to] = self.stretches[from];
                for Column(column) in &mut self.columns {
                    column[to] = column[from];
                }
            }
        }
        let len = self.len().min(to + 1);
        self.stretches.truncate(len);
        for Column(column) in &mut self.columns {
            column.truncate(len);
        }
    }

    /// Buckets that the first `old` would become.
    fn groups(&self, old: usize, barriers: &[u64]) -> usize {
        let Some(first) = self.stretches[..old].first() else {
            return 0;
        };
        let (mut groups, mut last) = (1, *first);
        for next in &self.stretches[1..old] {
            if self.fits(&last, next, barriers) {
                last.count += next.count;
                last.last = next.last;
            } else {
                groups += 1;
                last = *next;
            }
        }
        groups
    }

    fn fits(&self, a: &Bucket, b: &Bucket, barriers: &[u64]) -> bool {
        let passed = |seq: u64| barriers.partition_point(|&barrier| barrier < seq);
        let count = a.count.checked_add(b.count);
        count.is_some_and(|count| count <= self.stride) && passed(a.last.seq) == passed(b.first.seq)
    }

    fn joins(&self, a: usize, b: usize, barriers: &[u64]) -> bool {
        self.fits(&self.stretches[a], &self.stretches[b], barriers)
    }

    fn join(&mut self, a: usize, b: usize) {
        let (n, m) = (self.stretches[a].count, self.stretches[b].count);
        for Column(column) in &mut self.columns {
            column[a] = column[a].join(n, column[b], m);
        }
        self.stretches[a].count = n + m;
        self.stretches[a].last = self.stretches[b].last;
    }

    /// Cuts off what comes after event `seq` and returns it; a bucket that reaches over the cut goes with it.
    pub fn split_off(&mut self, seq: u64) -> Self {
        let at = self.stretches.partition_point(|s| s.last.seq <= seq);
        self.generation += u64::from(at < self.len());
        Self {
            stretches: self.stretches.split_off(at),
            columns: self
                .columns
                .iter_mut()
                .map(|Column(column)| Column(column.split_off(at)))
                .collect(),
            bound: self.bound,
            stride: self.stride,
            generation: self.generation,
        }
    }

    /// Appends what comes later. True when the bound is reached: [`Self::gather`] is due.
    pub fn append(&mut self, mut later: Self) -> bool {
        let columns = self.columns.len().max(later.columns.len());
        self.widen(columns);
        later.widen(columns);
        self.stretches.append(&mut later.stretches);
        for (Column(ours), Column(theirs)) in self.columns.iter_mut().zip(&mut later.columns) {
            ours.append(theirs);
        }
        self.stride = self.stride.max(later.stride);
        self.generation += 1;
        self.len() >= self.limit()
    }

    /// Reduces to `bound` buckets from now on.
    pub fn shrink(&mut self, bound: usize, barriers: &[u64]) {
        self.bound = bound.clamp(8, BOUND);
        while self.len() >= self.limit() {
            let before = self.len();
            self.gather(barriers);
            if self.len() == before {
                break;
            }
        }
        self.stretches.shrink_to_fit();
        for Column(column) in &mut self.columns {
            column.shrink_to_fit();
        }
    }

    /// Returns the least and greatest finite value of a curve in buckets `from..to`; `None` when no value is finite.
    pub fn range(&self, column: usize, from: usize, to: usize) -> Option<(f64, f64)> {
        let spans = self.column(column).get(from..to)?;
        let (low, high) = spans
            .iter()
            .fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), span| {
                (low.min(span.low), high.max(span.high))
            });
        (low <= high).then_some((f64::from(low), f64::from(high)))
    }

    /// Whether a series that was read from a file is one that this code could have made.
    pub fn is_sound(&self) -> bool {
        let places = |s: &Bucket| s.count > 0 && s.first.seq <= s.last.seq;
        self.stride > 0
            && (8..=BOUND).contains(&self.bound)
            && self.len() <= self.limit()
            && self.stretches.iter().all(places)
            && self.stretches.is_sorted_by(|a, b| a.last.seq < b.first.seq)
            && self.columns.iter().all(|c| c.0.len() == self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(i: u64) -> Place {
        Place {
            seq: i + 1,
            step: i,
            tokens: 1024 * i,
            elapsed: i as f64,
        }
    }

    fn filled(bound: usize, points: u64, barriers: &[u64], value: impl Fn(u64) -> f64) -> Series {
        let mut series = Series::new(bound);
        for i in 0..points {
            if series.push(place(i), &[value(i), 1.0]) {
                series.gather(barriers);
            }
        }
        series
    }

    #[test]
    fn a_million_points_stay_within_the_bound_and_no_spike_is_lost() {
        let value = |i: u64| match i {
            777_777 => 9.5,
            333_333 => -4.0,
            5 => f64::NAN,
            _ => 2.0,
        };
        let series = filled(BOUND, 1_000_000, &[], value);
        assert!(series.len() < BOUND, "{}", series.len());
        assert_eq!(series.points(), 1_000_000);
        assert_eq!(series.range(0, 0, series.len()), Some((-4.0, 9.5)));
        let gaps: u32 = series.column(0).iter().map(|s| s.gaps).sum();
        assert_eq!(gaps, 1, "a number that is none is told");
        let at = |step| series.stretches().partition_point(|s| s.last.step < step);
        let spike = at(777_777);
        assert_eq!(series.range(0, spike, spike + 1), Some((2.0, 9.5)));
        assert_eq!(series.range(0, at(400_000), spike), Some((2.0, 2.0)));
    }

    #[test]
    fn recent_points_stand_alone_and_all_of_the_past_has_one_resolution() {
        let series = filled(1024, 100_000, &[], |i| i as f64);
        let (old, recent) = series.stretches().split_at(series.len() - 256);
        assert!(recent.iter().all(|s| s.count == 1));
        let counts: Vec<u32> = old.iter().map(|s| s.count).filter(|&c| c > 1).collect();
        assert!(counts.len() > 200, "{}", counts.len());
        // The last of them is still filling up.
        let full = &counts[..counts.len() - 1];
        assert!(full.iter().all(|&c| c == counts[0]), "{counts:?}");
        let means = series.column(0).iter().zip(series.stretches());
        for (span, s) in means {
            let middle = (s.first.step + s.last.step) as f64 / 2.0;
            assert!((span.value() - middle).abs() < 0.01 * middle.max(1.0));
        }
    }

    #[test]
    fn no_bucket_reaches_over_a_barrier_so_that_a_cut_there_is_exact() {
        let barriers = [1001, 5555, 40_000];
        let mut series = filled(256, 50_000, &barriers, |_| 1.0);
        for barrier in barriers {
            let over = |s: &&Bucket| s.first.seq < barrier && s.last.seq > barrier;
            assert_eq!(series.stretches().iter().find(over), None);
        }
        let later = series.split_off(5555);
        assert_eq!(series.points(), 5555);
        assert_eq!(later.points(), 50_000 - 5555);
        series.append(later);
        assert_eq!(series.points(), 50_000);
        assert!(series.is_sound());
    }

    #[test]
    fn more_barriers_than_buckets_do_not_break_the_bound() {
        let barriers: Vec<u64> = (0..10_000).collect();
        let series = filled(64, 10_000, &barriers, |_| 1.0);
        assert!(series.len() <= 64, "{}", series.len());
    }

    #[test]
    fn a_curve_that_begins_later_has_been_a_gap_before() {
        let mut series = Series::new(64);
        series.push(place(0), &[1.0]);
        series.push(place(1), &[1.0, 7.0]);
        series.push(place(2), &[1.0]);
        let second: Vec<u32> = series.column(1).iter().map(|s| s.gaps).collect();
        assert_eq!(second, [1, 0, 1]);
        assert_eq!(series.range(1, 0, 3), Some((7.0, 7.0)));
        assert_eq!(series.range(1, 2, 3), None);
        assert!(series.column(2).is_empty());
    }

    #[test]
    fn many_curves_take_fewer_buckets() {
        let mut series = Series::default();
        let values = vec![1.0; 96];
        for i in 0..20_000 {
            if series.push(place(i), &values) {
                series.gather(&[]);
            }
        }
        assert!(series.len() * series.columns() <= 8 * BOUND);
        assert_eq!(series.points(), 20_000);
    }

    #[test]
    fn a_smaller_bound_holds_at_once() {
        let mut series = filled(4096, 4000, &[], |i| i as f64);
        series.shrink(100, &[]);
        assert!(series.len() < 100);
        assert_eq!(series.points(), 4000);
        assert_eq!(series.range(0, 0, series.len()), Some((0.0, 3999.0)));
    }
}
