//! Ranks and masses of a model over many windows.

use std::io;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::approximate::{RankError, m_star};
use super::batched::{k_stars, scratch_bytes};
use crate::file::Dir;
use crate::tensors::{DType, Spec, write_safetensors};

/// Least number of matrices of a batch: fewer ones are not divided among threads.
const LEAST: usize = 16;

/// Returns the bytes that the decomposition of `t x t` matrices needs in addition to them.
pub fn decomposing_bytes(matrices: usize, t: usize) -> u64 {
    let jobs = matrices.div_ceil(LEAST).min(rayon::current_num_threads());
    jobs as u64 * scratch_bytes(t)
}

/// Running sums of one head.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    n: u32,
    k: f64,
    k2: f64,
    m: f64,
    m2: f64,
    sink: f64,
    largest: usize,
}

/// k* and m* of one attention matrix, and the mean attention on its first token.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Count {
    k: usize,
    m: usize,
    sink: f64,
}

/// Collects attention matrices, layer by layer and batch by batch.
#[derive(Debug)]
pub struct ProbeAccumulator {
    n_head: usize,
    tau: f64,
    eta: f64,
    length: usize,
    layers: Vec<Vec<Sums>>,
}

/// Ranks and masses, `[layer][head]`.
#[derive(Debug, Clone, PartialEq)]
pub struct ProbeResult {
    /// Mean k* over the windows, and its standard deviation (ddof 1).
    pub rank: Vec<Vec<f64>>,
    pub rank_std: Vec<Vec<f64>>,
    /// Mean m* over the windows, and its standard deviation.
    pub mass: Vec<Vec<f64>>,
    pub mass_std: Vec<Vec<f64>>,
    /// Mean share of attention on the first token, over the rows after the first and the windows (an attention sink,
    /// arXiv 2309.17453). NaN where a window has one token.
    pub sink: Vec<Vec<f64>>,
    /// Per layer: the largest mean k* of its heads.
    pub max_rank: Vec<f64>,
    /// Per layer: the mean over heads of the mean m*.
    pub avg_mass: Vec<f64>,
    /// Layers in which k* = 1 in every head and window.
    pub lazy_layers: Vec<usize>,
    /// Heads in which k* = 1 in every window.
    pub heads_at_one: usize,
    pub windows: usize,
    pub length: usize,
    pub tau: f64,
    pub eta: f64,
}

impl ProbeAccumulator {
    /// Makes an accumulator for windows of `length` tokens; `tau` is the share of k*, `eta` that of m*.
    ///
    /// # Errors
    /// When `tau` or `eta` is outside (0, 1].
    pub fn new(
        n_layer: usize,
        n_head: usize,
        (tau, eta): (f64, f64),
        length: usize,
    ) -> Result<Self, RankError> {
        for share in [tau, eta] {
            if !(share > 0.0 && share <= 1.0) {
                return Err(RankError::Threshold(share));
            }
        }
        Ok(Self {
            n_head,
            tau,
            eta,
            length,
            layers: vec![vec![Sums::default(); n_head]; n_layer],
        })
    }

    /// Adds a layer's matrices of some windows, `attention[B, H, T, T]`.
    ///
    /// # Errors
    /// When a value of a matrix is not finite; the error names layer and head.
    pub fn add(&mut self, layer: usize, attention: &[f32]) -> Result<(), RankError> {
        let counts = self.count(layer, attention)?;
        self.add_counts(layer, &counts);
        Ok(())
    }

