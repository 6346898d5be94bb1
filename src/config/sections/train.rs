//! `[train]`.

use crate::config::declare::section;
use crate::config::key::OnResume::{Free, FreeUntil, NewPhase, Refused};
use crate::config::key::Stage::Controls;
use crate::config::rules::{
    LARGEST_INTEGER, LONGEST, MOST_BATCH_TOKENS, above_zero, at_least, at_most, below_one, count,
    decays, from, given,
};
use crate::config::values::{MuonScale, OptimizerChoice, Schedule, ShardChoice};
use crate::ops::PrecisionChoice;
use crate::run::command::MOST_STEPS;

const WINDOWS: &str = "the losses so far were measured on windows of this length";
const MOMENTS: &str = "the moments in its checkpoints are this optimizer's";
const SEED: &str = "the initial weights and the order of the batches follow from it";

section! {
    /// One round of training.
    "train" TrainConfig {
        /// Optimizer steps per round (T of Algorithm 1).
        steps: u64 = required("200"), FreeUntil(Controls), check count(1, MOST_STEPS);

        /// Tokens of a training or validation window; 0: the model's whole context.
        context_length: usize = default(0), Refused(WINDOWS), check at_most(LONGEST);

        /// Tokens per optimizer step; a multiple of the window's length.
        batch_tokens: u64 = required("1024"), NewPhase(Controls), check count(1, MOST_BATCH_TOKENS);

        /// Windows per forward pass; the rest is gradient accumulation. 0: the whole batch at once.
        micro_batch: usize = default(0), Free;

        /// Peak learning rate.
        lr: f64 = required("1e-3"), FreeUntil(Controls), check above_zero;

        /// Learning rate at the end of the schedule, and past it.
        min_lr: Option<f64> = absent("a tenth of `lr`"), FreeUntil(Controls);

        /// Steps of linear warm-up.
        warmup: u64 = default(0), FreeUntil(Controls);

        /// Course of the learning rate; `wsd`: warm up, stay, decay over the last fifth.
        schedule: Schedule = default(Schedule::Cosine), FreeUntil(Controls);

        /// `adamw` for every tensor, or `muon` for the weights of attention and MLP and AdamW for all other tensors.
        optimizer: OptimizerChoice = default(OptimizerChoice::AdamW), Refused(MOMENTS);

        /// Peak learning rate of the tensors that Muon updates; their rate follows the schedule in proportion.
        muon_lr: Option<f64> = absent("`lr`"), FreeUntil(Controls), check given(above_zero);

        /// Muon's momentum, an average over past gradients; Nesterov's.
        muon_momentum: f64 = default(0.95), FreeUntil(Controls), check below_one;

        /// Factor on Muon's learning rate by a matrix's outputs and inputs: `match_rms_adamw`, 0.2 times the square
        /// root of the larger of them, so that AdamW's learning rate and weight decay suit both optimizers; or
        /// `original`, the square root of outputs / inputs, but at least 1.
        muon_scale: MuonScale = default(MuonScale::MatchRmsAdamw), FreeUntil(Controls);

        /// AdamW's beta1 and beta2.
        betas: [f64; 2] = default([0.9, 0.95]), FreeUntil(Controls), check decays;

        /// Decoupled weight decay of every tensor with two or more dimensions.
        weight_decay: f64 = default(0.1), FreeUntil(Controls), check from(0.0);

        /// The global gradient norm is clipped to this; 0: no clipping.
        clip: f64 = default(1.0), FreeUntil(Controls), check from(0.0);

        /// Type in which matrix products are computed: `"f32"`, `"bf16"`, or `"auto"`, bf16 where the device has
        /// products of bf16 (a GPU, or a CPU with AMX or AVX512-BF16) and f32 elsewhere. Weights, sums and all else are f32; on GPUs,
        /// activations are also bf16. A run resolves `"auto"` once, when it begins, and keeps the result when it is resumed.
        dtype: PrecisionChoice = default(PrecisionChoice::Auto), Free;

        /// Keep only each layer's input and recompute its other activations in the backward pass: less memory for long
        /// windows and many layers, 20 % slower, same results.
        recompute: bool = default(false), Free;

        /// Division of the optimizer among several ranks: `optimizer`, each rank keeps the moments of its part of the parameters
        /// and updates that part, which needs less memory and gives the same results; or `none`, each rank keeps all moments.
        shard: ShardChoice = default(ShardChoice::None), Free;

        /// Seed of initial weights and of the batches.
        seed: u64 = default(0), Refused(SEED), check at_most(LARGEST_INTEGER);

        /// Steps between `train` events; slow steps are logged every five seconds.
        log_every: u64 = default(10), Free, check at_least(1);
    }
}
