//! The question that a forecast answers.

use super::curve::Curve;

/// A curve that may show what a phase will go through.
#[derive(Debug, Clone, Copy)]
pub struct Template<'a> {
    /// Its name in sentences: `the reference`, `round 1`.
    pub name: &'a str,
    pub curve: &'a Curve,
}

/// A request for a forecast.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    pub curve: &'a Curve,
    /// The best first.
    pub templates: &'a [Template<'a>],
    /// Step of the phase.
    pub to: u64,
    /// The finished reference's validation loss in nats.
    pub benchmark: Option<f64>,
    pub tolerance: f64,
}
