//! The ranks of one run over NCCL: a GPU each.
//!
//! `Nccl` (feature `cuda`) makes all calls of NCCL; the other modules can be tested without a GPU: the address at which ranks meet
//! ([`address`]), the division of messages ([`messages`](super::messages)), and a rank's view of the others' machines ([`machines`]).

pub mod address;
#[cfg(feature = "cuda")]
mod communicator;
#[cfg(feature = "cuda")]
mod library;
#[cfg(feature = "cuda")]
mod limit;
pub mod machines;
#[cfg(feature = "cuda")]
mod ranks;
#[cfg(feature = "cuda")]
mod waiting;

#[cfg(feature = "cuda")]
pub use library::{Id, is_there, make_id};
#[cfg(feature = "cuda")]
pub use ranks::Nccl;