    /// Returns the counts that [`Self::add`] adds for a layer's matrices, `attention[B, H, T, T]`: B H counts in their order.
    ///
    /// # Errors
    /// As [`Self::add`].
    pub fn count(&self, layer: usize, attention: &[f32]) -> Result<Vec<Count>, RankError> {
        let (t, tau, eta, n_head) = (self.length, self.tau, self.eta, self.n_head);
        // Many matrices for each thread, since groups are formed from those that remain.
        let jobs = 4 * rayon::current_num_threads();
        let group = (attention.len() / (t * t)).div_ceil(jobs).max(LEAST);
        let groups = attention.par_chunks(group * t * t).enumerate();
        let counts: Vec<Vec<Count>> = groups
            .map(|(number, matrices)| {
                let named = |i: usize, source| RankError::At {
                    layer,
                    head: (number * group + i) % n_head,
                    source: Box::new(source),
                };
                let k = k_stars(matrices, t, tau).map_err(|(i, error)| named(i, error))?;
                let each = k.into_iter().zip(matrices.chunks_exact(t * t)).enumerate();
                let counts = each.map(|(i, (k, a))| {
                    let m = m_star(a, t, eta).map_err(|error| named(i, error))?;
                    let sink = sink(a, t);
                    Ok(Count { k, m, sink })
                });
                counts.collect()
            })
            .collect::<Result<_, RankError>>()?;
        Ok(counts.concat())
    }

    /// Adds counts of a layer's matrices, window by window. Sums depend only on the order of the windows, not on the number that is
    /// added at once.
    pub fn add_counts(&mut self, layer: usize, counts: &[Count]) {
        for (i, &Count { k, m, sink }) in counts.iter().enumerate() {
            let sums = &mut self.layers[layer][i % self.n_head];
            let (kf, mf) = (k as f64, m as f64);
            sums.n += 1;
            sums.k += kf;
            sums.k2 += kf * kf;
            sums.m += mf;
            sums.m2 += mf * mf;
            sums.sink += sink;
            sums.largest = sums.largest.max(k);
        }
    }

    /// Computes means, standard deviations, and lazy layers.
    pub fn finish(self) -> ProbeResult {
        let table = |f: &dyn Fn(&Sums) -> f64| -> Vec<Vec<f64>> {
            self.layers
                .iter()
                .map(|heads| heads.iter().map(f).collect())
                .collect()
        };
        let rank = table(&|s| s.k / f64::from(s.n));
        let mass = table(&|s| s.m / f64::from(s.n));
        let lazy = |heads: &Vec<Sums>| heads.iter().all(|s| s.largest == 1);
        ProbeResult {
            rank_std: table(&|s| std(f64::from(s.n), s.k, s.k2)),
            sink: table(&|s| s.sink / f64::from(s.n)),
            mass_std: table(&|s| std(f64::from(s.n), s.m, s.m2)),
            max_rank: rank
                .iter()
                .map(|heads| heads.iter().copied().fold(0.0, f64::max))
                .collect(),
            avg_mass: mass
                .iter()
                .map(|heads| heads.iter().sum::<f64>() / heads.len() as f64)
                .collect(),
            lazy_layers: (0..self.layers.len())
                .filter(|&l| lazy(&self.layers[l]))
                .collect(),
            heads_at_one: self
                .layers
                .iter()
                .flatten()
                .filter(|s| s.largest == 1)
                .count(),
            windows: self
                .layers
                .first()
                .and_then(|heads| heads.first())
                .map_or(0, |s| s.n as usize),
            length: self.length,
            tau: self.tau,
            eta: self.eta,
            rank,
            mass,
        }
    }
}

/// Returns the mean of the first column of a row-major `t x t` matrix below its first row.
fn sink(a: &[f32], t: usize) -> f64 {
    let first = a.chunks_exact(t).skip(1).map(|row| f64::from(row[0]));
    first.sum::<f64>() / (t - 1) as f64
}

/// Computes the sample standard deviation from sums; 0 for a single value. (Counts are at most a few thousand, so cancellation
/// is harmless.)
fn std(n: f64, sum: f64, squares: f64) -> f64 {
    if n < 2.0 {
        return 0.0;
    }
    ((squares - sum * sum / n).max(0.0) / (n - 1.0)).sqrt()
}

/// Measurements of each layer other than its ranks; a list that was not measured is empty.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LayerStats {
    /// 1 - mean cosine similarity of a block's input and output (ShortGPT, arXiv 2403.03853).
    pub block_influence: Vec<f64>,
    /// Gradient norms of W_Q and W_K.
    pub grad_q: Vec<f64>,
    pub grad_k: Vec<f64>,
}

