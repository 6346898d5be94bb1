//! heirloom trains small language models from the good layers of big ones, from a terminal.
//!
//! Dependencies point downwards: `cli -> dashboard -> run` and
//! `cli -> train -> {inherit, rank, eval, model, corpus, run}`, `cli -> export -> {train, model}`, `{cli, dashboard} -> demo -> rank`, `model -> ops`; whoever meets foreign text, `-> text`.

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
