//! Scalar functions written so that compilers vectorise them: no branches, no calls.

/// `e^x`. Relative error below 2e-7; 0 and infinity are approached at the ends of f32's range; NaN stays NaN.
///
/// Range reduction by multiples of ln 2 (split in two constants) and the degree-5 polynomial of the Cephes library
/// (S. Moshier, `expf`).
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    const MAGIC: f32 = 12_582_912.0; // 1.5 * 2^23: adding it rounds to an integer kept in the low mantissa bits
    const LN2_HI: f32 = 0.693_359_4;
    const LN2_LO: f32 = -2.121_944_4e-4;
    // Comparisons written this way round keep NaN.
    let x = if x < -87.3 { -87.3 } else { x };
    let x = if x > 88.3 { 88.3 } else { x };
    let n = x * std::f32::consts::LOG2_E + MAGIC;
    let whole = n - MAGIC;
    let r = x - whole * LN2_HI - whole * LN2_LO;
    let mut p = 1.987_569_1e-4;
    p = p * r + 1.398_2e-3;
    p = p * r + 8.333_452e-3;
    p = p * r + 4.166_579_6e-2;
    p = p * r + 1.666_666_5e-1;
    p = p * r + 5e-1;
    let e = p * r * r + r + 1.0;
    let power = f32::from_bits((n.to_bits() << 23).wrapping_add(0x3f80_0000));
    e * power
}

/// Hyperbolic tangent through [`exp`]; absolute error below 3e-7.
#[inline(always)]
pub fn tanh(x: f32) -> f32 {
    1.0 - 2.0 / (exp(2.0 * x) + 1.0)
}

/// The error function; absolute error below 3e-7 (Abramowitz and Stegun 7.1.26).
#[inline(always)]
pub fn erf(x: f32) -> f32 {
    let a = x.abs();
    let t = 1.0 / (1.0 + 0.327_591_1 * a);
    let mut p = 1.061_405_4;
    p = p * t - 1.453_152;
    p = p * t + 1.421_413_7;
    p = p * t - 0.284_496_74;
    p = p * t + 0.254_829_6;
    (1.0 - p * t * exp(-a * a)).copysign(x)
}

/// `1 / (1 + e^-x)`.
#[inline(always)]
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// Sum of a slice in 16 lanes.
#[inline(always)]
pub fn sum(x: &[f32]) -> f32 {
    reduce(x, |acc, v| acc + v)
}

/// Sum of `e^(x - max)`, in f64.
#[inline(always)]
pub fn sum_of_exp(x: &[f32], max: f32) -> f64 {
    let mut lanes = [0f64; 16];
    let chunks = x.chunks_exact(16);
    let rest = chunks.remainder();
    for chunk in chunks {
        for i in 0..16 {
            lanes[i] += f64::from(exp(chunk[i] - max));
        }
    }
    for (lane, &v) in lanes.iter_mut().zip(rest) {
        *lane += f64::from(exp(v - max));
    }
    lanes.iter().sum()
}

/// Sum of squared distances to `mean`.
#[inline(always)]
pub fn sum_sq(x: &[f32], mean: f32) -> f32 {
    reduce(x, |acc, v| acc + (v - mean) * (v - mean))
}

#[inline(always)]
fn reduce(x: &[f32], f: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [0f32; 16];
    let chunks = x.chunks_exact(16);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (lane, &v) in lanes.iter_mut().zip(chunk) {
            *lane = f(*lane, v);
        }
    }
    for (lane, &v) in lanes.iter_mut().zip(rest) {
        *lane = f(*lane, v);
    }
    lanes.iter().sum()
}

/// Dot product in 16 lanes.
#[inline(always)]
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0f32; 16];
    let (ca, cb) = (a.chunks_exact(16), b.chunks_exact(16));
    let (ra, rb) = (ca.remainder(), cb.remainder());
    for (x, y) in ca.zip(cb) {
        for i in 0..16 {
            lanes[i] += x[i] * y[i];
        }
    }
    for (i, (x, y)) in ra.iter().zip(rb).enumerate() {
        lanes[i] += x * y;
    }
    lanes.iter().sum()
}

/// Largest element; NaN if any element is NaN, -inf for an empty slice.
#[inline(always)]
pub fn max(x: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; 16];
    // Any NaN makes this sum NaN, while comparisons would pass it over.
    let mut nan = [0f32; 16];
    let chunks = x.chunks_exact(16);
    let rest = chunks.remainder();
    for chunk in chunks {
        for i in 0..16 {
            lanes[i] = if chunk[i] > lanes[i] {
                chunk[i]
            } else {
                lanes[i]
            };
            nan[i] += chunk[i] * 0.0;
        }
    }
    for (i, &v) in rest.iter().enumerate() {
        lanes[i] = if v > lanes[i] { v } else { lanes[i] };
        nan[i] += v * 0.0;
    }
    let largest = lanes.iter().fold(f32::NEG_INFINITY, |a, &b| a.max(b));
    if nan.iter().sum::<f32>().is_nan() {
        f32::NAN
    } else {
        largest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_and_tanh_agree_with_f64() {
        let mut x = -87.0f32;
        while x < 88.0 {
            let want = f64::from(x).exp();
            let got = f64::from(exp(x));
            assert!(
                (got / want - 1.0).abs() < 2e-7,
                "exp({x}) = {got}, not {want}"
            );
            let want = f64::from(x).tanh();
            assert!((f64::from(tanh(x)) - want).abs() < 3e-7, "tanh({x})");
            x += 0.0137;
        }
        assert!(exp(f32::NAN).is_nan());
        assert!(exp(f32::NEG_INFINITY) < 1e-37);
    }

    #[test]
    fn small_exponentials_next_to_a_large_one_count() {
        // Like a certain prediction over a large vocabulary: e^-17 is below half an ulp of 1 in f32.
        for n in [5, 16, 50_000] {
            let mut x = vec![-17.0; n];
            x[n / 2] = 0.0;
            let want = 1.0 + (n - 1) as f64 * (-17f64).exp();
            let got = sum_of_exp(&x, 0.0);
            assert!((got / want - 1.0).abs() < 1e-9, "{got}, not {want}");
        }
        assert!(sum_of_exp(&[0.0, f32::NAN], f32::NAN).is_nan());
    }

    #[test]
    fn reductions_cover_ragged_lengths() {
        for n in [0, 1, 15, 16, 17, 100] {
            let x: Vec<f32> = (0..n).map(|i| (i as f32 * 0.37).sin()).collect();
            let want: f64 = x.iter().map(|&v| f64::from(v)).sum();
            assert!((f64::from(sum(&x)) - want).abs() < 1e-5);
            let want: f64 = x.iter().map(|&v| f64::from(v).powi(2)).sum();
            assert!((f64::from(dot(&x, &x)) - want).abs() < 1e-5);
            assert!((f64::from(sum_sq(&x, 0.0)) - want).abs() < 1e-5);
            let want = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            assert_eq!(max(&x), want);
        }
        assert!(max(&[1.0, f32::NAN, 2.0]).is_nan());
        assert!(
            max(&[1.0, f32::INFINITY]).is_nan(),
            "inf - inf has no meaning in a softmax"
        );
    }
}
