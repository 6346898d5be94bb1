//! Computes the range of values that a chart shows: all values, or all except spikes and the first descent.

use super::trace::Point;

/// The first 1 / `DESCENT` of a curve may fall so steeply that it would flatten the rest.
const DESCENT: usize = 10;
/// Height of the first descent that is shown, in multiples of the range of the rest.
const SHOWN: f64 = 1.6;
/// Distance of a spike from its neighbours, in typical deviations.
const SPIKE: f64 = 8.0;
/// Number of neighbours on either side that a value is compared with.
const NEIGHBOURS: usize = 4;
/// Least number of points to detect spikes.
const FEWEST: usize = 12;
/// Cuts that are at most this number of columns apart count as one.
const ONE_CUT: usize = 3;

/// Returns the range of all finite values.
pub fn all(traces: &[Vec<Point>], levels: &[f64]) -> Option<(f64, f64)> {
    let points = traces.iter().flatten().filter(|p| p.low <= p.high);
    let values = points.flat_map(|p| [p.low - 2.0 * p.stderr, p.high + 2.0 * p.stderr]);
    range(values.chain(levels.iter().copied()))
}

/// Returns the range of all values except spikes and the first descent of each part of a trace.
pub fn robust(traces: &[Vec<Point>], levels: &[f64]) -> Option<(f64, f64)> {
    let mut bounds = Vec::new();
    for points in traces {
        for part in points.chunk_by(|a, b| a.part == b.part) {
            bounds.extend(of_part(part));
        }
    }
    let values = bounds.into_iter().flat_map(|(low, high)| [low, high]);
    range(values.chain(levels.iter().copied()))
}

fn range(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values
        .filter(|v| v.is_finite())
        .fold(None, |range, v| match range {
            None => Some((v, v)),
            Some((low, high)) => Some((low.min(v), high.max(v))),
        })
}

fn of_part(points: &[Point]) -> Option<(f64, f64)> {
    let points: Vec<&Point> = points.iter().filter(|p| p.low <= p.high).collect();
    let settled = &points[points.len() / DESCENT..];
    let highs: Vec<f64> = settled.iter().map(|p| p.high + 2.0 * p.stderr).collect();
    let lows: Vec<f64> = settled.iter().map(|p| -(p.low - 2.0 * p.stderr)).collect();
    let high = range(without_spikes(&highs))?.1;
    let low = -range(without_spikes(&lows))?.1;
    // Includes the part of the descent that does not take most of the rows.
    let descent = points[..points.len() / DESCENT].iter();
    let top = low + SHOWN * (high - low);
    let shown = descent.map(|p| p.high).filter(|&v| v <= top);
    Some((low, shown.fold(high, f64::max)))
}

/// Returns the values that are not far above their neighbours.
fn without_spikes(values: &[f64]) -> impl Iterator<Item = f64> + '_ {
    let above = |i: usize| {
        let from = i.saturating_sub(NEIGHBOURS);
        let until = (i + NEIGHBOURS + 1).min(values.len());
        values[i] - median_of_few(&values[from..until])
    };
    let deviations: Vec<f64> = (0..values.len()).map(above).collect();
    let typical = median(deviations.iter().map(|d| d.abs()).collect());
    // On a smooth curve the typical deviation is tiny, so a spike must also be large compared with the curve's range.
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let at = |share: usize| {
        let place = sorted.len().saturating_sub(1) * share / 100;
        sorted.get(place).copied().unwrap_or(0.0)
    };
    let least = 0.2 * (at(95) - at(5));
    let spikes = values.len() >= FEWEST;
    values
        .iter()
        .zip(deviations)
        .filter(move |(_, d)| !spikes || *d <= (SPIKE * typical).max(least))
        .map(|(v, _)| *v)
}

