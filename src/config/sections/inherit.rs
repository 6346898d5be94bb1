//! `[inherit]`. Words are checked where they are read ([`types`](crate::config::types)), layers with the reference that
//! has them ([`check`](mod@crate::config::check)).

use crate::config::declare::section;
use crate::config::key::OnResume::{FreeUntil, NewPhase};
use crate::config::key::Stage::{Controls, Rounds};
use crate::config::values::{INHERITABLE, LayerChoice};
use crate::model::Part;

section! {
    /// Layers and parts that the small model takes from the reference.
    "inherit" InheritConfig: Default {
        /// `"half"`, `"auto"` (half, but none from the first collapsing layer on: MaxRank below 2), a number of first
        /// layers, a range `"a..b"` (without b), a list of indices from 0, or a rule with the number of layers that it keeps:
        /// `"spread:n"` (evenly over the depth), `"influence:n"` (the highest block influence, arXiv 2403.03853),
        /// `"angular:n"` (all but the contiguous block of the least angular distance, arXiv 2403.17887), `"loss:n"` (the
        /// others dropped one at a time by validation loss). [layers.md](layers.md) describes how they are measured.
        layers: LayerChoice = default(LayerChoice::Half), FreeUntil(Rounds);

        /// The parts taken; the rest starts random. `norms` are both norms of a layer; `attention_norm` and `mlp_norm` name
        /// one of them.
        what: Vec<Part> = default(INHERITABLE.to_vec()), NewPhase(Controls);
    }
}
