//! Attention maps of chosen heads: the mean of a head's attention matrices over the windows.

use super::survey::Surveyed;

/// Most maps; each holds the square of a window's length.
pub const MOST_MAPS: usize = 24;

/// A head by its layer, both from 0.
pub type Head = (usize, usize);

/// A head's attention, averaged.
#[derive(Debug, Clone, PartialEq)]
pub struct Map {
    pub head: Head,
    /// Tokens of a window.
    pub length: usize,
    /// Attention `[T, T]` of the row's token to the column's.
    pub mean: Vec<f32>,
}

/// Collects attention matrices of the chosen heads.
#[derive(Debug)]
pub struct Maps {
    wanted: Vec<Head>,
    n_head: usize,
    length: usize,
    sums: Vec<Vec<f64>>,
    windows: usize,
}

impl Maps {
    /// Makes a collection for windows of `length` tokens in a model with `n_head` heads per layer.
    pub fn new(wanted: &[Head], n_head: usize, length: usize) -> Self {
        Self {
            wanted: wanted.to_vec(),
            n_head,
            length,
            sums: vec![vec![0.0; length * length]; wanted.len()],
            windows: 0,
        }
    }

    /// Adds a layer's matrices of some windows, `attention[B, H, T, T]`.
    pub fn add(&mut self, layer: usize, attention: &[f32]) {
        let size = self.length * self.length;
        if layer == 0 {
            self.windows += attention.len() / (size * self.n_head);
        }
        for (&(of, head), sums) in self.wanted.iter().zip(&mut self.sums) {
            if of != layer {
                continue;
            }
            let matrices = attention.chunks_exact(size).skip(head);
            for matrix in matrices.step_by(self.n_head) {
                for (sum, &a) in sums.iter_mut().zip(matrix) {
                    *sum += f64::from(a);
                }
            }
        }
    }

    /// Returns the means.
    pub fn finish(self) -> Vec<Map> {
        let n = self.windows as f64;
        let heads = self.wanted.into_iter().zip(self.sums);
        heads
            .map(|(head, sums)| Map {
                head,
                length: self.length,
                mean: sums.iter().map(|s| (s / n) as f32).collect(),
            })
            .collect()
    }
}

impl Map {
    /// Returns JSON: layer, head, mean k* and m* and the matrix by rows.
    pub fn json(&self, found: &Surveyed) -> serde_json::Value {
        let (layer, head) = self.head;
        serde_json::json!({
            "layer": layer,
            "head": head,
            "rank": found.ranks.rank[layer][head],
            "mass": found.ranks.mass[layer][head],
            "mean": self.mean.chunks_exact(self.length).collect::<Vec<_>>(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_is_the_mean_over_all_windows() {
        let (t, n_head) = (2, 3);
        let mut maps = Maps::new(&[(1, 2), (0, 0)], n_head, t);
        // Two batches of two windows and one, in each of two layers: every matrix is filled with its number.
        let mut number = 0.0;
        let mut of = |windows: usize| -> Vec<f32> {
            let all = (0..windows * n_head).flat_map(|_| {
                number += 1.0;
                vec![number as f32; t * t]
            });
            all.collect()
        };
        for layer in 0..2 {
            for windows in [2, 1] {
                maps.add(layer, &of(windows));
            }
        }
        let found = maps.finish();
        // Layer 1 has the matrices 10 to 18, head 2 of it 12, 15 and 18.
        assert_eq!((found[0].head, found[0].mean[3]), ((1, 2), 15.0));
        assert_eq!((found[1].head, found[1].mean[0]), ((0, 0), 4.0));
    }
}
