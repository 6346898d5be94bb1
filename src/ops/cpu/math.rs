//! Scalar functions written so that compilers vectorise them: no branches, no calls. Those that multiply and add are generic
//! over the [`Arithmetic`] that `simd!` provides.

/// Computes a product and a sum together.
pub trait Arithmetic {
    /// `a * b + c`.
    fn mul_add(a: f32, b: f32, c: f32) -> f32;
}

/// One instruction that rounds once.
pub enum Fused {}

/// Two instructions that round twice, for machines without a fused one: there `f32::mul_add` calls a function of the C
/// library, which is tens of times slower.
pub enum Separate {}

impl Arithmetic for Fused {
    #[inline(always)]
    fn mul_add(a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }
}

impl Arithmetic for Separate {
    #[inline(always)]
    fn mul_add(a: f32, b: f32, c: f32) -> f32 {
        a * b + c
    }
}

/// `e^x`. Relative error below 2e-7; 0 and infinity are approached at the ends of f32's range; NaN stays NaN.
#[inline(always)]
pub fn exp<A: Arithmetic>(x: f32) -> f32 {
    // Comparisons written this way round keep NaN.
    let x = if x < -87.3 { -87.3 } else { x };
    exp_within::<A>(if x > 88.3 { 88.3 } else { x })
}

/// `e^x` for x in [-87.3, 88.3] or NaN.
///
/// Range reduction by multiples of ln 2 (split in two constants) and the degree-5 polynomial of the Cephes library
/// (S. Moshier, `expf`).
#[inline(always)]
fn exp_within<A: Arithmetic>(x: f32) -> f32 {
    const MAGIC: f32 = 12_582_912.0; // 1.5 * 2^23: adding it rounds to an integer kept in the low mantissa bits
    const LN2_HI: f32 = 0.693_359_4;
    const LN2_LO: f32 = -2.121_944_4e-4;
    let n = A::mul_add(x, std::f32::consts::LOG2_E, MAGIC);
    let whole = n - MAGIC;
    let r = A::mul_add(whole, -LN2_LO, A::mul_add(whole, -LN2_HI, x));
    let mut p = 1.987_569_1e-4;
    p = A::mul_add(p, r, 1.398_2e-3);
    p = A::mul_add(p, r, 8.333_452e-3);
    p = A::mul_add(p, r, 4.166_579_6e-2);
    p = A::mul_add(p, r, 1.666_666_5e-1);
    p = A::mul_add(p, r, 5e-1);
    let e = A::mul_add(p, r * r, r) + 1.0;
    let power = f32::from_bits((n.to_bits() << 23).wrapping_add(0x3f80_0000));
    e * power
}

/// The factor of GELU with the tanh approximation (Hendrycks and Gimpel, arXiv 1606.08415) and its derivative:
/// `gelu(x) = x s(x)` with `s(x) = sigmoid(2 √(2/π) (x + 0.044715 x³))`, since `(1 + tanh u) / 2 = sigmoid(2 u)`.
///
/// Returns `s` and `gelu'`. Beyond 9.9, where `s` is 0 or 1 within 1e-37, x counts as 9.9: products with its square stay finite.
#[inline(always)]
pub fn gelu_factor<A: Arithmetic>(x: f32) -> (f32, f32) {
    const LINEAR: f32 = 1.595_769;
    const CUBIC: f32 = 0.071_354_816;
    // Comparisons written this way round keep NaN.
    let x = if x < -9.9 { -9.9 } else { x };
    let x = if x > 9.9 { 9.9 } else { x };
    let square = x * x;
    let e = exp_within::<A>(x * A::mul_add(square, -CUBIC, -LINEAR));
    let s = 1.0 / (1.0 + e);
    let inner = A::mul_add(square, 3.0 * CUBIC, LINEAR);
    // 1 - s, without its cancellation.
    let other = e * s;
    (s, A::mul_add(x * other, s * inner, s))
}

/// The error function; absolute error below 3e-7 (Abramowitz and Stegun 7.1.26).
#[inline(always)]
pub fn erf<A: Arithmetic>(x: f32) -> f32 {
    let a = x.abs();
    let t = 1.0 / A::mul_add(0.327_591_1, a, 1.0);
    let mut p = 1.061_405_4;
    p = A::mul_add(p, t, -1.453_152);
    p = A::mul_add(p, t, 1.421_413_7);
    p = A::mul_add(p, t, -0.284_496_74);
    p = A::mul_add(p, t, 0.254_829_6);
    A::mul_add(-p * t, exp::<A>(-a * a), 1.0).copysign(x)
}

/// `1 / (1 + e^-x)`.
#[inline(always)]
pub fn sigmoid<A: Arithmetic>(x: f32) -> f32 {
    1.0 / (1.0 + exp::<A>(-x))
}

