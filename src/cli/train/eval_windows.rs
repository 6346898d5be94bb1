//! Describes the validation windows in the plan of `train --dry-run`.

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

/// Returns a line of the plan if there are fewer windows than the config asks for, otherwise an empty text.
pub fn line(windows: &EvalWindows) -> String {
    windows
        .note()
        .map_or(String::new(), |note| format!("windows  {note}\n"))
}
