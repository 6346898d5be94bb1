//! Exit codes, and errors that know theirs.

/// Done or detached.
pub const OK: i32 = 0;
/// Failed while running.
pub const FAILED: i32 = 1;
/// Wrong usage, config or input.
pub const INPUT: i32 = 2;
/// Stopped by the operator before a decision; resumable.
pub const STOPPED: i32 = 3;
/// Stopped from outside after a checkpoint; resumable.
pub const PREEMPTED: i32 = 75;

/// An error that ends the program with [`INPUT`].
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct InputError(String);

/// A usage error.
pub fn usage(message: &str) -> InputError {
    InputError(message.into())
}

/// Marks an error as the input's fault.
pub fn input(error: anyhow::Error) -> anyhow::Error {
    match error.downcast::<InputError>() {
        Ok(already) => already.into(),
        Err(error) => InputError(format!("{error:#}")).into(),
    }
}

/// The exit code an error stands for.
pub fn code(error: &anyhow::Error) -> i32 {
    if error.is::<InputError>() {
        INPUT
    } else {
        FAILED
    }
}
