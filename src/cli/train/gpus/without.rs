//! Connects ranks in a program that was built without NCCL: they exchange over MPI only.

use std::sync::Arc;

use anyhow::{Context, Result};

use super::Connected;
use crate::device::Choice;
use crate::dist::Ranks;
use crate::dist::launch::Launch;

/// Returns the ranks that are connected `over` MPI. The inner result has the same type as with NCCL, and is never an error here.
///
/// # Errors
/// When the ranks are not connected over MPI.
pub(in crate::cli::train) fn connect(
    launch: &Launch,
    asked: Option<Choice>,
    over: Option<Arc<dyn Ranks>>,
) -> Result<Result<Connected, i32>> {
    let nothing = || {
        format!(
            "this program has no engine for the ranks of {}",
            launch.launcher
        )
    };
    Ok(Ok((asked, over.with_context(nothing)?)))
}
