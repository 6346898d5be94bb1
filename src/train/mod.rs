//! Training: the recipe (reference, inherit, train, decide, grow, controls), its steps, decisions and checkpoints.
//!
//! The trainer takes [`Request`](crate::run::command::Request)s and reports everything it does as events. It knows no screen and
//! waits for none.
//!
//! | module | what it does |
//! |---|---|
//! | [`trainer`] | what a trainer is made of; most other modules add to its methods |
//! | `begin`, `resume` | build a trainer for a new or interrupted run; values that a resume takes over |
//! | `process`, `task`, `outcome` | from task to task until the process's part ends; what is next; how parts of the work end |
//! | `recipe`, `growth`, `rollback` | phases from begin to end; growth as a transaction; back to a checkpoint |
//! | [`plan`], [`schedule`], `passes`, [`memory`], [`windows`] | what follows from a config before anything is trained |
//! | `choose` | measures the reference's layers if a choice of layers needs it |
//! | [`baselines`], `comparison` | the config's baselines: phases, starts, shapes; begins the phases of controls and baselines, and records their results |
//! | `start`, `objective`, [`teacher`], `teaching` | a phase's start; the training objective; a teacher's files, checks and cost; when a teacher is loaded |
//! | `configs`, `data`, `machine`, `algorithms` | the config in force and the one wanted; batches, validation windows and their latest losses; device and threads; algorithms of a GPU's products |
//! | `learner`, `recordings`, [`optimizer`], `attention` | the model and its buffers: steps, evaluations, probes; passes that a GPU gets again and again. [`Learner`] knows no run, no journal and no clock |
//! | `control`, `boundary` | decide the [`Verdict`] at a step boundary, and what is done while a result is not on disk; do what a verdict asks |
//! | `obey`, `adjust`, `live` | commands one by one; values that operators set, and from which step on they hold |
//! | `step`, `decide`, [`evidence`] | steps and measurements with their events; decisions and what they rest on |
//! | `state`, `measured`, `sound` | what a checkpoint holds besides tensors, and whether a state that was read is possible |
//! | `keeper`, [`checkpoint`], `owed`, `insist` | which checkpoints are written and kept; their files; small files that wait; results that the disk must take |
//! | `tasks`, `samples`, `downstream` | evaluates the model in training on downstream tasks; has it continue texts; what of both is due |
//! | `record` | events and answers into the journal |
//! | [`follow`], `peers`, `instruction`, `reader`, `watched` | the part of ranks other than 0 in a run of several; what rank 0 announces to them; each rank's part of a batch; weights that are read while other ranks wait |
//! | `directory`, `rebuild` | looks for the run's directory and its lock; makes a deleted one again |

mod adjust;
mod algorithms;
mod attention;
pub mod baselines;
mod begin;
mod boundary;
pub mod checkpoint;
mod choose;
mod comparison;
mod configs;
mod control;
mod data;
mod decide;
mod directory;
mod downstream;
pub mod evidence;
pub mod follow;
mod growth;
mod insist;
mod instruction;
mod keeper;
mod learner;
mod live;
mod machine;
mod measured;
pub mod memory;
mod obey;
mod objective;
pub mod optimizer;
mod outcome;
mod owed;
mod passes;
pub mod peers;
pub mod plan;
mod process;
mod reader;
mod rebuild;
mod recipe;
mod record;
mod recordings;
mod resume;
mod rollback;
mod samples;
mod sound;
mod start;
pub(crate) mod state;
mod step;
mod task;
pub mod tasks;
pub mod teacher;
mod teaching;
pub mod trainer;
mod watched;
pub mod windows;

pub use begin::Setup;
pub use control::Verdict;
pub use learner::{Learner, bucket_bytes};
pub use objective::Objective;
pub use optimizer::{Hyperparameters, Optimizer};
pub use outcome::Ended;
pub use passes::Passes;
pub use resume::Resume;
pub use trainer::Trainer;
