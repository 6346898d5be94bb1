//! The control socket: how processes beside the trainer see a run live and command it.
//!
//! [`protocol`] is what is said, [`address`] where the socket lies, [`hub`] what all connections share (the latest
//! events in a `ring`, who has control, how many commands may wait), [`server`] listens in the trainer's process, `connection` is one
//! client of it,
//! [`client`] the other end. Nothing here makes the trainer wait: it hands events over and takes commands between steps.

pub mod address;
pub mod client;
mod connection;
pub mod hub;
pub mod protocol;
mod ring;
pub mod server;
