//! Chooses the round numbers of an axis, and formats them.

/// Returns the distance of the round numbers to which bounds are widened.
pub fn unit(low: f64, high: f64) -> f64 {
    // Below this share of the values, 64 bits hold only rounding errors.
    let least = (low.abs().max(high.abs()) * 1e-12).max(1e-300);
    nice((high - low).max(least) / 10.0)
}

/// Returns the round numbers of a decade around a value: the greatest below, and the least above.
pub fn steps_of_decade(x: f64) -> (f64, f64) {
    let power = 10f64.powf(x.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0];
    let below = steps.into_iter().rev().find(|s| s * power <= x);
    let above = steps.into_iter().find(|s| s * power >= x);
    (below.unwrap_or(1.0) * power, above.unwrap_or(10.0) * power)
}

/// Returns multiples of a round number in a range, about `most` of them.
pub fn evenly(low: f64, high: f64, most: usize) -> Vec<f64> {
    let step = nice((high - low) / most as f64);
    let first = (low / step - 1e-6).ceil();
    let count = ((high / step + 1e-6).floor() - first).clamp(0.0, 1000.0) as usize;
    (0..=count).map(|i| (first + i as f64) * step).collect()
}

/// Returns round numbers of a logarithmic axis in a range, about `most` of them.
pub fn decades(low: f64, high: f64, most: usize) -> Vec<f64> {
    let first = low.log10().floor() as i32;
    let last = high.log10().ceil() as i32;
    let inside = |v: &f64| *v >= low * (1.0 - 1e-9) && *v <= high * (1.0 + 1e-9);
    let of = |steps: &[f64], every: usize| -> Vec<f64> {
        (first..=last)
            .step_by(every)
            .flat_map(|e| steps.iter().map(move |s| s * 10f64.powi(e)))
            .filter(inside)
            .collect()
    };
    for steps in [&[1.0, 2.0, 5.0][..], &[1.0, 3.0], &[1.0]] {
        let all = of(steps, 1);
        if all.len() <= most.max(2) {
            return all;
        }
    }
    let span = usize::try_from(last - first + 1).unwrap_or(1);
    of(&[1.0], span.div_ceil(most.max(2)).max(1))
}

/// Formats the values of an axis with as many digits as are needed to distinguish them, and with an exponent for very large or
/// small values.
pub fn labels(values: &[f64]) -> Vec<String> {
    let largest = values.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let apart = sorted.windows(2).map(|w| w[1] - w[0]).filter(|d| *d > 0.0);
    let apart = apart.fold(f64::INFINITY, f64::min);
    let apart = if apart.is_finite() {
        apart
    } else {
        // A single value has four digits.
        largest.max(1e-300) * 1e-3
    };
    if (1e-3..1e7).contains(&largest) || largest == 0.0 {
        let decimals = decimals_of(apart).min(12);
        return values.iter().map(|v| format!("{v:.decimals$}")).collect();
    }
    values
        .iter()
        .map(|&v| {
            // The mantissa has digits down to the distance of the labels.
            let digits = match v == 0.0 {
                true => 0,
                false => decimals_of(apart / 10f64.powf(v.abs().log10().floor())).min(15),
            };
            format!("{v:.digits$e}")
        })
        .collect()
}

/// Returns the number of decimals that a multiple of `x` needs.
fn decimals_of(x: f64) -> usize {
    // Differences of rounded numbers are slightly off a power of ten.
    let mut decimals = (-(x.log10() + 1e-6).floor()).max(0.0) as usize;
    // Numbers such as 0.25 need one decimal more than their first digit.
    let scaled = x * 10f64.powi(decimals.min(300) as i32);
    if (scaled - scaled.round()).abs() > 0.05 {
        decimals += 1;
    }
    decimals
}

/// Returns the next of 1, 2, 5 times a power of ten.
pub fn nice(x: f64) -> f64 {
    let power = 10f64.powf(x.log10().floor());
    let factor = [1.0, 2.0, 5.0]
        .into_iter()
        .find(|f| f * power >= x * (1.0 - 1e-9));
    factor.unwrap_or(10.0) * power
}

/// Returns the end of a time axis, which must not move every second: the next of 1, 1.5, 2, 3, 5, 7.5 times a power of ten, at
/// least 10 seconds.
pub fn stepped(seconds: f64) -> f64 {
    let mut unit = 10.0;
    loop {
        for factor in [1.0, 1.5, 2.0, 3.0, 5.0, 7.5] {
            if seconds <= unit * factor || unit > 1e300 {
                return unit * factor;
            }
        }
        unit *= 10.0;
    }
}
