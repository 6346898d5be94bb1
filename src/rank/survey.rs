//! Collects the ranks of a model, layer by layer, and derives results from them.

use serde_json::{Value, json};

use super::approximate::RankError;
use super::probe::{ProbeAccumulator, ProbeResult};

/// Heads with a mean rank below this are drawn as collapsed, and layers with such a MaxRank are called nearly lazy.
pub const COLLAPSED: f64 = 2.0;

/// The values of tau in a sweep.
pub const SWEEP: [f64; 4] = [0.80, 0.85, 0.90, 0.95];

/// Settings of a survey.
#[derive(Debug, Clone, Copy)]
pub struct Measure {
    pub tau: f64,
    pub eta: f64,
    /// Tokens of a window.
    pub length: usize,
    /// Average the attention over the windows before taking ranks, as the authors' notebook does over a batch.
    pub batch_mean: bool,
    /// Also compute MaxRank at other values of tau.
    pub sweep: bool,
}

/// Collects a model's attention matrices, one layer at a time.
#[derive(Debug)]
pub struct Survey {
    of: Measure,
    n_head: usize,
    ranks: ProbeAccumulator,
    /// For each value of tau an accumulator, of which only the ranks are used.
    sweep: Vec<(f64, ProbeAccumulator)>,
    /// Sums of the present layer, `[H, T, T]`, and the number of windows in them.
    mean: (Vec<f64>, usize),
}

impl Survey {
    /// Makes a survey of a model of this shape.
    ///
    /// # Errors
    /// When a share is outside (0, 1].
    pub fn new(n_layer: usize, n_head: usize, of: Measure) -> Result<Self, RankError> {
        let one = |tau| ProbeAccumulator::new(n_layer, n_head, (tau, of.eta), of.length);
        let taus = if of.sweep { &SWEEP[..] } else { &[] };
        let sweep = taus.iter().map(|&tau| Ok((tau, one(tau)?)));
        Ok(Self {
            ranks: one(of.tau)?,
            sweep: sweep.collect::<Result<_, RankError>>()?,
            mean: (Vec::new(), 0),
            n_head,
            of,
        })
    }

    /// Adds a layer's matrices of some windows, `attention[B, H, T, T]`.
    ///
    /// # Errors
    /// When a matrix holds a number that is not finite, named by layer and head.
    pub fn add(&mut self, layer: usize, attention: &[f32]) -> Result<(), RankError> {
        if !self.of.batch_mean {
            return self.take(layer, attention);
        }
        let size = self.n_head * self.of.length * self.of.length;
        self.mean.0.resize(size, 0.0);
        for window in attention.chunks_exact(size) {
            for (sum, &a) in self.mean.0.iter_mut().zip(window) {
                *sum += f64::from(a);
            }
            self.mean.1 += 1;
        }
        Ok(())
    }

    /// Completes a layer after all its windows.
    ///
    /// # Errors
    /// As [`Self::add`].
    pub fn end_of_layer(&mut self, layer: usize) -> Result<(), RankError> {
        if !self.of.batch_mean {
            return Ok(());
        }
        let (sums, n) = std::mem::take(&mut self.mean);
        let mean: Vec<f32> = sums.iter().map(|s| (s / n as f64) as f32).collect();
        self.take(layer, &mean)
    }

    fn take(&mut self, layer: usize, attention: &[f32]) -> Result<(), RankError> {
        self.ranks.add(layer, attention)?;
        for (_, ranks) in &mut self.sweep {
            ranks.add(layer, attention)?;
        }
        Ok(())
    }

    /// Returns the results.
    pub fn finish(self, influence: Vec<f64>) -> Surveyed {
        let sweep = self.sweep.into_iter();
        Surveyed {
            ranks: self.ranks.finish(),
            sweep: sweep.map(|(tau, r)| (tau, r.finish().max_rank)).collect(),
            influence,
            batch_mean: self.of.batch_mean,
        }
    }
}

/// The results of a survey.
#[derive(Debug, Clone, PartialEq)]
pub struct Surveyed {
    pub ranks: ProbeResult,
    /// MaxRank per layer at other values of tau.
    pub sweep: Vec<(f64, Vec<f64>)>,
    /// Block influence per layer.
    pub influence: Vec<f64>,
    pub batch_mean: bool,
}

impl Surveyed {
    /// Returns the mean of MaxRank over all layers.
    pub fn avg_rank(&self) -> f64 {
        let all = &self.ranks.max_rank;
        all.iter().sum::<f64>() / all.len() as f64
    }

    /// Returns the standard deviation over the windows of the head that has the layer's MaxRank.
    pub fn spread(&self, layer: usize) -> f64 {
        let heads = self.ranks.rank[layer].iter();
        let largest = heads.zip(&self.ranks.rank_std[layer]);
        largest
            .max_by(|a, b| a.0.total_cmp(b.0))
            .map_or(0.0, |(_, std)| *std)
    }

    /// Returns the number of heads whose mean rank is below [`COLLAPSED`].
    pub fn collapsed_heads(&self) -> usize {
        let heads = self.ranks.rank.iter().flatten();
        heads.filter(|&&rank| rank < COLLAPSED).count()
    }

    /// Returns the layers whose MaxRank is below [`COLLAPSED`], including lazy ones.
    pub fn nearly_lazy_layers(&self) -> Vec<usize> {
        let all = self.ranks.max_rank.iter().enumerate();
        let nearly = all.filter(|(_, rank)| **rank < COLLAPSED);
        nearly.map(|(layer, _)| layer).collect()
    }

