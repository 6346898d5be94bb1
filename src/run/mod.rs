//! A run as it lies on disk and as it is told: events, commands, journal, lock, tail and the fold over them.
//!
//! This room knows no candle and no terminal, and uses nothing of `device`, `tensors`, `ops`, `model` and `train`: a test
//! sees to it. Everything a user sees is [`state::RunState`], a fold over
//! [`event::Event`]s; everything a user does is a [`command::Command`].
//!
//! [`journal::Journal`] is the only writer of `events.jsonl` and [`tail::Tail`] its reader; [`index::JournalIndex`] finds
//! any part of one again. [`shared::SharedRun`] is the one fold of a process that trains; [`queue`] lies between the
//! trainer and it. [`dir::RunDir`] knows where things lie, [`create::NewRun`] makes a new one, [`handle::RunHandle`] is one that is open for writing, [`lock::RunLock`] keeps
//! a second process out and says who [holds](holder::Holder) a run, [`pick`] says which run is meant when none is named and
//! [`advice`] what can be done with one that has stopped; [`notify`] knows what an operator who looks elsewhere should know;
//! [`hints`] are the parts of messages that name keys;
//! [`table`] and [`show`] tell a state as text.

pub mod advice;
pub mod command;
pub mod control;
pub mod controls;
pub mod create;
pub mod decisions;
pub mod dir;
pub mod event;
mod gpu_stats;
pub mod handle;
pub mod hints;
pub mod holder;
mod holes;
pub mod index;
pub mod journal;
pub mod lock;
pub mod machine;
pub mod notify;
pub mod pick;
pub mod presence;
pub mod queue;
pub mod series;
pub mod setting;
pub mod shared;
pub mod show;
pub mod since;
pub mod state;
pub mod table;
pub mod tail;
#[cfg(test)]
mod tests;
pub mod trend;
pub mod trouble;
pub mod windows;
pub mod words;

pub use gpu_stats::GpuStats;
