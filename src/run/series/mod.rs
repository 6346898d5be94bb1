//! The curves of a run in bounded memory, and how they are kept beside the journal.
//!
//! [`pyramid`] is what a curve is made of: recent points one by one, older ones gathered into buckets that keep
//! their least and greatest value, so that a million points cost no more than some ten thousand and no spike is
//! lost. [`file`] writes a fold to `series.bin` and reads it back; [`open`] gives a run's state and the place in
//! its journal to go on from; [`keep`] decides when `series.bin` is written.
//!
//! `series.bin` is a copy that can be thrown away at any time: what does not fit the journal beside it is ignored.

mod admit;
pub mod bounded;
pub mod file;
pub mod keep;
pub mod open;
pub mod pyramid;

#[cfg(test)]
mod tests;
