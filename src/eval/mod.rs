//! Evaluates models: the loss over a validation text, and downstream tasks that are scored as by EleutherAI's
//! lm-evaluation-harness.
//!
//! `sources` finds and reads the files of data sets, `tasks` turns documents into requests, `score` has a model answer them, `metrics` turns scores into results. Nothing
//! here knows runs, terminals or the trainer.

mod error;
pub mod metrics;
pub mod report;
pub mod score;
mod sources;
pub mod tasks;
mod validation;

pub use error::{disjoint_windows, mean_stderr, paired_gap};
pub use validation::{Evaluator, batch};
