//! The curves of a run in bounded memory, and in `series.bin` next to the journal.
//!
//! [`pyramid`] is what a curve is made of: recent points one by one, older ones gathered into buckets that keep
//! their least and greatest value, so that a million points cost no more than some ten thousand and no spike is
//! lost. [`file`] writes a fold to `series.bin` and reads it back; [`open`] returns a run's state and the position in
//! its journal to continue from; [`keep`] decides when `series.bin` is written.
//!
//! `series.bin` is a copy that can be deleted at any time: a file that does not fit the journal next to it is ignored.

mod admit;
pub mod bounded;
pub mod file;
pub mod keep;
pub mod open;
pub mod pyramid;

#[cfg(test)]
mod tests;
