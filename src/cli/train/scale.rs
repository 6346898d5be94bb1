//! `train --dry-run --ranks N`: estimates the cost of several ranks by formulas (docs/scale.md).

use serde::Serialize;

use crate::config::Config;
use crate::device::memory;
use crate::model::{DecoderConfig, Positions};
use crate::run::event::time_words;
use crate::run::table;
use crate::train::Passes;
use crate::train::memory::Memory;
use crate::train::plan::{self, PhaseSpec};
use crate::train::teacher::TeacherPaths;

/// Links that are shown unless `--link` names one, in Gbit/s: three kinds of Ethernet, InfiniBand NDR, and an H100's NVLink in
/// one direction.
const LINKS: [f64; 5] = [1.0, 10.0, 100.0, 400.0, 3600.0];
/// Bytes of an f32.
const F32: f64 = 4.0;
/// Share of a training step's operations in its backward pass.
const BACKWARD: f64 = 2.0 / 3.0;

/// The form of a plan, and the number of processes to plan for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Asked {
    pub json: bool,
    /// Number of ranks, and Gbit/s between them if given.
    pub ranks: Option<(usize, Option<f64>)>,
}

/// The measures of a step of several ranks, without its exchanges.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Step {
    /// Number of ranks.
    pub world: usize,
    pub parameters: u64,
    /// Parameters of the embeddings, whose gradients are finished last.
    pub embeddings: u64,
    /// Seconds of one rank's computation.
    pub compute: f64,
    /// Micro-batches of one rank.
    pub micro_batches: usize,
    /// Bytes of a bucket of gradients.
    pub bucket: usize,
}

impl Step {
    /// Bytes that each rank sends, and receives, while gradients are summed: a ring's reduce-scatter and all-gather
    /// (Patarasuk and Yuan, J. Parallel Distrib. Comput. 69, 2009).
    pub fn sum_bytes(&self) -> f64 {
        2.0 * self.part() * self.gradients()
    }

    /// Bytes that each rank sends, and receives, while weights are completed that a sharded optimizer has updated.
    pub fn gather_bytes(&self) -> f64 {
        self.part() * self.gradients()
    }

    fn gradients(&self) -> f64 {
        F32 * self.parameters as f64
    }

    fn part(&self) -> f64 {
        (self.world - 1) as f64 / self.world as f64
    }

    /// Seconds of the backward pass that exchanges can hide behind: the last micro-batch's.
    pub fn backward(&self) -> f64 {
        BACKWARD * self.compute / self.micro_batches as f64
    }

    /// Returns the time of a step's exchanges over a link of `gbit` Gbit/s in each direction.
    pub fn over(&self, gbit: f64) -> Exchange {
        let seconds = |bytes: f64| 8.0 * bytes / (1e9 * gbit);
        let sum = seconds(self.sum_bytes());
        // The last bucket and the embeddings are finished at the end of the backward pass, so their exchange is never hidden.
        let last = (F32 * self.embeddings as f64 + self.bucket as f64).min(self.gradients());
        let hidden = sum * (1.0 - last / self.gradients());
        let exposed = sum - hidden.min(self.backward());
        let gather = seconds(self.gather_bytes());
        Exchange {
            gbit,
            sum_seconds: sum,
            exposed_seconds: exposed,
            efficiency: self.compute / (self.compute + exposed),
            gather_seconds: gather,
            efficiency_sharded: self.compute / (self.compute + exposed + gather),
        }
    }
}

/// The time of a step's exchanges over a link.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Exchange {
    pub gbit: f64,
    /// Time of summing all gradients, and the part of it that is not hidden behind the backward pass.
    pub sum_seconds: f64,
    pub exposed_seconds: f64,
    /// Speed of all ranks over that of as many single processes.
    pub efficiency: f64,
    /// Time of gathering the weights, with a sharded optimizer.
    pub gather_seconds: f64,
    pub efficiency_sharded: f64,
}

/// The plan for one process.
pub(super) struct Plan<'a> {
    pub config: &'a Config,
    /// The reference's shape.
    pub shape: &'a DecoderConfig,
    pub passes: Passes,
    /// Bytes of tokens in memory.
    pub text: u64,
    pub teachers: &'a TeacherPaths,
}

impl Plan<'_> {
    fn phases(&self, passes: &Passes) -> anyhow::Result<Vec<PhaseSpec>> {
        plan::phases(self.config, self.shape, passes, self.text, self.teachers)
    }
}

