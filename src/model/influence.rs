//! Measures how much a block changes its input, and the gradients of its attention.

use candle_core::Result;

use super::decoder::Decoder;
use super::family;
use crate::ops;

/// Returns the sum over rows of width `c` of the cosine similarity of `before` and `after`. A block's influence is 1 minus its mean
/// over tokens, for the block's input and output (Men et al., "ShortGPT", arXiv 2403.03853).
pub fn similarity(before: &[f32], after: &[f32], c: usize) -> f64 {
    let rows = before.chunks_exact(c).zip(after.chunks_exact(c));
    rows.map(|(a, b)| cosine(a, b)).sum()
}

/// Returns the cosine of the angle between two vectors; 1 if one of them is zero, NaN if a value is not finite.
pub fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        let both = a.iter().zip(b);
        both.map(|(&x, &y)| f64::from(x) * f64::from(y)).sum()
    };
    let norms = (dot(a, a) * dot(b, b)).sqrt();
    if norms == 0.0 { 1.0 } else { dot(a, b) / norms }
}

impl Decoder {
    /// Returns the norms of the latest gradients of each layer's W_Q and W_K, without biases. Both vanish where attention has collapsed
    /// (Inheritune, arXiv 2404.08634, appendix H). Empty for a model without gradients.
    pub fn query_key_gradients(&self) -> Result<(Vec<f64>, Vec<f64>)> {
        let config = &self.config;
        let mut norms = (Vec::new(), Vec::new());
        for layer in 0..config.n_layer {
            let Some(gradient) = self.query_key_value_gradient(layer) else {
                break;
            };
            let (of_q, of_k) = family::query_key_squares(config, &ops::read(&gradient)?);
            norms.0.push(of_q.sqrt());
            norms.1.push(of_k.sqrt());
        }
        Ok(norms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_turns_by_a_right_angle_is_another_thing() {
        let before = [1.0, 0.0, 3.0, 4.0, 0.0, 0.0];
        let after = [0.0, 2.0, 6.0, 8.0, 0.0, 0.0];
        assert_eq!(similarity(&before, &after, 2), 0.0 + 1.0 + 1.0);
        assert!(cosine(&[1.0, f32::NAN], &[1.0, 0.0]).is_nan());
        assert!(cosine(&[1.0, 0.0], &[f32::INFINITY, 0.0]).is_nan());
    }
}
