//! `heirloom bench ranks`: measures the time to compute attention ranks of a model's own matrices.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use serde_json::json;

use crate::bench::{median, peak_memory};
use crate::cli::input::Input;
use crate::cli::windows::{Windows, check_share};
use crate::cli::{Global, say};
use crate::model::Files;
use crate::rank::{ETA, k_stars, m_star};
use crate::run::table::aligned;
use crate::tensors::{DType, Spec, write_safetensors};
use crate::text;

/// Time attention ranks of a model's own matrices on one core
///
/// Every matrix of every layer, head and window: k*, then m*. With --write the matrices and their counts are kept, for another
/// program to decompose: scripts/compare_ranks_with_numpy.py does.
#[derive(Debug, clap::Args)]
pub struct Ranks {
    #[arg(value_name = "MODEL", help = crate::cli::values::MODEL, value_parser = crate::cli::values::exact_text())]
    model: String,
    #[command(flatten)]
    input: Input,
    #[command(flatten)]
    windows: Windows,
    /// Share of the squared singular values
    #[arg(long, value_name = "SHARE", default_value_t = 0.9)]
    tau: f64,
    /// Write each layer's matrices [N, H, T, T], k [N, H] and m [N, H] to this directory, as layer-00.safetensors and so on
    #[arg(long, value_name = "DIR")]
    write: Option<PathBuf>,
    #[command(flatten)]
    global: Global,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The matrices of a layer, and their counts.
#[derive(Default)]
struct Layer {
    attention: Vec<f32>,
    k: Vec<usize>,
    m: Vec<usize>,
    seconds: [f64; 2],
}

impl Ranks {
    /// # Errors
    /// When model or text cannot be read, or the matrices not written.
    pub fn run(self) -> Result<()> {
        check_share("--tau", self.tau)?;
        let located = crate::cli::find::located(&self.model, &self.global.runs)?;
        let files = Files::open(&located.path)?;
        self.windows.check(&files.config)?;
        let (heads, t) = (files.config.n_head, self.windows.length);
        let vocab = files.config.vocab;
        let given = self.input.read(&located, vocab, t, "a window")?;
        let starts = self.windows.starts(given.tokens.len());
        if let Some(dir) = &self.write {
            let named = || format!("{} cannot be made", text::path(dir));
            crate::file::create_dirs(dir).with_context(named)?;
        }
        let mut layer = Layer::default();
        let mut micros: Vec<[f64; 2]> = Vec::new();
        self.windows
            .walk(&files, &given.tokens, &starts, &mut |seen| {
                layer.measure(seen.attention, t, self.tau)?;
                if let Some(dir) = &self.write {
                    layer.attention.extend(seen.attention);
                    if seen.last {
                        layer.write(dir, seen.layer, [starts.len(), heads, t])?;
                    }
                }
                if seen.last {
                    let layer = std::mem::take(&mut layer);
                    let each = 1e6 / (heads * starts.len()) as f64;
                    micros.push(layer.seconds.map(|s| each * s));
                }
                Ok(())
            })?;
        let of = |which: usize| -> Vec<f64> { micros.iter().map(|m| m[which]).collect() };
        let (k, m) = (of(0), of(1));
        let mean = k.iter().sum::<f64>() / k.len() as f64;
        let matrices = heads * starts.len() * micros.len();
        if self.json {
            return Ok(say::json(&json!({
                "model": self.model,
                "matrices": matrices,
                "window_length": t,
                "tau": self.tau,
                "peak_memory_bytes": peak_memory(),
                "memory_bound_bytes": self.windows.bytes(&files.config),
                "k_micros": mean,
                "k_micros_by_layer": k,
                "m_micros_by_layer": m,
            }))?);
        }
        let range = |all: &[f64]| {
            let least = all.iter().copied().fold(f64::INFINITY, f64::min);
            let most = all.iter().copied().fold(0.0, f64::max);
            format!(
                "{:.1} us per matrix, median over the layers (range {least:.1} to {most:.1})",
                median(all)
            )
        };
        let rows = [
            [
                "matrices".into(),
                format!("{matrices} of {t} x {t}, on one core"),
            ],
            ["k*".into(), range(&k)],
            ["m*".into(), range(&m)],
            [
                "memory".into(),
                match peak_memory() {
                    Some(peak) => format!(
                        "at most {} MB, {} MB estimated for the layers",
                        peak >> 20,
                        self.windows.bytes(&files.config) >> 20
                    ),
                    None => "unknown on this system".into(),
                },
            ],
        ];
        Ok(say::out(&aligned(&rows, &[0, 1]))?)
    }
}

impl Layer {
    fn measure(
        &mut self,
        attention: &[f32],
        t: usize,
        tau: f64,
    ) -> Result<(), crate::rank::RankError> {
        let began = Instant::now();
        let k = k_stars(attention, t, tau).map_err(|(_, error)| error)?;
        self.seconds[0] += began.elapsed().as_secs_f64();
        let began = Instant::now();
        let m = attention.chunks_exact(t * t).map(|a| m_star(a, t, ETA));
        let m = m.collect::<Result<Vec<_>, _>>()?;
        self.seconds[1] += began.elapsed().as_secs_f64();
        self.k.extend(k);
        self.m.extend(m);
        Ok(())
    }

    fn write(&self, dir: &Path, layer: usize, [n, heads, t]: [usize; 3]) -> std::io::Result<()> {
        let counts = |all: &[usize]| -> Vec<u8> {
            let all = all.iter().map(|&x| x as i32);
            all.flat_map(i32::to_le_bytes).collect()
        };
        let (k, m) = (counts(&self.k), counts(&self.m));
        let of = |name: &str, dtype, shape: &[usize]| Spec {
            name: name.into(),
            shape: shape.into(),
            dtype,
        };
        let tensors: [(Spec, &[u8]); 3] = [
            (
                of("attention", DType::F32, &[n, heads, t, t]),
                bytemuck::cast_slice(&self.attention),
            ),
            (of("k", DType::I32, &[n, heads]), &k),
            (of("m", DType::I32, &[n, heads]), &m),
        ];
        let path = dir.join(format!("layer-{layer:02}.safetensors"));
        let mut new = crate::file::NewFile::create(&path)?;
        write_safetensors(new.file(), &path, None, tensors)?;
        new.commit_unsynced()
    }
}
