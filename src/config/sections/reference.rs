//! `[reference]` and `[reference.train]`.

use crate::config::declare::section;
use crate::config::key::OnResume::{FreeUntil, Refused};
use crate::config::key::Stage::Measured;
use crate::config::rules::{above_zero, count, given};
use crate::config::values::Schedule;
use crate::run::command::MOST_STEPS;

const REFERENCE: &str =
    "the checkpoints hold the weights that were read from it; its files are not needed any more";
const FROM_TRAIN: &str = "as in `[train]`";

section! {
    /// The big model: exactly one of `path` and `[reference.train]`; a `--set` of one replaces the other of the file.
    "reference" ReferenceConfig, holds train: Option<ReferenceTrainConfig> {
        /// A model: a Hugging Face directory (`config.json`, safetensors), a `.gguf` file, `RUN@reference`, `RUN@best`
        /// or another checkpoint by the run's path, or `hf:owner/name[@revision]`.
        path: Option<String> = absent("`[reference.train]`"), Refused(REFERENCE);
    }
}

section! {
    /// Train the reference here first; what is absent is taken from `[train]`.
    "reference.train" ReferenceTrainConfig {
        /// Optimizer steps of the reference.
        steps: u64 = required("1000"), FreeUntil(Measured), check count(1, MOST_STEPS);

        /// Peak learning rate.
        lr: Option<f64> = absent(FROM_TRAIN), FreeUntil(Measured), check given(above_zero);

        /// Learning rate at the end of the schedule.
        min_lr: Option<f64> = absent(FROM_TRAIN), FreeUntil(Measured);

        /// Steps of linear warm-up.
        warmup: Option<u64> = absent(FROM_TRAIN), FreeUntil(Measured);

        /// Course of the learning rate.
        schedule: Option<Schedule> = absent(FROM_TRAIN), FreeUntil(Measured);
    }
}
