//! heirloom trains small language models from the good layers of big ones, from a terminal.
//!
//! `docs/architecture.md` has a line per module. Dependencies point downwards: `cli -> dashboard -> run`,
//! `cli -> train -> {inherit, rank, eval, model, corpus, run, dist}`, `cli -> {export, locate, bench, selftest} -> train`,
//! `{cli, dashboard} -> demo -> rank`, `model -> {ops, tensors}`. `dashboard` and `train` do not know each other. `text`, `file`,
//! `threads` and `failure` are below all of them.

#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

#[cfg(test)]
mod a_control_is_one_row;
pub mod bench;
pub mod cli;
pub mod config;
pub mod corpus;
pub mod dashboard;
pub mod demo;
pub mod device;
pub mod dist;
pub mod eval;
pub mod export;
pub mod failure;
mod fault;
pub mod file;
pub mod inherit;
pub mod jobs;
pub mod locate;
pub mod model;
pub mod ops;
pub mod rank;
pub mod run;
pub mod secrets;
pub mod selftest;
pub mod signals;
pub mod tensors;
pub mod text;
pub mod threads;
pub mod train;

/// Name and version of this program, as written into runs.
pub const PROGRAM: &str = concat!("heirloom ", env!("CARGO_PKG_VERSION"));
