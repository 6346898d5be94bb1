//! Rotary positions (Su et al., arXiv 2104.09864) with the scalings in use.

use std::f64::consts::TAU;

use serde::{Deserialize, Serialize};

/// Base and scaling of rotary positions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rope {
    /// `rope_theta`.
    pub theta: f64,
    pub scaling: RopeScaling,
}

/// The change of angles for contexts longer than those of pre-training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum RopeScaling {
    None,
    /// Every frequency is divided by the factor (Chen et al., arXiv 2306.15595).
    Linear(f64),
    /// Llama 3's: long wavelengths are divided by `factor`, short ones kept, those between interpolated.
    Llama3 {
        factor: f64,
        low: f64,
        high: f64,
        /// Context of the pre-training.
        original: f64,
    },
    /// A divisor for every frequency, `head_size / 2` of them.
    Factors(Vec<f32>),
}

impl Rope {
    /// Returns the angle per position of each of the `head_size / 2` channel pairs, in f32 as Hugging Face's models compute it.
    pub fn frequencies(&self, head_size: usize) -> Vec<f32> {
        let plain = (0..head_size / 2).map(|i| {
            let exponent = (2 * i) as f32 / head_size as f32;
            (1.0 / self.theta.powf(f64::from(exponent))) as f32
        });
        match &self.scaling {
            RopeScaling::None => plain.collect(),
            RopeScaling::Linear(factor) => plain.map(|f| f / *factor as f32).collect(),
            RopeScaling::Llama3 {
                factor,
                low,
                high,
                original,
            } => plain
                .map(|f| {
                    let f = f64::from(f);
                    let wavelength = TAU / f;
                    let scaled = if wavelength < original / high {
                        f
                    } else if wavelength > original / low {
                        f / factor
                    } else {
                        let s = (original / wavelength - low) / (high - low);
                        (1.0 - s) * f / factor + s * f
                    };
                    scaled as f32
                })
                .collect(),
            RopeScaling::Factors(factors) => plain.zip(factors).map(|(f, by)| f / by).collect(),
        }
    }

    /// Returns the divisors of the frequencies, `head_size / 2` numbers.
    pub fn divisors(&self, head_size: usize) -> Vec<f32> {
        let plain = Self {
            theta: self.theta,
            scaling: RopeScaling::None,
        };
        let plain = plain.frequencies(head_size).into_iter();
        let scaled = self.frequencies(head_size);
        plain.zip(scaled).map(|(f, scaled)| f / scaled).collect()
    }

    /// Returns `[time, head_size]`: for each position the cosines of its angles, then the sines.
    pub fn table(&self, head_size: usize, time: usize) -> Vec<f32> {
        let frequencies = self.frequencies(head_size);
        let mut table = Vec::with_capacity(time * head_size);
        for position in 0..time {
            // The product is rounded to f32, as in the models' own code.
            let angle = |f: &f32| f64::from(*f * position as f32);
            table.extend(frequencies.iter().map(|f| angle(f).cos() as f32));
            table.extend(frequencies.iter().map(|f| angle(f).sin() as f32));
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn llama3s_scaling_keeps_short_waves_and_lengthens_long_ones() {
        let plain = Rope {
            theta: 500_000.0,
            scaling: RopeScaling::None,
        };
        let scaled = Rope {
            scaling: RopeScaling::Llama3 {
                factor: 8.0,
                low: 1.0,
                high: 4.0,
                original: 8192.0,
            },
            ..plain.clone()
        };
        let (a, b) = (plain.frequencies(128), scaled.frequencies(128));
        assert_eq!(a[0], b[0]);
        assert!((b[63] - a[63] / 8.0).abs() < 1e-12);
        let between = a.iter().zip(&b).filter(|(a, b)| {
            let ratio = f64::from(**b) / f64::from(**a);
            ratio > 0.126 && ratio < 0.999
        });
        assert!(between.count() > 3);
    }

    #[test]
    fn the_table_holds_cosines_then_sines() {
        let rope = Rope {
            theta: 10_000.0,
            scaling: RopeScaling::Linear(2.0),
        };
        let table = rope.table(4, 3);
        assert_eq!(&table[..4], [1.0, 1.0, 0.0, 0.0]);
        let want = [1f64.cos(), 0.01f64.cos(), 1f64.sin(), 0.01f64.sin()];
        for (got, want) in table[8..].iter().zip(want) {
            assert!((f64::from(*got) - want).abs() < 1e-7);
        }
    }
}
