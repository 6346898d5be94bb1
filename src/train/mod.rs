//! Training: optimizer, schedule, checkpoints, and the recipe as a state machine
//! (reference, inherit, train, decide, grow, controls).
//!
//! [`trainer`] is what a run is made of, `recipe` goes from phase to phase, `step` trains, measures and saves, `boundary`
//! obeys and pauses between steps, `decide` gathers evidence and decides.
//!
//! The trainer takes [`Request`](crate::run::command::Request)s and tells everything it does as events. It knows no
//! screen and waits for none.

mod attendance;
mod boundary;
pub mod checkpoint;
mod decide;
pub mod evidence;
pub mod optimizer;
pub mod plan;
mod recipe;
pub mod schedule;
pub mod signals;
pub mod state;
mod step;
pub mod trainer;

pub use attendance::{Attendance, Leave};
pub use trainer::{Ended, Setup, Trainer};