/// Lanes that reductions have: two vectors of AVX2, one of AVX-512.
pub const LANES: usize = 16;

/// Reduces lanes to one value as a tree: the upper half onto the lower one, four times.
#[inline(always)]
pub fn tree<T: Copy>(mut lanes: [T; LANES], f: impl Fn(T, T) -> T) -> T {
    let mut half = LANES / 2;
    while half > 0 {
        for i in 0..half {
            lanes[i] = f(lanes[i], lanes[i + half]);
        }
        half /= 2;
    }
    lanes[0]
}

/// Sums lanes as a tree.
#[inline(always)]
pub fn total(lanes: [f32; LANES]) -> f32 {
    tree(lanes, |a, b| a + b)
}

/// Sum of a slice.
#[inline(always)]
pub fn sum(x: &[f32]) -> f32 {
    reduce(x, |acc, v| acc + v)
}

/// Replaces each element by `e^(x - max)` and returns their sum.
#[inline(always)]
pub fn exp_in_place<A: Arithmetic>(x: &mut [f32], max: f32) -> f32 {
    let mut lanes = [0f32; LANES];
    let mut chunks = x.chunks_exact_mut(LANES);
    for chunk in &mut chunks {
        for (lane, v) in lanes.iter_mut().zip(chunk) {
            *v = exp::<A>(*v - max);
            *lane += *v;
        }
    }
    for (lane, v) in lanes.iter_mut().zip(chunks.into_remainder()) {
        *v = exp::<A>(*v - max);
        *lane += *v;
    }
    total(lanes)
}

/// Sum of `e^(x - max)`.
#[inline(always)]
pub fn sum_of_exp<A: Arithmetic>(x: &[f32], max: f32) -> f32 {
    reduce(x, |acc, v| acc + exp::<A>(v - max))
}

/// Sum of `e^(x - max)`, in f64.
#[inline(always)]
pub fn sum_of_exp_f64<A: Arithmetic>(x: &[f32], max: f32) -> f64 {
    let mut lanes = [0f64; LANES];
    let chunks = x.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (lane, &v) in lanes.iter_mut().zip(chunk) {
            *lane += f64::from(exp::<A>(v - max));
        }
    }
    for (lane, &v) in lanes.iter_mut().zip(rest) {
        *lane += f64::from(exp::<A>(v - max));
    }
    tree(lanes, |a, b| a + b)
}

/// Sum of squared distances to `mean`.
#[inline(always)]
pub fn sum_sq<A: Arithmetic>(x: &[f32], mean: f32) -> f32 {
    reduce(x, |acc, v| A::mul_add(v - mean, v - mean, acc))
}

#[inline(always)]
fn reduce(x: &[f32], f: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [0f32; LANES];
    let chunks = x.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (lane, &v) in lanes.iter_mut().zip(chunk) {
            *lane = f(*lane, v);
        }
    }
    for (lane, &v) in lanes.iter_mut().zip(rest) {
        *lane = f(*lane, v);
    }
    total(lanes)
}

/// Dot product.
#[inline(always)]
pub fn dot<A: Arithmetic>(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0f32; LANES];
    let (ca, cb) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let (ra, rb) = (ca.remainder(), cb.remainder());
    for (x, y) in ca.zip(cb) {
        for i in 0..LANES {
            lanes[i] = A::mul_add(x[i], y[i], lanes[i]);
        }
    }
    for (lane, (x, y)) in lanes.iter_mut().zip(ra.iter().zip(rb)) {
        *lane = A::mul_add(*x, *y, *lane);
    }
    total(lanes)
}

/// Largest element; NaN if any element is not finite, -inf for an empty slice.
#[inline(always)]
pub fn max<A: Arithmetic>(x: &[f32]) -> f32 {
    let mut largest = Largest::default();
    let chunks = x.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (i, &v) in chunk.iter().enumerate() {
            largest.see::<A>(i, v);
        }
    }
    for (i, &v) in rest.iter().enumerate() {
        largest.see::<A>(i, v);
    }
    largest.value()
}

/// The largest element so far, in lanes.
pub struct Largest {
    lanes: [f32; LANES],
    /// Zero, or NaN once an element was not finite: comparisons ignore NaN, and `inf - inf` has no meaning in a softmax.
    finite: [f32; LANES],
}

impl Default for Largest {
    #[inline(always)]
    fn default() -> Self {
        Self {
            lanes: [f32::NEG_INFINITY; LANES],
            finite: [0.0; LANES],
        }
    }
}

impl Largest {
    /// Takes an element into a lane.
    #[inline(always)]
    pub fn see<A: Arithmetic>(&mut self, lane: usize, v: f32) {
        let so_far = self.lanes[lane];
        self.lanes[lane] = if v > so_far { v } else { so_far };
        self.finite[lane] = A::mul_add(v, 0.0, self.finite[lane]);
    }

