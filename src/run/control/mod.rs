//! The control socket: how other processes follow a live run and command it.
//!
//! [`protocol`] defines the messages, [`address`] the places where the socket may be bound, `socket` how it is bound
//! and dialled. [`hub`] is what all connections share: the latest events in a `ring`, who has control, how many
//! commands may wait. [`server`] listens in the trainer's process, `connection` serves one client, whose `lines` it
//! reads and whom [`who`] describes; `shared` is what server and connections have in common. [`client`] is the other
//! end, which trusts a server only after it has shown that it works on the run ([`peer`]).
//!
//! Nothing here makes the trainer wait: it hands events over and takes commands between steps.

pub mod address;
pub mod client;
mod connection;
pub mod hub;
mod lines;
pub mod peer;
pub mod protocol;
mod ring;
pub mod server;
mod shared;
mod socket;
pub mod who;
