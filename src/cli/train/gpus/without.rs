//! A program without NCCL: its ranks exchange over another library.

use std::sync::Arc;

use anyhow::{Context, Result};

use crate::device::Choice;
use crate::dist::Ranks;
use crate::dist::launch::Launch;

/// What a rank computes on, and by what ranks exchange.
type Connected = (Option<Choice>, Arc<dyn Ranks>);

/// The ranks that `over` another library has; they begin nothing else, and none of them parts.
///
/// # Errors
/// Without another library.
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
