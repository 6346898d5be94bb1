//! Training: optimizer, schedule, checkpoints, and the recipe as a state machine
//! (reference, inherit, train, decide, grow, controls).
//!
//! [`trainer`] is what a run is made of, `recipe` goes from phase to phase, `step` trains and
//! measures, `keep` has checkpoints written, `boundary` obeys and pauses between steps, `decide` gathers evidence and decides,
//! `growth` and `rollback` change the model and go back, `directory` looks after the run's files.
//!
//! The trainer takes [`Request`](crate::run::command::Request)s and tells everything it does as events. It knows no
//! screen and waits for none.

mod boundary;
pub mod checkpoint;
mod decide;
mod directory;
pub mod evidence;
mod growth;
mod keep;
pub mod optimizer;
pub mod plan;
mod recipe;
mod rollback;
pub mod schedule;
pub mod signals;
pub mod state;
mod step;
pub mod trainer;
pub mod windows;

pub use optimizer::Optimizer;
pub use trainer::{Ended, Setup, Trainer};
