//! Progress reports of reading texts.

/// A report of long work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Report<'a> {
    /// A line for the operator.
    Line(&'a str),
    /// A line about work that this process does for other processes, or that another process does for this one.
    Shared(&'a str),
    /// A file is being read; `done` of `total` bytes, over all files of this text, have become tokens.
    Reading {
        file: &'a str,
        done: u64,
        total: u64,
    },
}

/// Takes reports, from any thread.
pub type Reporter<'a> = &'a (dyn Fn(Report<'_>) + Sync);
