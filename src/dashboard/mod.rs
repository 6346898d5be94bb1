//! The dashboard: what an operator sees and presses.
//!
//! Events come in through a [`Feed`], are folded into a [`RunState`], and drawn; keys become commands that go out
//! through the same feed. [`update`] is pure and takes the clock as an argument, [`view`] only draws, [`terminal`] is
//! the one file that touches the terminal. Nothing here sees the trainer.

mod app;
mod attach;
mod chart_view;
pub mod collapse;
mod curve;
mod eta;
mod feed;
pub mod glyphs;
pub mod home;
pub mod keys;
mod palette;
pub mod picture;
mod plain;
pub mod replay;
mod still;
mod terminal;
pub mod theme;
mod update;
mod view;
mod widgets;

pub use app::{Exit, Options, panic_words, run};
pub use attach::AttachFeed;
pub use feed::{Feed, LiveFeed, TailFeed};
pub use plain::line as plain_line;
pub use replay::ReplayFeed;
#[doc(hidden)]
pub use still::{still, still_in};

#[cfg(test)]
mod tests;
