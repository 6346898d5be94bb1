//! The dashboard: what an operator sees and presses.
//!
//! Events come in through a [`Feed`], are folded into a [`RunState`], and drawn; keys become commands that go out
//! through the same feed. [`update`] is pure and takes the clock as an argument, [`view`] only draws, [`terminal`] is
//! the one file that touches the terminal. Nothing here sees the trainer.

mod app;
mod curve;
mod eta;
mod feed;
pub mod glyphs;
pub mod home;
pub mod keys;
mod plain;
pub mod replay;
pub mod sanitize;
mod terminal;
pub mod theme;
mod update;
mod view;

pub use app::{Exit, Options, panic_words, run};
pub use feed::{Feed, LiveFeed, TailFeed};
pub use plain::PlainPrinter;
pub use replay::ReplayFeed;

#[cfg(test)]
mod tests;
