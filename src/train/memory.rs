//! Memory of a run, counted before anything is allocated.
//!
//! A phase holds one model. The memory of a phase is freed before the next one allocates its own ([`super::Learner`]): round 1, a
//! growth and a rollback read the layers that they take from checkpoints on disk. The transition between two phases therefore
//! needs as much as the larger of them. `--dry-run`, `info`, the checks before a phase and the growth prompt all print
//! [`Memory::total`].

use anyhow::{Result, bail};
use candle_core::Device;
use serde::Serialize;

use super::optimizer::Optimizer;
use super::passes::Passes;
use super::teacher;
use crate::device::memory as machine;
use crate::dist::DistError;
use crate::eval::score::Scorer;
use crate::model::{self, DecoderConfig, Format, Mode, ModelError};
use crate::ops::{OutOfMemory, Precision};
use crate::rank;
use crate::run::table::bytes;

/// Anonymous memory of everything that is not counted elsewhere: threads, tokenizer, journal, dashboard, scratch memory of matrix
/// products. Measured on Linux x86-64 as the difference between the memory that the recipes of `tests/memory_is_as_promised.rs` use
/// and the other numbers here: 10 MiB with bytes as tokens, 50 MiB with GPT-2's tokenizer and the products of its vocabulary.
pub const PROGRAM_BYTES: u64 = 24 << 20;

/// Scratch memory of cuBLASLt.
const GPU_LIBRARY_BYTES: u64 = 32 << 20;

/// Memory that must stay free when a checkpoint is copied.
const SPARE_BYTES: u64 = 64 << 20;

/// Bytes of an f32.
const F32: u64 = 4;

/// Memory of a phase, in bytes by purpose.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// [`PROGRAM_BYTES`].
    pub program: u64,
    /// Tokens that are not mapped from files.
    pub text: u64,
    /// The weights, including their copy in bf16 on a GPU.
    pub weights: u64,
    pub gradients: u64,
    /// Both moments of the optimizer; if it is sharded, the largest part that a rank has.
    pub moments: u64,
    /// Buffer for moments that are sent between ranks.
    #[serde(skip_serializing_if = "is_zero")]
    pub exchange: u64,
    /// Muon's scratch memory.
    #[serde(skip_serializing_if = "is_zero")]
    pub muon: u64,
    /// Activations and scratch memory of the largest pass; training, evaluation and probes share them.
    pub workspace: u64,
    /// Attention matrices of a probe, and scratch memory to decompose them.
    pub probe: u64,
    /// The weights and buffers of a teacher.
    #[serde(skip_serializing_if = "is_zero")]
    pub teacher: u64,
    /// Buffers for scoring downstream tasks, which happens while training waits.
    #[serde(skip_serializing_if = "is_zero")]
    pub tasks: u64,
    /// Batches that are read ahead, counted as a whole step on every rank (of several, each holds only its part).
    pub batches: u64,
    /// The copy from which a checkpoint is written while training continues. If it does not fit, training waits instead.
    pub checkpoint: u64,
    /// The part of all the above that lies on a GPU.
    pub on_gpu: u64,
}

impl Memory {
    /// Counts the memory of a phase with a model of `shape`; of several ranks, that of rank 0, which writes the checkpoints. A model that
    /// is not `trainable` (a reference that was loaded) is only measured. `text` is the number of bytes of tokens in memory.
    pub fn of_phase(passes: &Passes, shape: &DecoderConfig, trainable: bool, text: u64) -> Self {
        let (format, p) = (passes.format, shape.parameters());
        let weights = model::arena_bytes(shape, false, format);
        let trained = if trainable { F32 * p } else { 0 };
        let (world, sharded) = (passes.world, passes.sharded);
        let (moments, exchange) = match trainable {
            true => (
                Optimizer::moment_bytes(shape, world, sharded, passes.muon),
                Optimizer::exchange_bytes(shape, world),
            ),
            false => (0, 0),
        };
        let (size, mode) = match trainable {
            true => ((passes.micro, passes.time), passes.mode),
            false => ((passes.eval_batch, passes.time), Mode::Forward),
        };
        let workspace = model::workspace_bytes(shape, size, mode, format, passes.rows());
        let probe = Probe::of(passes, shape);
        let mut memory = Self {
            program: PROGRAM_BYTES,
            text,
            weights,
            gradients: trained,
            moments,
            exchange,
            muon: match trainable && passes.muon {
                true => Optimizer::muon_bytes(shape),
                false => 0,
            },
            workspace,
            probe: probe.device + probe.host,
            teacher: 0,
            tasks: match passes.task_tokens {
                0 => 0,
                tokens => Scorer::bytes(shape, tokens, format),
            },
            // Ids and targets of three batches: one in use, one read ahead, one to be filled.
            batches: 3 * 2 * F32 * passes.batch_tokens,
            checkpoint: F32 * p + 2 * trained,
            on_gpu: 0,
        };
        if format.gpu {
            memory.workspace += GPU_LIBRARY_BYTES;
            memory.on_gpu = memory.weights
                + trained
                + moments
                + memory.muon
                + memory.workspace
                + probe.device
                + memory.tasks;
        }
        memory
    }

