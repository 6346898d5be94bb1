//! Attention ranks: how many singular values, and how many columns, hold an attention matrix's mass.
//!
//! Definitions of Inheritune (arXiv 2404.08634): the approximate rank k* of one matrix, its column mass m*, their means
//! per head, MaxRank and AvgMass per layer, and lazy layers. This folder does not depend on terminals or runs; callers
//! pass attention matrices layer by layer.

mod approximate;
mod batched;
mod budget;
mod few;
mod figure;
mod maps;
mod probe;
mod survey;

pub use approximate::{RankError, k_star, m_star};
pub use batched::{MOST_SIDE_BY_SIDE, k_stars};
pub use budget::ProbeBudget;
pub use figure::Figure;
pub use maps::{Head, MOST_MAPS, Map, Maps};
pub use probe::{Count, LayerStats, ProbeAccumulator, ProbeResult, decomposing_bytes};
pub use survey::{COLLAPSED, Measure, SWEEP, Survey, Surveyed};

/// Share of the squared column norms that m* columns hold.
pub const ETA: f64 = 0.9;
