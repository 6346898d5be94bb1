//! The control socket: how processes beside the trainer see a run live and command it.
//!
//! [`protocol`] is what is said, [`address`] where the socket may lie, `socket` how it is bound and dialled. [`hub`] is what all
//! connections share: the latest events in a `ring`, who has control, how many commands may wait. [`server`] listens in the
//! trainer's process, `connection` is one client of it, whose `lines` it reads and whom [`who`] describes; `shared` is what the two have in common.
//! [`client`] is the other end, which believes a server only when it is the run's own ([`peer`]).
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