    /// The largest element; NaN if any was not finite.
    #[inline(always)]
    pub fn value(self) -> f32 {
        let largest = tree(self.lanes, |a, b| if b > a { b } else { a });
        // Adding zero, or NaN.
        largest + total(self.finite)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exp_agrees_with_f64<A: Arithmetic>() {
        let mut x = -87.0f32;
        while x < 88.0 {
            let want = f64::from(x).exp();
            let got = f64::from(exp::<A>(x));
            assert!(
                (got / want - 1.0).abs() < 2e-7,
                "exp({x}) = {got}, not {want}"
            );
            x += 0.0137;
        }
        assert!(exp::<A>(f32::NAN).is_nan());
        assert!(exp::<A>(f32::NEG_INFINITY) < 1e-37);
    }

    fn gelu_agrees_with_f64<A: Arithmetic>() {
        let (scale, cubic) = ((2.0 / std::f64::consts::PI).sqrt(), 0.044_715);
        let mut x = -20.0f32;
        while x < 20.0 {
            let at = f64::from(x);
            let t = (scale * (at + cubic * at.powi(3))).tanh();
            let want = 0.5 * at * (1.0 + t);
            let inner = scale * (1.0 + 3.0 * cubic * at * at);
            let slope = 0.5 * (1.0 + t) + 0.5 * at * (1.0 - t * t) * inner;
            let (s, got) = gelu_factor::<A>(x);
            let off = (f64::from(x * s) - want).abs();
            assert!(off < 2e-7 * (1.0 + at.abs()), "gelu({x}), off {off}");
            assert!((f64::from(got) - slope).abs() < 6e-7, "gelu'({x}) = {got}");
            x += 0.0171;
        }
        for (x, want) in [(-1e20, 0.0), (-1e38, 0.0), (1e20, 1.0), (1e38, 1.0)] {
            let (s, slope) = gelu_factor::<A>(x);
            assert!((s - want).abs() < 1e-36 && (slope - want).abs() < 1e-33);
        }
        let (s, slope) = gelu_factor::<A>(f32::NAN);
        assert!(s.is_nan() && slope.is_nan());
    }

    #[test]
    fn exp_and_gelu_agree_with_f64_with_and_without_fused_instructions() {
        exp_agrees_with_f64::<Fused>();
        exp_agrees_with_f64::<Separate>();
        gelu_agrees_with_f64::<Fused>();
        gelu_agrees_with_f64::<Separate>();
    }

    #[test]
    fn small_exponentials_next_to_a_large_one_count() {
        // Like a certain prediction over a large vocabulary: e^-17 is below half an ulp of 1 in f32.
        for n in [5, 16, 50_000] {
            let mut x = vec![-17.0; n];
            x[n / 2] = 0.0;
            let want = 1.0 + (n - 1) as f64 * (-17f64).exp();
            let got = sum_of_exp_f64::<Fused>(&x, 0.0);
            assert!((got / want - 1.0).abs() < 1e-9, "{got}, not {want}");
        }
        assert!(sum_of_exp_f64::<Fused>(&[0.0, f32::NAN], f32::NAN).is_nan());
    }

    #[test]
    fn reductions_cover_ragged_lengths() {
        for n in [0, 1, 15, 16, 17, 100] {
            let x: Vec<f32> = (0..n).map(|i| (i as f32 * 0.37).sin()).collect();
            let want: f64 = x.iter().map(|&v| f64::from(v)).sum();
            assert!((f64::from(sum(&x)) - want).abs() < 1e-5);
            let want: f64 = x.iter().map(|&v| f64::from(v).powi(2)).sum();
            assert!((f64::from(dot::<Fused>(&x, &x)) - want).abs() < 1e-5);
            assert!((f64::from(sum_sq::<Fused>(&x, 0.0)) - want).abs() < 1e-5);
            let exponentials: Vec<f64> = x.iter().map(|&v| f64::from(v - 1.0).exp()).collect();
            let want: f64 = exponentials.iter().sum();
            assert!((f64::from(sum_of_exp::<Fused>(&x, 1.0)) - want).abs() < 1e-5);
            let mut replaced = x.clone();
            let got = exp_in_place::<Fused>(&mut replaced, 1.0);
            assert!((f64::from(got) - want).abs() < 1e-5);
            for (got, want) in replaced.iter().zip(exponentials) {
                assert!((f64::from(*got) - want).abs() < 1e-6);
            }
            let want = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            assert_eq!(max::<Fused>(&x), want);
        }
        assert!(max::<Fused>(&[1.0, f32::NAN, 2.0]).is_nan());
        assert!(
            max::<Fused>(&[1.0, f32::INFINITY]).is_nan(),
            "inf - inf has no meaning in a softmax"
        );
    }
}