    /// Adds the memory of a teacher of this shape, if given.
    pub fn with_teacher(self, passes: &Passes, teacher: Option<&DecoderConfig>) -> Self {
        let bytes = teacher.map_or(0, |shape| teacher::bytes(passes, shape));
        Self {
            teacher: self.teacher + bytes,
            on_gpu: self.on_gpu + if passes.format.gpu { bytes } else { 0 },
            ..self
        }
    }

    /// Returns the bytes on the device that computes: the GPU's memory, or the process's anonymous memory. This number is shown to the
    /// operator.
    pub fn total(&self) -> u64 {
        match self.on_gpu {
            0 => self.everything(),
            on_gpu => on_gpu,
        }
    }

    /// Returns the bytes that do not lie on a GPU.
    pub fn host(&self) -> u64 {
        self.everything() - self.on_gpu
    }

    fn everything(&self) -> u64 {
        let Self {
            program,
            text,
            weights,
            gradients,
            moments,
            exchange,
            muon,
            workspace,
            probe,
            teacher,
            tasks,
            batches,
            checkpoint,
            on_gpu: _,
        } = *self;
        program
            + text
            + weights
            + gradients
            + moments
            + exchange
            + muon
            + workspace
            + probe
            + teacher
            + tasks
            + batches
            + checkpoint
    }

    /// Returns the same without the copy of a checkpoint, which a phase can do without.
    pub fn without_copy(&self) -> Self {
        Self {
            checkpoint: 0,
            ..*self
        }
    }

    /// Refuses a phase that does not fit into the free memory and the memory that this process frees when the present phase ends.
    ///
    /// # Errors
    /// Names the memory that is needed and available, on the GPU or in the machine, and settings that need less.
    pub fn check(&self, what: &str, held: &Held) -> Result<()> {
        let (all, need) = (self, self.without_copy());
        let helps = "a smaller train.micro_batch needs less, and so does train.recompute = true";
        if let Some(room) = held.gpu_room
            && need.total() > room
        {
            bail!(
                "{what} needs {} of the GPU's memory, and {} are available: {helps}",
                bytes(all.total()),
                bytes(room)
            );
        }
        if let Some(room) = held.host_room
            && need.host() > room
        {
            bail!(
                "{what} needs {} of memory, {} without the copy of a checkpoint, and {} are available{}: {helps}",
                bytes(all.host()),
                bytes(need.host()),
                bytes(room),
                shared_words(held.ranks)
            );
        }
        Ok(())
    }
}

/// Whether nothing is counted.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_zero(bytes: &u64) -> bool {
    *bytes == 0
}

/// Memory that is available to a process for its next phase: its share of the free memory, and the memory that it holds already.
#[derive(Debug, Clone, Copy, Default)]
pub struct Held {
    /// Bytes on the GPU; `None` on a CPU, or if the driver does not report them.
    pub gpu_room: Option<u64>,
    /// Bytes of the host's memory; `None` if the system does not report them.
    pub host_room: Option<u64>,
    /// Ranks of the run on this host, which share its memory. They do not share a GPU: NCCL needs one for each rank.
    pub ranks: usize,
}

impl Held {
    /// Asks the system, and the driver of a GPU on which this process holds `on_gpu` bytes. The host's free memory is divided equally
    /// among the `ranks` ranks on it, because all of them begin a phase at the same time.
    pub fn now(device: &Device, on_gpu: u64, ranks: usize) -> Self {
        let host = machine::available().zip(machine::anonymous());
        Self {
            gpu_room: gpu_free(device).map(|free| free + on_gpu),
            host_room: host.map(|(free, own)| part(free, ranks) + own),
            ranks,
        }
    }
}

/// Returns one rank's part of the free memory of a host.
fn part(free: u64, ranks: usize) -> u64 {
    free / ranks.max(1) as u64
}

/// Returns a remark for an amount of memory that is one rank's part: the number of ranks that share the host.
pub fn shared_words(ranks: usize) -> String {
    match ranks {
        0 | 1 => String::new(),
        n => format!(" ({n} ranks share this host)"),
    }
}