/// The estimated cost of several ranks.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Scale {
    pub world: usize,
    /// Windows of a step, and of one pass.
    pub windows: usize,
    pub micro_batch: usize,
    /// Why the ranks would be refused.
    pub refused: Option<String>,
    /// Memory of rank 0, which writes the checkpoints, in the phase that needs most. With a sharded optimizer it keeps only its part
    /// of the moments (stage 1 of ZeRO: Rajbhandari et al., 2020, arXiv 1910.02054, section 5.1).
    pub memory_bytes: u64,
    pub memory_bytes_sharded: u64,
    /// Memory of all ranks together, not counting that of GPUs, if they run on one host. Rank 0 alone holds the copy of a checkpoint.
    pub host_bytes: u64,
    pub host_bytes_sharded: u64,
    /// Free memory of this host.
    pub host_free_bytes: Option<u64>,
    /// Bytes that each rank sends in a step.
    pub sum_bytes: u64,
    pub gather_bytes: u64,
    pub compute_seconds: f64,
    pub backward_seconds: f64,
    pub links: Vec<Exchange>,
}

impl Scale {
    /// Estimates the cost of ranks that train `plan`'s phases at `speed` operations per second each and sum gradients in buckets of
    /// `bucket` bytes.
    ///
    /// # Errors
    /// When the phases cannot be planned.
    pub fn of(
        plan: &Plan<'_>,
        (world, gbit): (usize, Option<f64>),
        speed: f64,
        bucket: usize,
    ) -> anyhow::Result<Self> {
        let world = world.max(1);
        // Several ranks map the files of ids (`crate::corpus::TokenCache`).
        let text = if world > 1 { 0 } else { plan.text };
        let plan = &Plan { text, ..*plan };
        let Plan { config, passes, .. } = *plan;
        let (passes, refused) = match passes.among(config, world) {
            Ok(passes) => (passes, None),
            Err(why) => (Passes { world, ..passes }, Some(format!("{why:#}"))),
        };
        let windows = (passes.batch_tokens / passes.time.max(1) as u64) as usize;
        let phases = |sharded: bool| plan.phases(&Passes { sharded, ..passes });
        let most = |all: &[PhaseSpec]| all.iter().map(|p| p.memory.total()).max().unwrap_or(0);
        let (whole, sharded) = (phases(false)?, phases(true)?);
        let shared = |memory: &Memory| {
            let of_one = memory.without_copy().host();
            world as u64 * of_one + (memory.host() - of_one)
        };
        let host = |all: &[PhaseSpec]| all.iter().map(|p| shared(&p.memory)).max().unwrap_or(0);
        let largest = whole.iter().max_by_key(|p| p.parameters);
        let shape = plan.shape;
        let shape = shape.with_layers(vec![1.0; largest.map_or(shape.n_layer, |p| p.layers)]);
        let positions = match shape.positions {
            Positions::Learned => shape.context_length,
            Positions::Rotary(_) => 0,
        };
        let flops = shape.flops_per_token(passes.time) * passes.batch_tokens as f64;
        let step = Step {
            world,
            parameters: shape.parameters(),
            embeddings: ((shape.vocab + positions) * shape.n_embd) as u64,
            compute: flops / speed / world as f64,
            micro_batches: (windows / world / passes.micro.max(1)).max(1),
            bucket,
        };
        let links = match gbit {
            Some(gbit) => vec![gbit],
            None => LINKS.to_vec(),
        };
        Ok(Self {
            world,
            windows,
            micro_batch: passes.micro,
            refused,
            memory_bytes: most(&whole),
            memory_bytes_sharded: most(&sharded),
            host_bytes: host(&whole),
            host_bytes_sharded: host(&sharded),
            host_free_bytes: memory::available(),
            sum_bytes: step.sum_bytes() as u64,
            gather_bytes: step.gather_bytes() as u64,
            compute_seconds: step.compute,
            backward_seconds: step.backward(),
            links: links.into_iter().map(|gbit| step.over(gbit)).collect(),
        })
    }

    /// Returns the plan's line about the memory of ranks that share a host; empty for one rank.
    fn host_line(&self) -> String {
        if self.world == 1 {
            return String::new();
        }
        let free = self.host_free_bytes.map(table::bytes);
        format!(
            "{:9}{} ranks that share a host take {} of its memory, {} sharded{}\n",
            "",
            self.world,
            table::bytes(self.host_bytes),
            table::bytes(self.host_bytes_sharded),
            free.map_or_else(String::new, |free| format!("; {free} are free here")),
        )
    }

