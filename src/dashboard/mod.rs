//! The dashboard: screens and keys for an operator.
//!
//! Events come in through a [`Feed`], are folded into a [`RunState`](crate::run::state::RunState), and drawn; keys become commands
//! that go out through the same feed. [`update`] is pure and takes the time as an argument, [`screen`] only draws, and only
//! [`terminal`] touches the terminal. The dashboard does not depend on the trainer.
//!
//! | module | what it does |
//! |---|---|
//! | [`app`], [`event_loop`] | a run's dashboard; the loop of every screen |
//! | [`update`], [`message`], [`ui`], [`stack`] | the effects of keys, and the state that they change |
//! | [`commands`], [`keymap`], [`keys`] | the tables of commands and keys |
//! | [`views`], [`layers`] | views that fill the screen, and layers over them, with a table of each |
//! | [`session`], [`library`], [`neighbours`], [`around`] | the run that is shown; other runs; other files |
//! | [`feed`], [`replay`], [`answers`], [`starting`] | sources of events and receivers of commands; answers; the start of a run |
//! | [`screen`], [`scene`], [`panels`], [`widgets`], [`chart_view`], [`log_view`], [`scroll`] | drawing a frame, its inputs, its parts |
//! | [`eta`], [`costs`], [`rollback_points`], [`when`] | values that are derived from a state for several places |
//! | [`home`], [`plain`], [`collapse`] | the home screen; plain lines; the demonstration |
//! | [`theme`], [`glyphs`], [`pace`], [`title`], [`alerts`] | colours, characters, the rate of frames, the window's title and bell |
//! | [`terminal`], [`frame_writer`], [`output`], [`refusal`] | the terminal, and the redirection of other output |
//! | [`picture`], [`still`] | frames for documents and tests |

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
mod scroll;
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
