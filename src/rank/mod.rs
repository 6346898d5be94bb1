//! Attention ranks: how many singular values, and how many columns, hold an attention matrix's mass.
//!
//! Definitions of Inheritune (arXiv 2404.08634): the approximate rank k* of one matrix, its column mass m*, their means
//! per head, MaxRank and AvgMass per layer, and lazy layers. This room knows no terminal and no run; whoever has
//! attention matrices hands them in layer by layer.

mod approximate;
mod budget;
mod probe;

pub use approximate::{RankError, k_star, m_star};
pub use budget::ProbeBudget;
pub use probe::{ProbeAccumulator, ProbeResult};