    /// Returns the lines of the plan.
    pub fn lines(&self) -> String {
        let each = self.windows / self.world;
        let mut out = format!(
            "ranks    {}: {} of a step each, {} at a time\n\
             memory   of a rank at most {}; {} with train.shard = \"optimizer\"\n\
             {}\
             volume   {} sent and received by each rank a step; {} more to complete the weights if\n         \
             the optimizer is sharded\n\
             compute  {} a step, if every rank is as fast as this machine; {} of it can hide sums\n",
            self.world,
            table::plural(each, "window"),
            self.micro_batch.min(each.max(1)),
            table::bytes(self.memory_bytes),
            table::bytes(self.memory_bytes_sharded),
            self.host_line(),
            table::bytes(self.sum_bytes),
            table::bytes(self.gather_bytes),
            time_words(self.compute_seconds),
            time_words(self.backward_seconds),
        );
        if self.world > 1 {
            let mut rows = vec![
                [
                    "link",
                    "sums",
                    "not hidden",
                    "efficiency",
                    "weights",
                    "sharded",
                ]
                .map(String::from),
            ];
            rows.extend(self.links.iter().map(|e| {
                [
                    format!("{} Gbit/s", e.gbit),
                    time_words(e.sum_seconds),
                    time_words(e.exposed_seconds),
                    format!("{:.0} %", 100.0 * e.efficiency),
                    time_words(e.gather_seconds),
                    format!("{:.0} %", 100.0 * e.efficiency_sharded),
                ]
            }));
            out.push_str(&table::aligned(&rows, &[]));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Sizes;

    const PLANNED: &str = r#"
        [data]
        train = "a.txt"
        [reference.train]
        steps = 9
        lr = 0.1
        [inherit]
        layers = 1
        [train]
        steps = 9
        batch_tokens = 256
        micro_batch = 1
        lr = 0.1
        [control]
        random = false
    "#;

    fn step(world: usize) -> Step {
        Step {
            world,
            parameters: 124_000_000,
            embeddings: 40_000_000,
            compute: 0.5,
            micro_batches: 2,
            bucket: 25 << 20,
        }
    }

    #[test]
    fn a_rings_volume_is_less_than_twice_the_gradients() {
        assert_eq!(step(1).sum_bytes(), 0.0);
        assert_eq!(step(2).sum_bytes(), 496e6);
        assert_eq!(step(8).sum_bytes(), 868e6);
        assert_eq!(step(8).gather_bytes(), 434e6);
    }

    #[test]
    fn ranks_that_share_a_host_write_one_copy_of_a_checkpoint() {
        let config: Config = toml::from_str(PLANNED).unwrap();
        let sizes = Sizes {
            n_layer: 2,
            n_head: 2,
            n_embd: 32,
            context_length: 16,
            vocab: 64,
        };
        let shape = DecoderConfig::gpt2(sizes, true);
        let passes = Passes::of(&config, &shape, &candle_core::Device::Cpu).unwrap();
        let plan = Plan {
            config: &config,
            shape: &shape,
            passes,
            text: 1 << 30,
            teachers: &TeacherPaths::new(),
        };
        let of = |world| Scale::of(&plan, (world, None), 1e9, 4 << 20).unwrap();
        let (alone, four) = (of(1), of(4));
        assert_eq!(alone.host_bytes, alone.memory_bytes);
        assert!(!alone.lines().contains("share a host"));
        assert_eq!(
            four.host_bytes,
            4 * four.memory_bytes - 3 * 12 * shape.parameters()
        );
        assert!(four.host_bytes_sharded < four.host_bytes);
        let line = format!(
            "\n         4 ranks that share a host take {} of its memory, ",
            table::bytes(four.host_bytes)
        );
        let lines = four.lines();
        assert!(lines.contains(&line), "{lines}");
    }

    #[test]
    fn sums_hide_behind_the_last_backward_pass_alone() {
        // 868 MB at 100 Gbit/s take 69 ms; the part of the embeddings and a bucket is not hidden.
        let fast = step(8).over(100.0);
        let stays = 0.069_44 * (160e6 + 25.0 * 1_048_576.0) / 496e6;
        assert!((fast.exposed_seconds - stays).abs() < 1e-5, "{fast:?}");
        // At 1 Gbit/s they take 6.9 s, of which 2/3 of half a step of 0.5 s are hidden.
        let slow = step(8).over(1.0);
        let expected = 6.944 - 0.5 / 3.0;
        assert!((slow.exposed_seconds - expected).abs() < 1e-5, "{slow:?}");
        assert!(slow.efficiency < 0.07 && fast.efficiency > 0.94);
        assert!(slow.efficiency_sharded < slow.efficiency);
        let alone = step(1).over(1.0);
        assert_eq!((alone.exposed_seconds, alone.efficiency), (0.0, 1.0));
    }
}