    /// Returns the number of layers before the first that is lazy or nearly so.
    pub fn potent_prefix(&self) -> usize {
        let all = &self.ranks.max_rank;
        let first = all.iter().position(|rank| *rank < COLLAPSED);
        first.unwrap_or(all.len())
    }

    /// Returns everything as JSON, with the windows' `starts` in a text of `n_tokens`.
    pub fn json(&self, starts: &[usize], n_tokens: usize) -> Value {
        let r = &self.ranks;
        let sweep = self.sweep.iter();
        json!({
            "rank": r.rank,
            "rank_std": r.rank_std,
            "mass": r.mass,
            "sink": r.sink,
            "mass_std": r.mass_std,
            "max_rank": r.max_rank,
            "avg_rank": self.avg_rank(),
            "avg_mass": r.avg_mass,
            "block_influence": self.influence,
            "collapsed_heads": {"below_2": self.collapsed_heads(), "at_1": r.heads_at_one},
            "lazy_layers": r.lazy_layers,
            "nearly_lazy_layers": self.nearly_lazy_layers(),
            "potent_prefix": self.potent_prefix(),
            "max_rank_by_tau": sweep.map(|(tau, ranks)| json!({"tau": tau, "max_rank": ranks})).collect::<Vec<_>>(),
            "tau": r.tau,
            "eta": r.eta,
            "windows": starts.len(),
            "window_length": r.length,
            "batch_mean": self.batch_mean,
            "starts": starts,
            "n_tokens": n_tokens,
        })
    }

    /// Returns a line for each head: layer, head, mean and deviation of k* and m*.
    pub fn csv(&self) -> String {
        let r = &self.ranks;
        let mut text = String::from("layer,head,rank,rank_std,mass,mass_std\n");
        for layer in 0..r.rank.len() {
            for head in 0..r.rank[layer].len() {
                text.push_str(&format!(
                    "{layer},{head},{},{},{},{}\n",
                    r.rank[layer][head],
                    r.rank_std[layer][head],
                    r.mass[layer][head],
                    r.mass_std[layer][head]
                ));
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rank::{k_star, m_star};

    const T: usize = 8;

    fn to_first() -> Vec<f32> {
        (0..T * T).map(|i| f32::from(i % T == 0)).collect()
    }

    fn to_itself() -> Vec<f32> {
        (0..T * T).map(|i| f32::from(i % T == i / T)).collect()
    }

    fn to_none_but(column: usize) -> Vec<f32> {
        (0..T * T).map(|i| f32::from(i % T == column)).collect()
    }

    fn measure(batch_mean: bool, sweep: bool) -> Measure {
        Measure {
            tau: 0.9,
            eta: 0.9,
            length: T,
            batch_mean,
            sweep,
        }
    }

    #[test]
    fn the_potent_prefix_ends_before_the_first_collapsed_layer() {
        let mut survey = Survey::new(3, 2, measure(false, true)).unwrap();
        let layers = [
            [to_itself(), to_first()].concat(),
            [to_first(), to_first()].concat(),
            [to_itself(), to_itself()].concat(),
        ];
        for (layer, attention) in layers.iter().enumerate() {
            survey.add(layer, attention).unwrap();
            survey.end_of_layer(layer).unwrap();
        }
        let found = survey.finish(vec![0.5, 0.1, 0.4]);
        assert_eq!(found.ranks.max_rank, [8.0, 1.0, 8.0]);
        assert_eq!(found.potent_prefix(), 1);
        assert_eq!(found.ranks.lazy_layers, [1]);
        assert_eq!(found.nearly_lazy_layers(), [1]);
        assert_eq!((found.collapsed_heads(), found.ranks.heads_at_one), (3, 3));
        // 0.80, 0.85, 0.90 and 0.95 of eight equal values: 7, 7, 8 and 8 of them.
        let sweep: Vec<f64> = found.sweep.iter().map(|(_, ranks)| ranks[0]).collect();
        assert_eq!(sweep, [7.0, 7.0, 8.0, 8.0]);
        let lines = found.csv();
        assert_eq!(lines.lines().count(), 7);
        assert!(lines.contains("\n0,1,1,0,1,0\n"), "{lines}");
    }

    /// Windows that each attend to one column have rank one; their average has as many ranks as there are columns.
    #[test]
    fn an_average_over_windows_has_another_rank() {
        let windows = [to_none_but(0), to_none_but(1)].concat();
        for (batch_mean, rank) in [(false, 1.0), (true, 1.0)] {
            let mut survey = Survey::new(1, 1, measure(batch_mean, false)).unwrap();
            survey.add(0, &windows).unwrap();
            survey.end_of_layer(0).unwrap();
            assert_eq!(survey.finish(vec![0.0]).ranks.max_rank, [rank]);
        }
        // Single columns stay rank one however they are averaged; with the identity the average has more.
        let windows = [to_itself(), to_first()].concat();
        let mut survey = Survey::new(1, 1, measure(true, false)).unwrap();
        survey.add(0, &windows).unwrap();
        survey.end_of_layer(0).unwrap();
        let mean: Vec<f32> = (0..T * T)
            .map(|i| (f32::from(i % T == i / T) + f32::from(i % T == 0)) / 2.0)
            .collect();
        let found = survey.finish(vec![0.0]);
        assert_eq!(
            found.ranks.rank[0][0],
            k_star(&mean, T, 0.9).unwrap() as f64
        );
        assert_eq!(
            found.ranks.mass[0][0],
            m_star(&mean, T, 0.9).unwrap() as f64
        );
        assert_eq!(found.ranks.windows, 1);
    }
}
