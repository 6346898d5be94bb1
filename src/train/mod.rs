//! Training: optimizer, schedule, checkpoints, and the recipe as a state machine
//! (reference, inherit, train, decide, grow, controls).
//!
//! [`Learner`] holds the model and its buffers, and trains and measures it; it knows nothing of runs. [`trainer`] is what a
//! run is made of, `recipe` goes from phase to phase, `step` trains and measures at its pace, `keep` has checkpoints
//! written, `insist` waits for the disk where a result exists in memory only, `owed` writes small files later, `boundary` obeys and pauses between steps, `decide` gathers evidence and decides, `growth` and `rollback` change
//! the model and go back, `resume` goes on with a run that was interrupted, `directory` looks after the run's files.
//!
//! The trainer takes [`Request`](crate::run::command::Request)s and tells everything it does as events. It knows no
//! screen and waits for none.

mod adjust;
mod attention;
mod begin;
mod boundary;
pub mod checkpoint;
mod control;
mod decide;
mod directory;
pub mod evidence;
mod growth;
mod insist;
mod keeper;
mod learner;
mod live;
mod measured;
pub mod memory;
mod obey;
mod objective;
pub mod optimizer;
mod outcome;
mod owed;
mod passes;
pub mod plan;
mod process;
mod recipe;
mod record;
mod resume;
mod rollback;
pub mod schedule;
mod sound;
mod start;
pub mod state;
mod step;
mod task;
pub mod trainer;
pub mod windows;

pub use begin::Setup;
pub use control::Verdict;
pub use learner::Learner;
pub use objective::Objective;
pub use optimizer::{Hyperparameters, Optimizer};
pub use outcome::Ended;
pub use passes::Passes;
pub use resume::Resume;
pub use trainer::Trainer;