/// Finds memory that could not be allocated among the causes of an error.
pub fn out_of_memory(error: &anyhow::Error) -> Option<OutOfMemory> {
    error.chain().find_map(|cause| {
        let of_model = cause.downcast_ref::<ModelError>().and_then(|e| match e {
            ModelError::Candle(error) => Some(error),
            _ => None,
        });
        let of_ranks = cause.downcast_ref::<DistError>().and_then(|e| match e {
            DistError::Tensor(error) => Some(error),
            _ => None,
        });
        OutOfMemory::in_candle(cause.downcast_ref().or(of_model).or(of_ranks)?)
    })
}

/// Returns whether a copy of `bytes` fits into the free memory; true if the system does not report it.
pub fn has_room_for_copy(bytes: u64) -> bool {
    machine::available().is_none_or(|free| bytes.saturating_add(SPARE_BYTES) <= free)
}

/// Returns the free memory of the GPU; for a CPU, the machine's free memory divided by the `ranks` ranks of the run on it.
pub fn free(device: &Device, ranks: usize) -> Option<u64> {
    match device.is_cuda() {
        true => gpu_free(device),
        false => machine::available().map(|free| part(free, ranks)),
    }
}

/// Returns the free memory of a GPU.
fn gpu_free(device: &Device) -> Option<u64> {
    #[cfg(feature = "cuda")]
    if device.is_cuda() {
        return crate::ops::cuda::memory_in_use(device).ok().map(|m| m.free);
    }
    let _ = device;
    None
}

/// Bytes of a probe outside the workspace.
struct Probe {
    /// Where the model lies.
    device: u64,
    /// In the process, for what is read from there and decomposed.
    host: u64,
}

impl Probe {
    fn of(passes: &Passes, shape: &DecoderConfig) -> Self {
        let (batch, time) = (passes.probe_batch(shape), passes.probe_length);
        let matrices = batch * shape.n_head;
        let probs = F32 * (matrices * time * time) as u64;
        let own = match passes.probe_shares_memory() {
            true => 0,
            false => {
                let format = Format {
                    compute: Precision::F32,
                    ..passes.format
                };
                model::workspace_bytes(shape, (batch, time), Mode::Trunk, format, 0)
            }
        };
        let streams = 2 * F32 * (batch * time * shape.n_embd) as u64;
        let decomposing = probs + rank::decomposing_bytes(matrices, time);
        Self {
            device: probs + own,
            host: decomposing.max(streams),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_divide_the_memory_of_moments_alone() {
        let shape = crate::model::Sizes {
            n_layer: 4,
            n_head: 4,
            n_embd: 64,
            context_length: 32,
            vocab: 1000,
        };
        let shape = DecoderConfig::gpt2(shape, true);
        let of = |world, sharded| {
            let passes = Passes {
                world,
                sharded,
                ..Passes::usual(2, 32)
            };
            Memory::of_phase(&passes, &shape, true, 0)
        };
        let (alone, whole) = (of(1, false), 8 * shape.parameters());
        assert_eq!(alone.moments, whole);
        assert_eq!(of(1, true), alone);
        for world in [2, 3, 8] {
            let shared = of(world, false);
            assert_eq!(shared.total(), alone.total() + shared.exchange);
            let sharded = of(world, true);
            // Blocks of 64 elements, of which the largest part has one more than the smallest.
            assert!(sharded.moments.abs_diff(whole / world as u64) <= 8 * 128);
            let without = shared.total() - shared.moments;
            assert_eq!(sharded.total() - sharded.moments, without);
        }
    }

    #[test]
    fn ranks_of_a_host_share_its_memory() {
        let held = |ranks| Held::now(&Device::Cpu, 0, ranks);
        let (alone, of_four) = (held(1), held(4));
        let own = machine::anonymous().unwrap();
        let free = |held: &Held| (held.host_room.unwrap() - own) as f64;
        // Other processes change the free memory between the two measurements.
        let share = free(&of_four) / free(&alone);
        assert!((0.2..0.3).contains(&share), "{share}");
        let half = free(&alone) as u64 / 2;
        let memory = Memory {
            weights: half,
            ..Memory::default()
        };
        memory.check("round 1", &alone).unwrap();
        let refused = memory.check("round 1", &of_four).unwrap_err().to_string();
        assert!(
            refused.contains(" are available (4 ranks share this host): a smaller"),
            "{refused}"
        );
    }

    #[test]
    fn full_memory_is_recognised_behind_other_errors() {
        let full = || candle_core::Error::from(OutOfMemory::Gpu);
        for error in [
            anyhow::Error::from(full()).context("while growing"),
            anyhow::Error::from(ModelError::from(full())).context("while loading"),
        ] {
            assert_eq!(out_of_memory(&error), Some(OutOfMemory::Gpu), "{error:#}");
        }
        let told = anyhow::anyhow!("the GPU is out of memory, says a file");
        assert_eq!(out_of_memory(&told), None);
    }
}
