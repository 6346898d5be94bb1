//! Chooses a run's device and threads: those of the command line, else those that a resumed run has used so far.

use anyhow::{Context, Result};

use super::args::Args;
use crate::device::{Choice, Chosen};
use crate::run::event::RunInfo;

/// Device and threads.
pub(super) struct Machine {
    pub(super) chosen: Chosen,
    pub(super) threads: usize,
    /// Differences from the run so far, with their consequences.
    pub(super) changes: Vec<String>,
}

/// Ends every message about another device or number of threads.
const NOT_THE_SAME: &str =
    "from here on the numbers differ slightly from those of an uninterrupted run";

impl Args {
    /// Returns the device and the threads of the command line or, where it does not name them, those that `info` has of the run.
    ///
    /// # Errors
    /// When the device that the command line names cannot be opened.
    pub(super) fn machine(&self, info: Option<&RunInfo>) -> Result<Machine> {
        let mut changes = Vec::new();
        let before = info.map(|info| info.device.as_str());
        let chosen = match (self.device, before.and_then(choice)) {
            (Some(asked), _) => asked.open().with_context(|| format!("--device {asked}"))?,
            (None, Some(kept)) => match kept.open() {
                Ok(chosen) => chosen,
                Err(error) => {
                    let device = before.unwrap_or_default();
                    changes.push(format!(
                        "the run computed on {device}, which is not available here ({error})"
                    ));
                    Choice::Auto.open()?
                }
            },
            (None, None) => Choice::Auto.open()?,
        };
        if let Some(before) = before.filter(|before| *before != chosen.name) {
            changes.push(format!(
                "device: {}, was {before}; {NOT_THE_SAME}",
                chosen.name
            ));
        }
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let cores = (cores / self.sharing).max(1);
        let (threads, change) = threads(self.threads, info.map(|info| info.threads), cores);
        // The number of threads does not change what a GPU computes.
        changes.extend(change.filter(|_| !chosen.device.is_cuda()));
        Ok(Machine {
            chosen,
            threads,
            changes,
        })
    }
}

/// Parses the choice from a device's name in the journal: `cpu`, or `cuda:1 NVIDIA H200`.
fn choice(name: &str) -> Option<Choice> {
    name.split_whitespace().next()?.parse().ok()
}

/// Returns the number of threads (as asked for, else as `before`, but at most one per core), and a message if it differs from
/// `before`.
fn threads(asked: Option<usize>, before: Option<usize>, cores: usize) -> (usize, Option<String>) {
    let before = before.filter(|n| *n > 0);
    let threads = asked.or(before.map(|n| n.min(cores))).unwrap_or(cores);
    let why = match asked {
        None => format!(" (this machine has {cores} cores; --threads keeps another number)"),
        Some(_) => String::new(),
    };
    let change = before
        .filter(|before| *before != threads)
        .map(|before| format!("threads: {threads}, was {before}{why}; {NOT_THE_SAME}"));
    (threads, change)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_those_of_the_run_as_far_as_there_are_cores() {
        assert_eq!(threads(None, None, 8), (8, None));
        assert_eq!(threads(Some(3), None, 8), (3, None));
        assert_eq!(threads(None, Some(2), 8), (2, None));
        assert_eq!(threads(Some(2), Some(2), 8), (2, None));
        let (n, said) = threads(None, Some(16), 8);
        assert_eq!(n, 8);
        let said = said.unwrap();
        assert!(
            said.starts_with("threads: 8, was 16 (this machine has 8 cores")
                && said.contains("uninterrupted run"),
            "{said}"
        );
        let (n, said) = threads(Some(1), Some(2), 8);
        assert_eq!(n, 1);
        assert!(said.unwrap().starts_with("threads: 1, was 2; from here on"));
    }

    #[test]
    fn a_device_is_chosen_again_by_the_name_it_had() {
        assert_eq!(choice("cpu"), Some(Choice::Cpu));
        assert_eq!(choice("cuda:1 NVIDIA H200"), Some(Choice::Cuda(1)));
        assert_eq!(choice("tpu"), None);
        assert_eq!(choice(""), None);
    }
}
