//! heirloom trains small language models from the good layers of big ones, from a terminal.
//!
//! Dependencies point downwards: `cli -> dashboard -> run` and
//! `cli -> train -> {inherit, rank, eval, model, corpus, run}`, `model -> ops`.

pub mod cli;
pub mod config;
pub mod model;
pub mod ops;
pub mod run;
