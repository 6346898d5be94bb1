//! How a product is divided over threads.

/// How many threads one product may use.
#[derive(Clone, Copy)]
pub enum Threads {
    One,
    All,
}
