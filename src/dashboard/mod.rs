//! The dashboard: what an operator sees and presses.
//!
//! Events come in through a [`Feed`], are folded into a [`RunState`], and drawn; keys become commands that go out
//! through the same feed. [`update`] is pure and takes the clock as an argument, [`screen`] only draws, [`terminal`] is
//! the one file that touches the terminal. Nothing here sees the trainer.

mod alerts;
mod answers;
mod app;
mod around;
mod chart_view;
pub mod collapse;
mod commands;
mod costs;
mod eta;
mod event_loop;
mod feed;
mod frame_writer;
pub mod glyphs;
pub mod home;
pub mod keymap;
mod keys;
mod layers;
mod library;
mod log_view;
mod message;
mod neighbours;
mod output;
mod pace;
mod panels;
pub mod picture;
pub mod plain;
mod refusal;
pub mod replay;
mod rollback_points;
mod scene;
mod screen;
mod session;
mod stack;
pub mod starting;
mod still;
mod terminal;
pub mod theme;
mod title;
mod ui;
mod update;
mod views;
mod when;
mod widgets;

pub use app::{Options, run};
pub use feed::{Answer, AttachFeed, Feed, LiveFeed, TailFeed, Ticket};
pub use message::Exit;
pub use replay::ReplayFeed;
#[doc(hidden)]
pub use still::{Stage, still, still_in};
pub use terminal::{FORMER_TITLE, Job, Word};

#[cfg(test)]
mod tests;
