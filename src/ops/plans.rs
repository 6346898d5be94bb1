//! Planning of cuBLASLt's products: the properties that a plan depends on, and a memory of those that cannot be made. Plain arithmetic,
//! without the library itself.

use std::collections::HashMap;
use std::hash::Hash;

use candle_core::{DType, Result};

/// The largest alignment, in bytes, that cuBLASLt distinguishes.
const MOST: u32 = 256;

/// The largest power of two, up to 256, that divides an address.
pub fn alignment(at: u64) -> u32 {
    match at.trailing_zeros() {
        zeros if zeros < MOST.trailing_zeros() => 1 << zeros,
        _ => MOST,
    }
}

/// The alignment of a product's operands in bytes: `out = a b + onto`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Alignments {
    pub a: u32,
    pub b: u32,
    pub onto: u32,
    pub out: u32,
}

impl Alignments {
    /// The alignments of these addresses. cuBLASLt has no setting for a bias, which is read as wide as the output is written:
    /// the output counts as aligned no better than the bias.
    pub fn of(a: u64, b: u64, onto: u64, out: u64, bias: Option<u64>) -> Self {
        let bias = bias.map_or(MOST, alignment);
        Self {
            a: alignment(a),
            b: alignment(b),
            onto: alignment(onto),
            out: alignment(out).min(bias),
        }
    }
}

/// All that a plan depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    pub sizes: (usize, usize, usize),
    pub strides: (usize, usize, usize),
    pub transposed: (bool, bool),
    pub dtypes: (DType, DType),
    pub alignments: Alignments,
    pub adds: bool,
    pub epilogue: i32,
    /// Alignment of the GELU's operand; 0 for none.
    pub pre: u32,
}

/// Whether partial sums of one product must be kept in f32. cuBLASLt may otherwise add those of a long K in the type of the
/// output, which loses digits where that is bf16.
pub fn sums_in_f32_alone(out: DType) -> bool {
    out != DType::F32
}

/// Plans made so far, and which could not be made.
pub struct Plans<K, P>(HashMap<K, Option<P>>);

impl<K, P> Default for Plans<K, P> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Hash + Eq, P> Plans<K, P> {
    /// Returns the plan of this key; `make` is called for a new one. `None` is remembered: the library has no algorithm.
    ///
    /// # Errors
    /// As `make`; nothing is remembered then.
    pub fn get_or_make(
        &mut self,
        key: K,
        make: impl FnOnce() -> Result<Option<P>>,
    ) -> Result<Option<&mut P>> {
        use std::collections::hash_map::Entry;
        let plan = match self.0.entry(key) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(make()?),
        };
        Ok(plan.as_mut())
    }

    /// Remembers that a plan did not work after all.
    pub fn give_up(&mut self, key: K) {
        self.0.insert(key, None);
    }
}

#[cfg(test)]
mod tests {
    use candle_core::bail;

    use super::*;

    #[test]
    fn alignments_are_powers_of_two_up_to_256() {
        for (at, want) in [(0, 256), (1, 1), (2, 2), (72, 8), (200, 8), (4096, 256)] {
            assert_eq!(alignment(at), want, "{at}");
        }
        assert_eq!(alignment(0x7f00_0000_0080), 128);
    }

    /// Biases of a model of width 100 lie at multiples of 200 bytes.
    #[test]
    fn a_bias_lowers_the_alignment_of_the_output() {
        let base = 0x7f00_0000_0000;
        let of = |bias| Alignments::of(base, base, base, base, bias);
        assert_eq!(of(None).out, 256);
        assert_eq!(of(Some(base + 1536)).out, 256);
        assert_eq!(of(Some(base + 200)).out, 8);
        assert_eq!(of(Some(base + 72)).out, 8);
        assert_eq!(of(Some(base + 30 * 2)).out, 4);
        let odd = Alignments::of(base, base, base, base + 2, Some(base + 200));
        assert_eq!((odd.onto, odd.out), (256, 2));
    }

    fn key(bias: u64) -> Key {
        Key {
            sizes: (37, 100, 100),
            strides: (100, 100, 100),
            transposed: (false, true),
            dtypes: (DType::BF16, DType::BF16),
            alignments: Alignments::of(0, 0, 0, 0, Some(bias)),
            adds: false,
            epilogue: 4,
            pre: 0,
        }
    }

    #[test]
    fn a_plan_serves_the_same_key_and_no_other() {
        let mut plans = Plans::default();
        let mut made = 0;
        for bias in [0, 256, 200, 72, 60, 1024] {
            let plan = plans.get_or_make(key(bias), || {
                made += 1;
                Ok(Some(made))
            });
            // Multiples of 256 are one key; 200 and 72 are multiples of 8.
            let want = [(200, 2), (72, 2), (60, 3)];
            let want = want.iter().find(|w| w.0 == bias).map_or(1, |w| w.1);
            assert_eq!(plan.unwrap().copied(), Some(want), "{bias}");
        }
        assert_eq!(made, 3);
    }

    #[test]
    fn what_cannot_be_made_is_remembered() {
        let mut plans = Plans::<_, u32>::default();
        assert!(plans.get_or_make(1, || Ok(None)).unwrap().is_none());
        let again = plans.get_or_make(1, || bail!("asked twice"));
        assert!(again.unwrap().is_none());
        // An error is not remembered: the next call makes the plan.
        assert!(plans.get_or_make(2, || bail!("the GPU is full")).is_err());
        assert_eq!(
            plans.get_or_make(2, || Ok(Some(7))).unwrap().copied(),
            Some(7)
        );
        plans.give_up(2);
        assert!(plans.get_or_make(2, || Ok(Some(8))).unwrap().is_none());
    }

    #[test]
    fn sums_for_bf16_stay_in_f32() {
        assert!(sums_in_f32_alone(DType::BF16));
        assert!(!sums_in_f32_alone(DType::F32));
    }
}
