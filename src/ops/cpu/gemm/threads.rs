//! Divides a product over threads.

/// Number of threads that one product may use.
#[derive(Clone, Copy)]
pub enum Threads {
    One,
    All,
}
