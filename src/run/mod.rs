//! A run as it lies on disk and as it is told: events, commands, journal, lock, tail and the fold over them.
//!
//! This room knows no candle and no terminal. Everything a user sees is [`state::RunState`], a fold over
//! [`event::Event`]s; everything a user does is a [`command::Command`].

pub mod command;
pub mod event;
pub mod state;