/// Returns the median of a value and its neighbours. Does not allocate, because it is called for every point of every chart.
fn median_of_few(values: &[f64]) -> f64 {
    let mut few = [0.0; 2 * NEIGHBOURS + 1];
    let few = &mut few[..values.len()];
    few.copy_from_slice(values);
    few.sort_unstable_by(f64::total_cmp);
    few.get(few.len() / 2).copied().unwrap_or(0.0)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// Returns the places at which a trace leaves the range: the column of each cut, and whether it is above.
pub fn cuts(points: &[Point], contains: impl Fn(f64) -> bool, high: f64) -> Vec<(usize, bool)> {
    let mut cuts: Vec<(usize, bool)> = Vec::new();
    let mut last: Option<(usize, bool)> = None;
    let mut extreme = f64::NAN;
    for p in points.iter().filter(|p| p.low <= p.high) {
        let outside = [(p.high, true), (p.low, false)];
        let found = outside
            .into_iter()
            .find(|&(v, above)| !contains(v) && (v > high) == above);
        let Some((value, above)) = found else {
            continue;
        };
        let same = last.is_some_and(|(column, before)| {
            before == above && p.column.saturating_sub(column) <= ONE_CUT
        });
        let farther = if above {
            value > extreme
        } else {
            value < extreme
        };
        match cuts.last_mut() {
            // The mark is placed where the curve is farthest outside.
            Some(cut) if same => {
                if farther {
                    (cut.0, extreme) = (p.column, value);
                }
            }
            _ => {
                cuts.push((p.column, above));
                extreme = value;
            }
        }
        last = Some((p.column, above));
    }
    cuts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(values: impl Iterator<Item = f64>) -> Vec<Point> {
        values
            .enumerate()
            .map(|(column, v)| Point {
                column,
                begin: column,
                x: column as f64,
                low: v - 0.005,
                high: v + 0.005,
                value: v,
                stderr: 0.0,
                part: 0,
                gap: false,
            })
            .collect()
    }

    fn curve(i: usize) -> f64 {
        2.9 + 0.3 / (1.0 + i as f64 / 30.0) + 5.0 * (-(i as f64)).exp()
    }

    #[test]
    fn spikes_and_the_first_descent_are_cut() {
        let spiky = |i| match i {
            90 => 4.2,
            150 => 0.5,
            _ => curve(i),
        };
        let points = points((0..200).map(spiky));
        let (low, high) = robust(std::slice::from_ref(&points), &[2.8875]).unwrap();
        assert!(low == 2.8875 && (3.05..3.4).contains(&high), "{low} {high}");
        let whole = all(std::slice::from_ref(&points), &[]).unwrap();
        assert!(whole.0 < 0.5 && whole.1 > 8.0, "{whole:?}");
        let inside = |v: f64| (low..=high).contains(&v);
        let cuts = cuts(&points, inside, high);
        assert_eq!(cuts, [(0, true), (90, true), (150, false)]);
    }

    #[test]
    fn noise_steps_and_few_points_are_not_spikes() {
        let noise = |i: usize| 0.1 * ((i * 7919 % 101) as f64 / 101.0 - 0.5);
        let noisy = points((0..200).map(|i| 2.0 + noise(i)));
        let (low, high) = robust(std::slice::from_ref(&noisy), &[]).unwrap();
        assert!(low < 1.96 && high > 2.04, "{low} {high}");
        // A loss that rises and stays is not a spike.
        let risen = points((0..200).map(|i| if i < 100 { 2.0 } else { 2.4 } + noise(i)));
        assert!(robust(&[risen], &[]).unwrap().1 > 2.4);
        let few = points([3.0, 2.0, 5.0].into_iter());
        assert!(robust(&[few], &[]).unwrap().1 > 5.0);
        assert_eq!(robust(&[Vec::new()], &[]), None);
        assert_eq!(
            robust(&[Vec::new()], &[2.0, f64::NAN, 1.0]),
            Some((1.0, 2.0))
        );
    }
}
