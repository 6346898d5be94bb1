//! Exit codes, and errors with their codes.

use crate::dist::DistError;

/// Done or detached.
pub const OK: i32 = 0;
/// Failed while running.
pub const FAILED: i32 = 1;
/// Wrong usage, config or input.
pub const INPUT: i32 = 2;
/// Stopped by the operator before a decision; resumable.
pub const STOPPED: i32 = 3;
/// An internal error, or memory or a thread refused where no error could be returned; a run is resumable.
pub const INTERNAL: i32 = crate::failure::INTERNAL;
/// Stopped from outside after a checkpoint; resumable.
pub const PREEMPTED: i32 = 75;
/// Ended by the operator's interrupt, without leaving files.
pub const INTERRUPTED: i32 = 130;

/// An error that ends the program with [`INPUT`].
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct InputError(String);

/// Makes a usage error.
pub fn usage(message: &str) -> InputError {
    InputError(message.into())
}

/// Marks an error as one of the input, unless it reports a lost rank.
pub fn input(error: anyhow::Error) -> anyhow::Error {
    let lost = |error: &DistError| {
        matches!(
            error,
            DistError::Lost { .. } | DistError::Hangs { .. } | DistError::Verdict(_)
        )
    };
    if error.downcast_ref().is_some_and(lost) {
        return error;
    }
    match error.downcast::<InputError>() {
        Ok(already) => already.into(),
        Err(error) => InputError(words(&error)).into(),
    }
}

/// Formats an error with its causes. Each is reported once, because many messages already contain their cause.
pub fn words(error: &anyhow::Error) -> String {
    let mut all = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        if !all.contains(&cause) {
            let colon = if all.is_empty() { "" } else { ": " };
            all = format!("{all}{colon}{cause}");
        }
    }
    all
}

/// Returns the exit code of an error.
pub fn code(error: &anyhow::Error) -> i32 {
    if error.is::<InputError>() {
        INPUT
    } else {
        FAILED
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn causes_are_said_once() {
        let cause = || std::io::Error::from_raw_os_error(2);
        let named: anyhow::Error = cause().into();
        let twice = named.context(format!("cannot read x: {}", cause()));
        assert_eq!(
            words(&twice),
            "cannot read x: No such file or directory (os error 2)"
        );
        let once = Err::<(), _>(cause()).context("cannot read x").unwrap_err();
        assert_eq!(
            words(&once),
            "cannot read x: No such file or directory (os error 2)"
        );
    }
}