impl ProbeResult {
    /// Writes `rank`, `rank_std`, `mass`, `mass_std` and `sink`, f32 `[L, H]`, and `block_influence`, `grad_q` and `grad_k`,
    /// f32 `[L]`, where they were measured, as safetensors, replacing a file of that name. The file is not flushed,
    /// since a resume measures it again.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, stats: &LayerStats, dir: &Dir, name: &str) -> io::Result<()> {
        let (layers, heads) = (self.rank.len(), self.rank.first().map_or(0, Vec::len));
        let bytes = |values: &mut dyn Iterator<Item = &f64>| -> Vec<u8> {
            values.flat_map(|&x| (x as f32).to_le_bytes()).collect()
        };
        let table = |name, table: &[Vec<f64>]| {
            let values = bytes(&mut table.iter().flatten());
            (name, vec![layers, heads], values)
        };
        let list = |name, list: &[f64]| (name, vec![layers], bytes(&mut list.iter()));
        let mut tensors = vec![
            table("rank", &self.rank),
            table("rank_std", &self.rank_std),
            table("mass", &self.mass),
            table("mass_std", &self.mass_std),
            table("sink", &self.sink),
        ];
        let lists = [
            list("block_influence", &stats.block_influence),
            list("grad_q", &stats.grad_q),
            list("grad_k", &stats.grad_k),
        ];
        tensors.extend(lists.into_iter().filter(|(.., bytes)| !bytes.is_empty()));
        let (tau, length, windows) = (
            self.tau.to_string(),
            self.length.to_string(),
            self.windows.to_string(),
        );
        let metadata = [
            ("tau", &tau[..]),
            ("length", &length),
            ("windows", &windows),
        ];
        let tensors = tensors.iter().map(|(name, shape, bytes)| {
            let spec = Spec {
                name: (*name).into(),
                shape: shape.clone(),
                dtype: DType::F32,
            };
            (spec, &bytes[..])
        });
        let mut new = dir.begin_file(name)?;
        write_safetensors(new.file(), &dir.path_of(name), Some(&metadata), tensors)?;
        new.commit_unsynced()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first_column(t: usize) -> Vec<f32> {
        (0..t * t)
            .map(|i| if i % t == 0 { 1.0 } else { 0.0 })
            .collect()
    }

    fn identity(t: usize) -> Vec<f32> {
        (0..t * t)
            .map(|i| if i % t == i / t { 1.0 } else { 0.0 })
            .collect()
    }

    #[test]
    fn a_layer_is_lazy_only_when_every_head_and_window_is() {
        let t = 10;
        let mut probe = ProbeAccumulator::new(3, 2, (0.9, 0.9), t).unwrap();
        let (lazy, full) = (first_column(t), identity(t));
        // Two windows, two heads each: [window][head].
        probe
            .add(
                0,
                &[lazy.clone(), lazy.clone(), lazy.clone(), lazy.clone()].concat(),
            )
            .unwrap();
        probe
            .add(
                1,
                &[lazy.clone(), lazy.clone(), lazy.clone(), full.clone()].concat(),
            )
            .unwrap();
        probe
            .add(
                2,
                &[full.clone(), lazy.clone(), full.clone(), lazy.clone()].concat(),
            )
            .unwrap();
        let result = probe.finish();
        assert_eq!(result.lazy_layers, [0]);
        assert_eq!(result.heads_at_one, 4);
        assert_eq!(result.rank, [[1.0, 1.0], [1.0, 5.0], [9.0, 1.0]]);
        assert_eq!(result.max_rank, [1.0, 5.0, 9.0]);
        assert_eq!(result.avg_mass, [1.0, 3.0, 5.0]);
        // All attention on the first token, or none of it except in the first row.
        assert_eq!(result.sink, [[1.0, 1.0], [1.0, 0.5], [0.0, 1.0]]);
        assert_eq!(result.windows, 2);
        assert!((result.rank_std[1][1] - 32f64.sqrt()).abs() < 1e-12);
    }

    #[test]
    fn a_nan_names_its_layer_and_head() {
        let mut probe = ProbeAccumulator::new(2, 2, (0.9, 0.9), 4).unwrap();
        let mut bad = identity(4);
        bad[5] = f32::NAN;
        let error = probe
            .add(1, &[identity(4), bad].concat())
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("layer 1, head 1:"), "{error}");
    }
}
