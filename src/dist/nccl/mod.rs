//! The ranks of one run over NCCL: a GPU each.
//!
//! What NCCL is called for is `Nccl` (feature `cuda`); the rest is what can be checked without a GPU: where ranks meet
//! ([`address`]), how messages are cut ([`messages`](super::messages)), and what a rank sees of the others' machines ([`machines`]).

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
