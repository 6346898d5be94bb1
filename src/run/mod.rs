//! A run on disk and as it is reported: events, commands, journal, lock, tail and the fold over them.
//!
//! This folder does not use candle or a terminal, and imports nothing of `device`, `tensors`, `ops`, `model` and
//! `train`, which a test checks. Everything a user sees is [`state::RunState`], a fold over
//! [`event::Event`]s; everything a user does is a [`command::Command`].
//!
//! | module | what it does |
//! |---|---|
//! | [`event`] | the kinds of events and their lines |
//! | [`command`], [`words`], [`setting`], [`decisions`] | what can be asked of a trainer, and in which words; commands of another run to be repeated |
//! | [`journal`], [`tail`], [`index`] | the only writer of `events.jsonl`; its readers, forwards and at any place |
//! | [`state`], [`series`] | the fold; its curves in bounded memory and on disk |
//! | [`queue`], [`shared`] | carry events from the trainer to the one fold of its process |
//! | [`control`], [`presence`] | the control socket; whether an operator is there |
//! | [`dir`](mod@dir), [`create`], [`handle`], [`lock`], [`holder`], [`machine`], [`pick`] | where a run's files lie, who writes them, who works on them, which run is meant |
//! | [`controls`], [`baseline`], [`order`] | the models for comparison: controls, a row each, and baselines; the order of a run's phases |
//! | [`windows`], [`losses`], [`trouble`], [`since`] | what follows from validation windows, losses and a state |
//! | [`forecast`](mod@forecast), [`schedule`] | where a phase is going, by its evaluations and its learning rates |
//! | [`show`], [`table`], [`advice`], [`hints`] | a state as text, and what can be done |
//! | [`notify`] | what an operator who looks elsewhere should know |

pub mod advice;
pub mod baseline;
pub mod command;
pub mod control;
pub mod controls;
pub mod create;
pub mod decisions;
pub mod dir;
pub mod event;
pub mod forecast;
mod gpu_stats;
pub mod handle;
pub mod hints;
pub mod holder;
mod holes;
pub mod index;
pub mod journal;
pub mod lock;
pub mod losses;
pub mod machine;
pub mod notify;
pub mod order;
pub mod pick;
pub mod presence;
pub mod queue;
pub mod schedule;
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
pub mod trouble;
pub mod windows;
pub mod words;

pub use gpu_stats::GpuStats;
