//! `[grow]` and `[match]`: how the model grows, and when that is enough.

use crate::config::declare::section;
use crate::config::key::OnResume::FreeUntil;
use crate::config::key::Stage::Controls;
use crate::config::rules::{at_least, finite};
use crate::run::command::{GrowMode, GrowSource};

section! {
    /// Growth of the model between rounds.
    "grow" GrowConfig: Default {
        /// Layers added per growth.
        step: usize = default(2), FreeUntil(Controls), check at_least(1);

        /// `restart`: every layer fresh from the reference; `keep`: trained layers stay, new ones are added.
        mode: GrowMode = default(GrowMode::Restart), FreeUntil(Controls);

        /// Source of the layers that a growth adds. `next`: the reference's next ones; `copy-middle`: the middle layers
        /// of the model, a block of them copied right above itself (MIDAS, arXiv 2409.19044); `copy-top`: its top layers, on top.
        source: GrowSource = default(GrowSource::Next), FreeUntil(Controls);

        /// Steps after a growth within which the validation loss must be below its value before the growth again, else
        /// it is rolled back; 0: it need not.
        recover_steps: u64 = default(0), FreeUntil(Controls);

        /// Most layers; 0: one fewer than the reference has.
        max_layers: usize = default(0), FreeUntil(Controls);
    }
}

section! {
    /// Conditions for a match with the reference.
    "match" MatchConfig: Default {
        /// Largest paired gap in nats that counts as a match.
        tolerance: f64 = default(0.0), FreeUntil(Controls), check finite;

        /// Consecutive evaluations that must match.
        patience: u32 = default(1), FreeUntil(Controls), check at_least(1);
    }
}
