//! What `train --dry-run` says of the validation windows.

use anyhow::Result;

use crate::config::Config;
use crate::corpus::Dataset;
use crate::model::DecoderConfig;
use crate::run::windows::EvalWindows;
use crate::train::{plan, windows};

/// Returns the windows that a new run of this config would evaluate.
///
/// # Errors
/// When the windows are longer than the reference's context.
pub fn planned(config: &Config, shape: &DecoderConfig, dataset: &Dataset) -> Result<EvalWindows> {
    let time = plan::window_length(config, shape)?;
    windows::of_run(config.eval.windows, dataset.val.len(), time, None)
}

/// Returns the line of the plan, where there is something to say: fewer windows than asked for.
pub fn line(windows: &EvalWindows) -> String {
    windows
        .note()
        .map_or(String::new(), |note| format!("windows  {note}\n"))
}
